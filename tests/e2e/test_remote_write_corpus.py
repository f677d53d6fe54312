# SPDX-License-Identifier: Apache-2.0
"""Every sample of every scrape that Prometheus accepts arrives by remote write, in both versions of the protocol, with
its labels, value and time, as a reader of the text that shares no code with ours says. The scrapes are those of
test_corpus.py; what is sent is decoded by protoc's Python code."""

import collections
import gzip

from conftest import STREAM
from harness import frames
from harness.process import wait_until
from harness.remote_write import V2, Endpoint, bits
from test_corpus import accepted_files, read_samples

OURS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
        "scrape_series_added"}
AT_MS = 1_700_000_000_000


def bits_of(value):
    return "NaN" if value != value else bits(value)


def expectation(text, instance, counts):
    """{series: (time, value)} that one scrape should become; the first of each series counts."""
    expected = {}
    for sample in read_samples(text):
        labels = {name: value for name, value in sample.labels if value}
        for key in sorted({"job", "instance"} & labels.keys(), key=lambda name: (len(name), name)):
            value, name = labels.pop(key), "exported_" + key
            while name in labels or name in ("job", "instance"):
                name = "exported_" + name
            labels[name] = value
        counts["samples"] += 1
        if sample.name in OURS and not labels:
            counts["displaced"] += 1
            continue
        key = frozenset({**labels, "__name__": sample.name, "job": "corpus", "instance": instance}.items())
        if key in expected:
            counts["duplicate"] += 1
            continue
        expected[key] = (AT_MS if sample.time_ms is None else sample.time_ms, bits_of(sample.value))
    return expected


def arrived(endpoint, is_own):
    """{series: (time, value)}; each once."""
    found = {}
    for sample in endpoint.samples():
        own = sample.name in OURS and set(sample.labels) == {"__name__", "job", "instance"}
        if own == is_own:
            assert sample.series not in found, f"twice: {sample}"
            found[sample.series] = (sample.time_ms, bits_of(sample.value))
    return found


def test_every_sample_arrives(world, nats):
    endpoints = {"one": world.add(Endpoint()), "two": world.add(Endpoint())}
    receiver = world.receiver(nats, remote_write=[
        {"name": name, "url": f"{endpoint.url}/write", "publisher_label": False,
         "protobuf_message": V2 if name == "two" else "prometheus.WriteRequest",
         "queue_config": {"batch_send_deadline": "200ms"}} for name, endpoint in endpoints.items()])
    files, _ = accepted_files()
    counts, expected = collections.Counter(), {}
    with nats.connect() as client:
        client.make_stream(STREAM)
        for instance, path, _ in files:
            with open(path, "rb") as file:
                body = file.read()
            expected.update(expectation(body.decode(), instance, counts))
            frames.publish(client, "dc1", "corpus", instance, gzip.compress(body), AT_MS,
                           **{"Content-Encoding": "gzip"})
        for name in endpoints:
            wait_until(lambda: client.is_acked(STREAM, f"recv_{name}"), 180, interval=0.5)
    for name, endpoint in endpoints.items():
        found = arrived(endpoint, is_own=False)
        assert len(found) == len(expected)
        assert {key: (found.get(key), want) for key, want in expected.items() if found.get(key) != want} == {}
        own = arrived(endpoint, is_own=True)
        assert len(own) == len(OURS) * len(files)
        assert all(value == (AT_MS, bits(1)) for key, value in own.items() if ("__name__", "up") in key)
        for reason in ("duplicate", "displaced"):
            assert receiver.total("left_out_total", sink=name, reason=reason) == counts[reason]
    assert all(request.is_v2 for request in endpoints["two"].requests)
    print(f"{len(files)} files, {len(expected)} series in each version; left out: {dict(counts)}")
