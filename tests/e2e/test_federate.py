# SPDX-License-Identifier: Apache-2.0
"""The receiver's own /federate, read by Prometheus, VictoriaMetrics and promtool."""

import gzip
import math
import os
import re
import signal
import socket
import subprocess
import threading
import time
from urllib.parse import quote

import pytest

from conftest import STREAM
from harness import frames, http, zstd
from harness.daemons import IS_PLAIN, Receiver
from harness.pki import Authority
from harness.process import TIME_SCALE, free_port, wait_until
from harness.servers import Prometheus, Server, find_binary
from harness.stubs import Target
from test_web_config import PASSWORD, ask, bcrypt, write_config


class Federate:
    """A receiver whose only sink is /federate."""

    def __init__(self, world, nats, name=None, start=True, stream=None, federate=None, **config):
        self.port = free_port()
        section = {"urls": nats.url, "stream": STREAM, "topic": "prometheus", "client_id": "recv", **(stream or {})}
        self.daemon = world.add(Receiver(world.folder, {
            "identity": "hub", "receiver_stream": section,
            "federate": {"listen": f"127.0.0.1:{self.port}", **(federate or {})}, **config}, name=name))
        if start:
            self.daemon.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/federate"

    def query(self, *match, **more):
        parameters = [f"match[]={quote(text, safe='')}" for text in match]
        parameters += [f"{name}={quote(value)}" for name, value in more.items()]
        return self.url + ("?" + "&".join(parameters) if parameters else "")

    def text(self, *match, **more):
        status, text = http.get(self.query(*match, **more))
        assert status == 200, f"/federate answers {status}: {text}"
        return text

    def get(self, *match, **more):
        return http.Samples(self.text(*match, **more))

    def total(self, metric, **labels):
        return self.daemon.total(f"federate_{metric}", **labels)


@pytest.fixture
def federate(world, nats, client):
    made = Federate(world, nats)
    made.daemon.wait_ready()
    return made


def series(text):
    """{(name and labels): (value, timestamp)}, and no series twice."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value, at = re.match(r"^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+) (\d+)$", line).groups()
        key = (name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)))
        assert key not in found, line
        found[key] = (float(value), int(at))
    return found


def check_grouped(text):
    """Each family once, its HELP and TYPE before it."""
    seen, at = set(), None
    for line in text.splitlines():
        match = re.match(r"# TYPE (\S+) ", line)
        if match:
            at = match.group(1)
            assert at not in seen, f"{at} comes twice"
            seen.add(at)
        elif not line.startswith("#"):
            name = re.match(r"[\w:]+", line).group()
            assert at is not None and (name == at or name.startswith(at)), line


def promtool(text):
    """Syntax only: status 3 means remarks on style."""
    done = subprocess.run([find_binary("promtool"), "check", "metrics"], input=text.encode(), capture_output=True)
    assert done.returncode in (0, 3), done.stderr.decode()


BODY = """# HELP app_requests Requests, with \\\\ and \\n in it.
# TYPE app_requests counter
app_requests{code="200",path="/a\\"b\\\\c\\nd"} 1027
app_requests{code="500",path="ä€"} 3
# TYPE app_seconds histogram
app_seconds_bucket{le="0.1"} 1
app_seconds_bucket{le="+Inf"} 2
app_seconds_sum 0.3
app_seconds_count 2
# TYPE app_quantiles summary
app_quantiles{quantile="0.5"} NaN
app_quantiles_sum +Inf
app_quantiles_count 7
app_untyped{job="mine",instance="other"} -Inf
app_tiny 1e-300
"""


def is_equal(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def test_what_a_target_exposes_is_served(client, federate):
    at = frames.now_ms()
    frames.publish(client, "dc1", "app", "a:1", BODY, at_ms=at, labels={"env": "prod"})
    wait_until(lambda: "app_requests" in federate.text())
    text = federate.text()
    promtool(text)
    check_grouped(text)
    assert "# HELP app_requests Requests, with \\\\ and \\n in it.\n# TYPE app_requests counter\n" in text
    common = 'job="app",instance="a:1",publisher="dc1",env="prod"'
    assert f'app_requests{{{common},code="200",path="/a\\"b\\\\c\\nd"}} 1027 {at}\n' in text
    assert f'app_requests{{{common},code="500",path="ä€"}} 3 {at}\n' in text
    assert f'app_untyped{{{common},exported_job="mine",exported_instance="other"}} -Inf {at}\n' in text
    assert f"app_quantiles_sum{{{common}}} +Inf {at}\n" in text
    for name, value in (("up", 1), ("scrape_duration_seconds", 0.1), ("scrape_samples_scraped", 11),
                        ("scrape_samples_post_metric_relabeling", 11), ("scrape_series_added", 11)):
        assert http.Samples(text).find(name, job="app", instance="a:1") == [value], name
    assert http.get(federate.url, headers={"Accept-Encoding": "identity"})[1] == text


def test_down_silent_removed(world, nats, client):
    federate = Federate(world, nats, max_age="3s")
    federate.daemon.wait_ready()
    for instance in "abc":
        frames.publish(client, "dc1", "app", instance, "app_x 1\n", **{"Ps-Interval": "1000"})
    wait_until(lambda: len(federate.get().find("app_x")) == 3)
    frames.publish(client, "dc1", "app", "a", "", **{"Ps-Up": "0", "Ps-Error": "connection refused"})
    frames.publish(client, "dc1", "app", "b", "", **{"Ps-Up": "0", "Ps-Error": "removed", "Ps-Flags": "removed"})

    def only_up():
        shown = federate.get()
        return {labels["instance"]: value for name, labels, value in shown.samples if name == "up"} == {"a": 0, "c": 1}
    wait_until(only_up)
    assert [name for name, labels, _ in federate.get().samples if labels["instance"] == "a"] == ["up"]
    wait_until(lambda: not federate.get().find("up", instance="c"), 30, "what is silent is gone")


def test_malformed_is_down(client, federate):
    frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    wait_until(lambda: federate.get().find("app_x") == [1])
    frames.publish(client, "dc1", "app", "a", "app_x 1\nnonsense{\n")
    wait_until(lambda: federate.get().find("up", instance="a") == [0])
    assert len(federate.get().samples) == 1
    assert federate.daemon.total("parse_errors_total", sink="federate") == 1


def test_types_that_differ(client, federate):
    frames.publish(client, "dc1", "app", "a", "# HELP app_x First.\n# TYPE app_x counter\napp_x 1\n")
    wait_until(lambda: federate.get().find("app_x") == [1])
    frames.publish(client, "dc1", "app", "b", "# HELP app_x Second.\n# TYPE app_x gauge\napp_x 2\n")
    wait_until(lambda: len(federate.get().find("app_x")) == 2)
    text = federate.text("app_x")
    assert text.count("# TYPE") == 1 and "# TYPE app_x untyped\n" in text and "# HELP app_x First.\n" in text
    wait_until(lambda: federate.total("type_conflicts") == 1)
    assert "different types" in federate.daemon.log()
    frames.publish(client, "dc1", "app", "b", "# HELP app_x Second.\n# TYPE app_x counter\napp_x 2\n")
    wait_until(lambda: "# TYPE app_x counter\n" in federate.text("app_x"))
    wait_until(lambda: federate.total("type_conflicts") == 0)


def test_publisher_label_can_be_left_out(world, nats, client):
    federate = Federate(world, nats, federate={"publisher_label": False})
    frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    wait_until(lambda: http.get(federate.url)[0] == 200 and federate.get().find("app_x") == [1])
    assert federate.get().labels_of("app_x") == [{"job": "app", "instance": "a"}]


def test_our_own_answers_do_not_come_round(world, nats, client):
    federate = Federate(world, nats)
    federate.daemon.wait_ready()
    world.poller(nats, {"loop": {"honor_labels": True, "targets": [{"name": "us", "url": federate.url}]},
                        "fine": {"targets": [{"name": "x", "url": world.add(Target({"/metrics": "app_x 1\n"})).url
                                              + "/metrics"}]}})
    wait_until(lambda: federate.get().find("app_x") == [1])
    wait_until(lambda: federate.get().find("up", job="loop") == [0])
    wait_until(lambda: federate.daemon.total("publisher_discards_total", reason="loop") >= 2)
    assert len(federate.get().labels_of("app_x")) == 1


# What is asked for. (That a dot takes a newline, as from Prometheus 3 on, is in test_selector.c: the server here is 2.42.)

SERIES = ["app_x", 'app_x{a="1"}', 'app_x{a="2",b="ä"}', 'app_y{a="1",b="x\\ny"}', 'app_z{c="}"}',
          'job:app:rate5m{a="1"}', 'app_x{a="a.b"}']
MATCHES = ["app_x", "app_x{}", 'app_x{a="1"}', 'app_x{a!="1"}', 'app_x{a=""}', 'app_x{a!=""}', 'app_x{a=~"1|2"}',
           'app_x{a=~"[12]",}', 'app_x{a!~"1"}', 'app_x{a=~".+"}', 'app_x{a=~"a.b"}', "app_x{a=~'a\\\\.b'}",
           "app_x{a=~`a\\.b`}", '{__name__="app_y"}', '{__name__=~"app_.*"}', '{__name__=~"app_[xy]",a="1"}',
           '{__name__=~"app"}', '{__name__!~"app.*",a="1"}', "job:app:rate5m", '{b="ä"}', '{b=~"."}',
           '{b="x\\ny"}', "{b='\\u00e4'}", '{c="}"}', '{a="1",b=""}', '{nothing="",a="1"}', '{nothing="x"}',
           'app_x # a comment\n{a="1"}', ' app_x { a = "1" , } ', '{instance="one:1",a=~".*"}', '{instance=~"one"}',
           '{job=~"app|other",a="2"}', '{job!="app",a="1"}', '{__name__=~"(?i)APP_X"}', 'app_x{a=~"^1$"}',
           "up", '{__name__=~"scrape_.*"}']


@pytest.fixture
def pair(world, nats):
    """A Prometheus and our two daemons on the same targets; (Prometheus, federate)."""
    body = "".join(f"{text} {number}\n" for number, text in enumerate(SERIES))
    targets = {name: world.add(Target({"/metrics": body})) for name in ("one", "two")}
    prometheus = world.add(Prometheus(world.folder, [
        {"job_name": "app", "static_configs": [
            {"targets": [f"127.0.0.1:{target.port}"], "labels": {"instance": f"{name}:1", "publisher": "dc1"}}
            for name, target in targets.items()]}]).start())
    world.poller(nats, {"app": {"targets": [{"name": f"{name}:1", "url": f"{target.url}/metrics"}
                                            for name, target in targets.items()]}})
    federate = Federate(world, nats)
    wait_until(lambda: http.get(federate.url)[0] == 200 and len(federate.get().find("app_z")) == 2)
    wait_until(lambda: len(prometheus.query("app_z")) == 2)
    return prometheus, federate


def selected(url, matches):
    status, text = http.get(url + "?" + "&".join(f"match[]={quote(match, safe='')}" for match in matches))
    assert status == 200, text
    return sorted(key for key in map(str, ((name, sorted(labels)) for name, labels in series(text)))
                  if "prometheus_streams" not in key)


def test_match_selects_what_prometheus_selects(pair):
    prometheus, federate = pair
    different = []
    for matches in [[match] for match in MATCHES] + [["app_z", 'app_x{a="1"}'], ["app_x", "app_x"]]:
        ours, theirs = selected(federate.url, matches), selected(f"{prometheus.url}/federate", matches)
        if ours != theirs:
            different.append(f"{matches}:\nours   {ours}\ntheirs {theirs}")
    assert not different, "\n".join(different)
    assert selected(federate.url, ['{__name__=~".+"}']) == selected(federate.url, []), "without any, everything"


def test_what_is_no_selector_is_refused(pair):
    prometheus, federate = pair
    for match in ["", "{", "app_x{a=1}", 'app_x{a="1"', "app_x[5m]", 'app_x{a=~"("}', "app_x offset 5m", "1x", "{a}",
                  'app_x{"a"="b" "c"="d"}', 'app_x{a="\\q"}', "sum(app_x)"]:
        query = f"?match[]={quote(match, safe='')}"
        status, text = http.get(federate.url + query)
        assert status == 400 and text.startswith("match[] "), f"{match}: {status} {text}"
        assert http.get(f"{prometheus.url}/federate{query}")[0] == 400, match
    for query, words in (("match[]=%7B%7D", "must not match the empty"), ("shard=2/2", "is not i/n"),
                         ("shard=1", "is not i/n"), ("shard=-1/2", "is not i/n"), ("shard=0/0", "is not i/n"),
                         ("&".join(["match[]=up"] * 65), "more than 64"),
                         ("match[]=%7Ba=~%22" + "x" * 5000 + "%22%7D", "longer than 4096")):
        status, text = http.get(f"{federate.url}?{query}")
        assert status == 400 and words in text, f"{query[:80]}: {status} {text}"
    assert http.get(federate.url.replace("/federate", "/metrics"))[0] == 404


def test_a_pattern_that_explodes_is_given_up(client, federate):
    frames.publish(client, "dc1", "app", "a", f'app_x{{a="{"a" * 60}"}} 1\napp_y{{a="b"}} 2\n')
    wait_until(lambda: federate.get().find("app_y") == [2])
    assert federate.get('{a=~"(a+)+[bc]|b"}').find("app_y") == [2]
    assert not federate.get('{a=~"(a+)+[bc]|b"}').find("app_x")
    assert federate.total("pattern_limits_total") >= 1


def test_a_central_prometheus_has_what_it_would_have_scraped_itself(world, nats):
    node = world.node_exporter()
    app = world.add(Target({"/metrics": BODY}))
    dead = free_port()
    targets = {"app:1": f"127.0.0.1:{app.port}", "node:1": f"127.0.0.1:{node.port}", "dead:1": f"127.0.0.1:{dead}"}
    world.poller(nats, {"app": {"targets": [{"name": name, "url": f"http://{address}/metrics"}
                                            for name, address in targets.items()]}})
    federate = Federate(world, nats)
    federate.daemon.wait_ready()

    def configs(server):
        direct = [{"targets": [address], "labels": {"instance": name}} for name, address in targets.items()]
        return [{"job_name": "app", "static_configs": direct},
                {"job_name": "central", "honor_labels": True, "metrics_path": "/federate",
                 "params": {"match[]": ['{job="app"}']},
                 "static_configs": [{"targets": [f"127.0.0.1:{federate.port}"]}]}]
    prometheus = world.add(Prometheus(world.folder, configs).start())

    def rows(selector):
        return {frozenset((k, v) for k, v in labels.items() if k != "publisher"): value
                for labels, value in prometheus.query(selector)}

    def agree():
        ours, theirs = rows('{job="app",publisher="dc1"}'), rows('{job="app",publisher=""}')
        # Of a target that is down, Prometheus keeps what it adds itself; we serve `up 0` and nothing else.
        theirs = {key: value for key, value in theirs.items() if ("instance", "dead:1") not in key
                  or ("__name__", "up") in key}
        return ours and ours.keys() == theirs.keys() and (ours, theirs)
    ours, theirs = wait_until(agree, 40, "the same series", interval=0.3)
    steady = [key for key in ours if any(k == "__name__" and v.startswith(("app_", "up", "node_uname", "scrape_samples"))
                                         for k, v in key)]
    assert len(ours) > 300 and len(steady) > 10
    assert not [(sorted(key), ours[key], theirs[key]) for key in steady if not is_equal(ours[key], theirs[key])]
    at = {labels["__name__"]: value for labels, value in prometheus.query(
        'label_replace(timestamp({__name__=~"app_tiny|node_load1",publisher="dc1"}),"__name__","$1","instance","(.*):1")')}
    served = series(federate.text('{__name__=~"app_tiny"}'))
    assert at and served
    [(_, at_ms)] = served.values()
    assert abs(at_ms / 1000 - time.time()) < 10
    asked = f"timestamp(app_tiny{{publisher='dc1'}}) * 1000"
    times = {at for _, at in prometheus.query(asked)}
    published = set()

    def is_one_of_ours():
        published.update(at for _, at in series(federate.text("app_tiny")).values())
        return any(abs(at - ours_ms) < 1 for _, at in prometheus.query(asked) for ours_ms in published)
    wait_until(is_one_of_ours, 20, f"Prometheus has our timestamps; {times} {published}")


class VictoriaMetrics(Server):
    name = "victoria-metrics"

    def __init__(self, folder, target):
        super().__init__(folder)
        self.target = target

    def argv(self):
        path = os.path.join(self.folder, "scrape.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("scrape_configs:\n- job_name: central\n  scrape_interval: 1s\n  honor_labels: true\n"
                       "  honor_timestamps: true\n  metrics_path: /federate\n  static_configs:\n"
                       f"  - targets: ['{self.target}']\n")
        return [find_binary("victoria-metrics"), f"-httpListenAddr=127.0.0.1:{self.port}",
                f"-storageDataPath={self.folder}/data", f"-promscrape.config={path}", "-search.latencyOffset=0s",
                "-loggerDisableTimestamps"]

    def answers(self):
        return http.get(f"{self.url}/health", timeout=2)[0] == 200

    def query(self, expression):
        answer = http.get_json(f"{self.url}/api/v1/query?query={quote(expression)}&nocache=1")
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]] if answer else []


def test_victoria_metrics_scrapes_us(world, nats, client, federate):
    victoria = world.add(VictoriaMetrics(world.folder, f"127.0.0.1:{federate.port}").start())
    frames.publish(client, "dc1", "app", "a:1", BODY)

    def arrived():
        return {labels["instance"]: value for labels, value in victoria.query("app_tiny")} == {"a:1": 1e-300}
    wait_until(arrived, 40, interval=0.3)
    rows = victoria.query('app_requests{publisher="dc1",job="app"}')
    assert {labels["path"]: value for labels, value in rows} == {'/a"b\\c\nd': 1027, "ä€": 3}
    assert [value for _, value in victoria.query('app_untyped{exported_job="mine"}')] == [-math.inf]


def fetch(federate, encoding):
    """(Content-Encoding, body as it came)."""
    import urllib.request
    request = urllib.request.Request(federate.url, headers={"Accept-Encoding": encoding})
    with urllib.request.urlopen(request, timeout=20 * TIME_SCALE) as answer:
        return answer.headers.get("Content-Encoding"), answer.read()


def big_body(lines, width=20):
    return "".join(f'big_{number % 50}{{n="{number}",text="{"x" * width}"}} {number}\n'
                   for number in sorted(range(lines), key=lambda number: number % 50))


def test_gzip_and_zstd(client, federate):
    frames.publish(client, "dc1", "app", "a", gzip.compress(big_body(20000).encode()), **{"Content-Encoding": "gzip"})
    wait_until(lambda: federate.get("up").find("up") == [1])
    _, plain = fetch(federate, "identity")
    assert len(plain) > 1 << 20 and len(series(plain.decode())) == 20005
    for accepted, encoding in (("gzip", "gzip"), ("gzip, zstd", "zstd"), ("zstd;q=0, gzip;q=0.5", "gzip"),
                               ("deflate, br", None), ("*", None), ("GZIP", "gzip")):
        used, body = fetch(federate, accepted)
        assert used == encoding, f"{accepted}: {used}"
        decoded = {"gzip": gzip.decompress, "zstd": lambda data: zstd.decompress_unsized(data, 64 << 20), None: bytes}[encoding](body)
        assert decoded == plain, accepted
        assert encoding is None or len(body) < len(plain) / 5
    curl = subprocess.run([find_binary("curl"), "-sS", "--compressed", federate.url], capture_output=True)
    assert curl.returncode == 0 and curl.stdout == plain
    head = subprocess.run([find_binary("curl"), "-sSI", federate.url], capture_output=True, text=True)
    assert "200" in head.stdout and "version=0.0.4" in head.stdout
    wait_until(lambda: federate.total("requests_total", outcome="ok") >= 9)
    assert not federate.total("requests_total", outcome="busy")


def test_names_in_quotes_go_to_who_takes_them(world, client, federate):
    frames.publish(client, "dc1", "app", "a:1", '{"app.x","a b"="ä"} 1\napp_y 2\n')
    wait_until(lambda: "app_y" in federate.text())
    common = 'job="app",instance="a:1",publisher="dc1"'
    assert f'U__app_2e_x{{{common},U__a_20_b="ä"}} 1 ' in federate.text()
    accept = ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
              "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1")
    assert f'{{"app.x",{common},"a b"="ä"}} 1 ' in http.get(federate.url, headers={"Accept": accept})[1]
    assert "U__app" in federate.text('{"app.x"}'), "they are selected by what they are"
    # This Prometheus knows no such names: one of them would make it refuse all.
    prometheus = world.add(Prometheus(world.folder, [
        {"job_name": "central", "honor_labels": True, "metrics_path": "/federate",
         "static_configs": [{"targets": [f"127.0.0.1:{federate.port}"]}]}]).start())
    wait_until(lambda: [value for _, value in prometheus.query("app_y")] == [2])
    assert [labels["U__a_20_b"] for labels, _ in prometheus.query("U__app_2e_x")] == ["ä"]


def test_shards_are_everything_once(client, federate):
    for number in range(60):
        frames.publish(client, "dc1", "app", f"host{number}", f"app_x {number}\n")
    wait_until(lambda: len(federate.get().find("app_x")) == 60)
    parts = [federate.get(shard=f"{shard}/3").labels_of("app_x") for shard in range(3)]
    assert all(len(part) > 5 for part in parts)
    assert sorted(labels["instance"] for part in parts for labels in part) == sorted(f"host{n}" for n in range(60))
    assert federate.get("app_x", shard="1/3").labels_of("app_x") == parts[1]
    assert len(federate.get(shard="0/1").find("app_x")) == 60


class SlowReader:
    """Asks, and reads no more than it is told to."""

    def __init__(self, federate):
        self.socket = socket.create_connection(("127.0.0.1", federate.port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.socket.sendall(b"GET /federate HTTP/1.1\r\nHost: x\r\n\r\n")

    def stop(self):
        self.socket.close()

    def rest(self):
        """What is left of the answer."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.settimeout(20 * TIME_SCALE)
        taken = bytearray()
        while not taken.endswith(b"\r\n0\r\n\r\n") and (chunk := self.socket.recv(65536)):
            taken += chunk
        return bytes(taken)


def test_a_slow_reader_holds_back_nobody(world, client, federate):
    body = gzip.compress(big_body(100000, 100).encode())
    frames.publish(client, "dc1", "app", "big", body, **{"Content-Encoding": "gzip"})
    wait_until(lambda: federate.get("up").find("up") == [1])
    slow = world.add(SlowReader(federate))
    wait_until(lambda: federate.daemon.total("in_flight", sink="federate") == 1)
    for number in range(20):
        frames.publish(client, "dc1", "app", "small", f"app_x {number}\n")
        begin = time.monotonic()
        wait_until(lambda: federate.get("app_x").find("app_x") == [number])
        assert time.monotonic() - begin < 2 * TIME_SCALE
    # What it began with is what it gets, though the target is another by now.
    frames.publish(client, "dc1", "app", "big", "app_y 1\n")
    wait_until(lambda: federate.get("app_y").find("app_y") == [1])
    answer = slow.rest()
    assert answer.count(b"\nbig_") == 100000 and b"app_x" not in answer and b"app_y" not in answer
    assert b"big_" not in federate.text().encode()


def test_no_more_requests_at_once_than_allowed(world, nats, client):
    federate = Federate(world, nats, federate={"max_concurrent_requests": 2})
    federate.daemon.wait_ready()
    body = gzip.compress(big_body(100000, 100).encode())
    frames.publish(client, "dc1", "app", "big", body, **{"Content-Encoding": "gzip"})
    wait_until(lambda: federate.get("up").find("up") == [1])
    slow = [world.add(SlowReader(federate)) for _ in range(2)]
    wait_until(lambda: federate.daemon.total("in_flight", sink="federate") == 2)
    done = subprocess.run([find_binary("curl"), "-sSi", federate.url], capture_output=True, text=True)
    assert "503" in done.stdout.splitlines()[0] and "retry-after: 1" in done.stdout.lower()
    assert federate.total("requests_total", outcome="busy") == 1
    slow[0].stop()
    wait_until(lambda: http.get(federate.query("up"))[0] == 200)
    assert federate.total("requests_total", outcome="aborted") == 1
    # A stop does not wait for who reads nothing longer than it may.
    federate.daemon.config["shutdown_timeout"] = "1s"


@pytest.mark.skipif(not IS_PLAIN, reason="sanitizers keep memory of their own")
def test_memory_of_an_answer_is_bounded(client, federate):
    """Some 80 MB are served, to two at a time."""
    body = gzip.compress(big_body(60000, 100).encode())
    for number in range(10):
        frames.publish(client, "dc1", "app", f"host{number}", body, **{"Content-Encoding": "gzip"})
    wait_until(lambda: sum(federate.get("up").find("up")) == 10, 60)

    def peak_kb():
        with open(f"/proc/{federate.daemon.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1))
    before, sizes = peak_kb(), []
    readers = [threading.Thread(target=lambda how=encoding: sizes.append(len(fetch(federate, how)[1])))
               for encoding in ("identity", "gzip")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert max(sizes) > 80 << 20
    assert peak_kb() - before < 16 << 10, f"{before} kB before, {peak_kb()} kB after"


def test_tls_and_users(world, nats, client, tmp_path):
    authority = Authority(tmp_path)
    path = write_config(tmp_path, authority.issue("server"), {"prom": bcrypt(PASSWORD)})
    federate = Federate(world, nats, federate={"web_config_file": path})
    federate.daemon.wait_ready()
    frames.publish(client, "dc1", "app", "a", gzip.compress(big_body(30000).encode()), **{"Content-Encoding": "gzip"})
    wait_until(lambda: federate.daemon.total("delivered_total", sink="federate") == 1)
    assert ask(federate, "/federate", ca=authority.cert) == (401, "Basic")
    assert ask(federate, "/federate", "prom", "wrong", ca=authority.cert)[0] == 401
    status, text = ask(federate, "/federate", "prom", PASSWORD, ca=authority.cert)
    assert status == 200 and len(series(text)) == 30005
    assert http.get(federate.url)[0] != 200


def test_a_reload_changes_how_many_are_answered(world, nats, client):
    federate = Federate(world, nats, federate={"max_concurrent_requests": 1})
    federate.daemon.wait_ready()
    body = gzip.compress(big_body(100000, 100).encode())
    frames.publish(client, "dc1", "app", "big", body, **{"Content-Encoding": "gzip"})
    wait_until(lambda: federate.get("up").find("up") == [1])
    slow = world.add(SlowReader(federate))
    wait_until(lambda: http.get(federate.query("up"))[0] == 503)
    path = os.path.join(federate.daemon.folder, "config.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("max_concurrent_requests: 1", "max_concurrent_requests: 2"))
    federate.daemon.process.signal(signal.SIGHUP)
    wait_until(lambda: http.get(federate.query("up"))[0] == 200)
    slow.stop()


# The start.

def test_a_warm_start_has_everything_before_it_is_ready(world, nats, client):
    """More than the server would send for one request of a durable."""
    padding = "# " + "x" * 40000 + "\n"
    for number in range(600):
        frames.publish(client, "dc1", "app", f"host{number}", f"app_x {number}\n")
        frames.publish(client, "dc1", "app", f"host{number}", f"{padding}app_x {number + 1000}\n")
    federate = Federate(world, nats)
    begin = time.monotonic()
    first = wait_until(lambda: http.get(federate.url)[0] == 200 and federate.get())
    assert time.monotonic() - begin < 5 * TIME_SCALE
    assert sorted(first.find("app_x")) == [number + 1000 for number in range(600)]
    federate.daemon.wait_ready()


def test_not_ready_without_nats(world):
    nats = world.nats()
    with nats.connect() as client:
        client.make_stream(STREAM)
        frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    nats.stop()
    federate = Federate(world, nats)
    federate.daemon.wait_not_ready("")
    status, text = http.get(federate.url)
    assert status == 503 and "not ready" in text
    nats.start()
    wait_until(lambda: http.get(federate.url)[0] == 200, 40)
    assert federate.get().find("app_x") == [1]


def test_a_restart_of_nats_is_survived(world, nats, client):
    federate = Federate(world, nats)
    frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    wait_until(lambda: http.get(federate.url)[0] == 200 and federate.get().find("app_x") == [1])
    nats.stop()
    federate.daemon.wait_not_ready("")
    assert federate.get().find("app_x") == [1], "what it has it goes on to serve"
    nats.start()
    with nats.connect() as again:
        frames.publish(again, "dc1", "app", "a", "app_x 2\n")
        wait_until(lambda: federate.get().find("app_x") == [2], 40)
        federate.daemon.wait_ready(40)
        assert not again.request(f"$JS.API.CONSUMER.NAMES.{STREAM}", b"").body.count(b"recv_federate"), "no durable"


def test_the_consumer_is_made_anew_when_it_is_gone(world, nats, client, federate):
    import json
    frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    wait_until(lambda: federate.get().find("app_x") == [1])
    names = json.loads(client.request(f"$JS.API.CONSUMER.NAMES.{STREAM}", b"").body)["consumers"]
    assert len(names) == 1
    client.delete_consumer(STREAM, names[0])
    frames.publish(client, "dc1", "app", "a", "app_x 2\n")
    wait_until(lambda: federate.get().find("app_x") == [2], 40)


def test_several_and_a_gateway_side_by_side(world, nats, client):
    gateway = world.gateway()
    ports = [free_port(), free_port()]
    receiver = world.receiver(nats, gateway.url, federate=[
        {"listen": f"127.0.0.1:{ports[0]}"}, {"name": "second", "listen": f":{ports[1]}", "publisher_label": False}])
    receiver.wait_ready()
    frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    wait_until(lambda: gateway.metrics().find("app_x") == [1])
    for port, labels in zip(ports, ({"publisher": "dc1"}, {})):
        wait_until(lambda: "app_x" in http.get(f"http://127.0.0.1:{port}/federate")[1])
        shown = http.Samples(http.get(f"http://127.0.0.1:{port}/federate")[1])
        assert shown.labels_of("app_x") == [{"job": "app", "instance": "a", **labels}]
    assert receiver.total("delivered_total", sink="second") == receiver.total("delivered_total", sink="federate") == 1


def test_a_port_that_is_taken_ends_the_start(world, nats):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        federate = Federate(world, nats, start=False, federate={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        federate.daemon.start(wait=False)
        assert federate.daemon.process.wait() == 1
        assert "federate: cannot listen on 127.0.0.1" in federate.daemon.log()
        federate.daemon.kill()


def test_no_room_is_down(world, nats, client):
    federate = Federate(world, nats, max_publisher_bytes="1MB")
    federate.daemon.wait_ready()
    body = gzip.compress(big_body(20000).encode())
    frames.publish(client, "dc1", "app", "small", "app_x 1\n")
    frames.publish(client, "dc1", "app", "big", body, **{"Content-Encoding": "gzip"})
    wait_until(lambda: federate.get().find("up", instance="big") == [0])
    assert federate.get().find("app_x") == [1] and "big_0" not in federate.text()
    assert federate.daemon.total("publisher_discards_total", reason="over_bytes") >= 1
