# SPDX-License-Identifier: Apache-2.0
"""Whether two ways to the centre brought the same samples: series, time and value."""

import math

from . import http

MARK = "prometheus_streams_scrape_timestamp_seconds"
OF_THE_GATEWAY = {MARK, "push_time_seconds", "push_failure_time_seconds"}
SHOWN = 5


def series_of(name, labels):
    """An empty label is none."""
    return name, frozenset((label, value) for label, value in labels.items() if value)


def stored(prometheus, selector, seconds):
    """{series: {milliseconds: value}}: every sample that a Prometheus has stored of late."""
    samples = {}
    for row in prometheus.rows(f"{selector}[{seconds}s]"):
        labels = dict(row["metric"])
        name = labels.pop("__name__")
        samples[series_of(name, labels)] = {round(float(at) * 1000): float(value) for at, value in row["values"]}
    return samples


def of_federate(text):
    """[(series, milliseconds, value)] of what /federate answers."""
    return [(series_of(name, labels), at, value) for name, labels, value, at in http.parse_timed(text)]


def of_gateway(text, publisher):
    """The same of a Push Gateway, which has no times but the mark of each group."""
    samples = [sample for sample in http.parse_exposition(text) if sample[1].get("publisher") == publisher]

    def group(labels):
        return labels.get("job"), labels.get("instance")

    marks = {group(labels): round(value * 1000) for name, labels, value in samples if name == MARK}
    return [(series_of(name, labels), marks[group(labels)], value) for name, labels, value in samples
            if name not in OF_THE_GATEWAY]


class Agreement:
    """What `samples` are beside those that are `stored`."""

    def __init__(self, samples, reference):
        self.count = len(samples)
        self.missing, self.different = [], []
        for series, at, value in samples:
            other = reference.get(series, {}).get(at)
            if other is None:
                self.missing.append((series, at))
            elif other != value and not (math.isnan(other) and math.isnan(value)):
                self.different.append((series, at, value, other))

    def __bool__(self):
        return self.count > 0 and not self.missing and not self.different

    def __str__(self):
        if self:
            return f"{self.count} samples, all agree"
        lines = [f"{self.count} samples, {len(self.missing)} missing, {len(self.different)} different"]
        lines += [f"    missing: {item}" for item in self.missing[:SHOWN]]
        lines += [f"    different: {item}" for item in self.different[:SHOWN]]
        return "\n".join(lines)
