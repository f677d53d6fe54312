# SPDX-License-Identifier: Apache-2.0
"""Every sample of every scrape that Prometheus accepts is found in the Push Gateway with its value,
with the gateway's consistency check and without, except what docs/pushgateway.md lists; that is
counted, by reason. The scrapes: tests/data/exposition, and the files of the corpus that CORPUS names
(default ../shared/corpus), each a target of its own."""

import collections
import csv
import gzip
import math
import os
import re

import pytest

from conftest import STREAM
from harness import frames
from harness.daemons import ROOT
from harness.process import wait_until
from harness.servers import PushGateway

CORPUS = os.environ.get("CORPUS", os.path.join(ROOT, "..", "shared", "corpus"))
OURS = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "prometheus_streams_scrape_timestamp_seconds"}
OF_GATEWAY = {"push_time_seconds", "push_failure_time_seconds"}
_LEGACY = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_ESCAPE = re.compile(r'\\(.)', re.S)


def unescape(text):
    return _ESCAPE.sub(lambda m: {"n": "\n", '"': '"', "\\": "\\"}.get(m.group(1), m.group()), text)


def legacy_name(name):
    """Prometheus' U__ escaping of what is no legacy name."""
    if _LEGACY.match(name):
        return name
    def one(at, char):
        if char == "_":
            return "__"
        if char == ":" or (char.isascii() and (char.isalpha() or (char.isdigit() and at > 0))):
            return char
        return f"_{ord(char):x}_"
    return "U__" + "".join(one(at, char) for at, char in enumerate(name))


class Line:
    """Reads one sample where it begins in the text; lenient, as the text is known to be accepted."""

    def __init__(self, text, at):
        self.text, self.at = text, at
        self.name, self.labels = None, []
        if text[at] != "{":
            self.name = self.take(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
        self.blanks()
        if self.text[self.at] == "{":
            self.braces()
        self.blanks()
        self.value = float(self.take(r"[^ \t\n\0]+"))
        self.at, value_end = text.find("\n", self.at), self.at
        stamp = text[value_end:self.at if self.at >= 0 else len(text)].strip()
        self.time_ms = int(stamp) if stamp else None
        self.at = len(text) if self.at < 0 else self.at + 1

    def take(self, pattern):
        match = re.compile(pattern, re.S).match(self.text, self.at)
        assert match, f"unreadable: {self.text[self.at:self.at + 60]!r}"
        self.at = match.end()
        return match.group()

    def blanks(self, more=""):
        self.take(rf"[ \t{more}]*")

    def quoted(self):
        return unescape(self.take(r'"(?:[^"\\]|\\.)*"')[1:-1])

    def braces(self):
        self.at += 1
        while True:
            self.blanks(",")
            if self.text[self.at] == "}":
                self.at += 1
                return
            name = self.quoted() if self.text[self.at] == '"' else self.take(r"[a-zA-Z_][a-zA-Z0-9_]*")
            self.blanks()
            if self.text[self.at] != "=":
                self.name = name
                continue
            self.at += 1
            self.blanks()
            self.labels.append((name, self.quoted()))


def read_samples(text):
    samples, at = [], 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
        elif text[at] == "\0":
            break
        elif text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end + 1
        else:
            samples.append(Line(text, at))
            at = samples[-1].at
    return samples


def series(name, labels):
    """One form for all spellings of a number in le and quantile."""
    plain = {}
    for key, value in labels.items():
        if key in ("le", "quantile"):
            try:
                value = repr(float(value))
            except ValueError:
                pass
        plain[key] = value
    return name, frozenset(plain.items())


def expectation(text, instance, counts):
    """{series: value} that one scrape should become; counts what it should not."""
    expected = {}
    for sample in read_samples(text):
        name = legacy_name(sample.name)
        labels = {}
        for key, value in sample.labels:
            key = legacy_name(key)
            if key.startswith("__"):
                counts["reserved_label"] += 1
            elif value != "":
                labels[key] = value
        for key in ("job", "instance"):
            if key in labels:
                value = labels.pop(key)
                while key in labels or key in ("job", "instance"):
                    key = "exported_" + key
                labels[key] = value
        if name in OF_GATEWAY:
            counts["of_gateway"] += 1
        elif name in OURS and not labels:
            counts["displaced"] += 1
        else:
            key = series(name, {**labels, "job": "corpus", "instance": instance})
            counts["duplicate"] += key in expected
            expected[key] = sample.value
        counts["samples"] += 1
    return expected


def recorded():
    folder = os.path.join(ROOT, "tests", "data", "exposition")
    return [(name, os.path.join(folder, name), None) for name in sorted(os.listdir(folder))
            if name.endswith(".prom")]


def accepted_files():
    """[(instance, path, samples)]; of the corpus, what is served as text and accepted."""
    table = os.path.join(CORPUS, "acceptance.tsv")
    files = recorded()
    if not os.path.exists(table):
        print(f"corpus absent: no {table}; set CORPUS")
        return files, 0
    rejected = 0
    with open(table, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["served"] != "text":
                continue
            if row["verdict3"] != "accept":
                rejected += 1
                continue
            counted = "prometheus_samples" if row["prometheus"] == "ok" else "client_python_samples"
            files.append((row["file"], os.path.join(CORPUS, row["file"]), int(row[counted])))
    return files, rejected


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def types_of(text):
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M))


def publish_all(client, files, counts):
    expected = {}
    for instance, path, samples in files:
        with open(path, "rb") as file:
            body = file.read()
        counts["samples"] = 0
        expected.update(expectation(body.decode(), instance, counts))
        assert samples in (None, counts["samples"]), f"{instance}: this test reads {counts['samples']}"
        frames.publish(client, "dc1", "corpus", instance, gzip.compress(body), **{"Content-Encoding": "gzip"})
    del counts["samples"]
    return expected


def check_arrived(gateway, receiver, files, expected, counts):
    shown = gateway.metrics()
    types = types_of(shown.text)
    arrived = {series(name, {k: v for k, v in labels.items() if v}): value
               for name, labels, value in shown.samples}
    up = {labels["instance"]: value for name, labels, value in shown.samples if name == "up"
          and labels.get("job") == "corpus" and set(labels) == {"instance", "job"}}
    assert up == {instance: 1 for instance, _, _ in files}
    wrong = [(key, value, arrived[key]) for key, value in expected.items()
             if key in arrived and not same(value, arrived[key])]
    assert wrong == []
    missing = [key for key in expected if key not in arrived]
    counts["type_conflict"] = len(missing)
    for name, _ in missing:
        stems = [name] + [name[:-len(part)] for part in ("_bucket", "_sum", "_count") if name.endswith(part)]
        parts = [name + part for part in ("_bucket", "_sum", "_count")]
        assert any(stem in types for stem in stems + parts), f"{name} is missing for no reason"
    counted = {reason: receiver.total("left_out_total", reason=reason)
               for reason in ("duplicate", "displaced", "of_gateway", "type_conflict")}
    counted["reserved_label"] = receiver.total("changed_total", reason="reserved_label")
    assert counted == {reason: counts[reason] for reason in counted}
    return len(expected) - len(missing), collections.Counter(
        dict(labels)["instance"] for _, labels in missing)


@pytest.mark.parametrize("flags", [[], ["--push.disable-consistency-check"]], ids=["check", "no_check"])
def test_every_sample_arrives(world, nats, flags):
    gateway = world.add(PushGateway(world.folder, flags).start())
    receiver = world.receiver(nats, gateway.url, max_age="10m")
    files, rejected = accepted_files()
    counts = collections.Counter()
    with nats.connect() as client:
        client.make_stream(STREAM)
        expected = publish_all(client, files, counts)
        wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), 180, interval=0.5)
    assert receiver.total("discards_total") == 0
    arrived, lacking = check_arrived(gateway, receiver, files, expected, counts)
    changed = {labels["reason"]: value for name, labels, value in receiver.metrics().samples
               if name.endswith("_changed_total")}
    print(f"{len(files)} files accepted, {rejected} rejected; {arrived} series arrived; left out: "
          f"{dict(counts)}; changed: {changed}; files with conflicts: {len(lacking)} {lacking.most_common(20)}")


@pytest.mark.parametrize("flags", [[], ["--push.disable-consistency-check"]], ids=["check", "no_check"])
def test_the_other_arrives_once_the_holder_is_deleted(world, nats, flags):
    """Two targets contradict each other in a family's type; the first falls silent."""
    gateway = world.add(PushGateway(world.folder, flags).start())
    receiver = world.receiver(nats, gateway.url, max_age=2)
    with nats.connect() as client:
        client.make_stream(STREAM)
        frames.publish(client, "dc1", "app", "a", "# TYPE x counter\nx 1\n", **{"Ps-Interval": "1000"})
        wait_until(lambda: gateway.metrics().find("x") == [1])

        def other_has_arrived():
            frames.publish(client, "dc1", "app", "b", "# TYPE x gauge\nx 2\ny 3\n", **{"Ps-Interval": "1000"})
            shown = gateway.metrics()
            assert "# TYPE x counter" in shown.text or shown.find("x", instance="a") == []
            return shown.find("x", instance="b") == [2]
        wait_until(other_has_arrived, 30, interval=0.5)
    shown = gateway.metrics()
    assert types_of(shown.text)["x"] == "gauge" and shown.find("y", instance="b") == [3]
    assert receiver.total("left_out_total", reason="type_conflict") >= 1
    assert receiver.total("groups_deleted_total", reason="silent") == 1
    assert receiver.total("discards_total", reason="refused") == 0


def test_types_of_another_pusher_are_read_at_start_and_after_a_restart(world, nats):
    gateway = world.gateway(flags=["--push.disable-consistency-check"])

    def push_foreign(kind):
        import urllib.request
        body = f"# TYPE x {kind}\nx 1\n".encode()
        request = urllib.request.Request(f"{gateway.url}/metrics/job/foreign", data=body, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
    push_foreign("counter")
    with nats.connect() as client:
        client.make_stream(STREAM)
        receiver = world.receiver(nats, gateway.url)
        receiver.wait_ready()
        frames.publish(client, "dc1", "app", "a", "# TYPE x gauge\nx 2\ny 3\n")
        wait_until(lambda: gateway.metrics().find("y") == [3])
        assert gateway.metrics().find("x", job="app") == []
        gateway.stop()
        frames.publish(client, "dc1", "app", "a", "# TYPE x gauge\nx 2\ny 4\n")
        receiver.wait_not_ready("")
        gateway.start()
        push_foreign("gauge")
        wait_until(lambda: gateway.metrics().find("y") == [4], 30)
        frames.publish(client, "dc1", "app", "a", "# TYPE x gauge\nx 2\ny 5\n")
        wait_until(lambda: gateway.metrics().find("y") == [5], 30)
        assert gateway.metrics().find("x", job="app") == [2]
