# SPDX-License-Identifier: Apache-2.0
"""The sink that brings scrapes to VictoriaMetrics, several targets in one request: values, times and labels as
they should be, nothing lost while the server is away, nothing held up by what it refuses."""

import re
import threading
import time

import pytest

from conftest import STREAM
from harness import frames
from harness.process import wait_until
from harness.servers import VictoriaStore
from harness.stubs import Stub, Target

BODY = "# TYPE app_requests counter\napp_requests {}\n"


@pytest.fixture
def store(world):
    return world.add(VictoriaStore(world.folder).start())


def receiver_of(world, nats, url, **keys):
    return world.receiver(nats, None, victoriametrics={"url": url, "batch_send_deadline": "100ms", **keys})


def labels(**pairs):
    return frozenset(pairs.items())


class Importer(Stub):
    """Keeps the bodies; answers as `judge` says of one."""

    def __init__(self, judge=lambda body: 204):
        self.judge = judge
        self.bodies, self.refused = [], []
        self.lock = threading.Lock()
        super().__init__()

    def handle(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"])).decode()
        with self.lock:
            status = self.judge(body)
            (self.bodies if status == 204 else self.refused).append(body)
        assert request.path == "/prefix/api/v1/import/prometheus" and request.command == "POST"
        request.answer(status, "" if status == 204 else "some words\nof the server\n")

    def lines(self):
        with self.lock:
            return [line for body in self.bodies for line in body.splitlines()]


def test_what_arrives(world, nats, client, store):
    receiver = receiver_of(world, nats, store.url)
    at_ms = frames.now_ms() - 10000
    body = (BODY.format(1.5) + f'app_when{{x="\\"y\\\\\\n"}} 2 {at_ms - 5000}\n'
            'app_taken{job="own",instance="",publisher="p",env="e"} 3\nup 7\nup{x="y"} 8\napp_inf +Inf\n')
    frames.publish(client, "dc1", "app", "a b", body, at_ms, {"env": "prod"})
    frames.publish(client, "dc1", "app", "a b", body, at_ms + 1000, {"env": "prod"}, **{"Ps-Flags": "honor_labels"})
    frames.publish(client, "dc1", "app", "down", "", at_ms, **{"Ps-Up": "0", "Ps-Error": "refused"})
    frames.publish(client, "dc1", "app", "bad", "app_requests {\n", at_ms)
    wait_until(lambda: client.is_acked(STREAM, "recv_victoriametrics") and
               receiver.total("delivered_total", sink="victoriametrics") == 4)
    target = {"job": "app", "instance": "a b", "publisher": "dc1", "env": "prod"}

    def stored(name):
        return {where - {("__name__", name)}: values for where, values in store.stored(name).items()}
    assert stored("app_requests") == {labels(**target): [(at_ms, 1.5), (at_ms + 1000, 1.5)]}
    assert stored("app_when") == {labels(**target, x='"y\\\n'): [(at_ms - 5000, 2)] * 2}
    taken = {"exported_job": "own", "exported_publisher": "p", "exported_env": "e"}
    assert stored("app_taken") == {
        labels(**target, **taken): [(at_ms, 3)],
        labels(job="own", publisher="p", env="e"): [(at_ms + 1000, 3)]}
    assert stored("up") == {
        labels(**target): [(at_ms, 1), (at_ms + 1000, 1)],
        labels(**target, x="y"): [(at_ms, 8), (at_ms + 1000, 8)],
        labels(job="app", instance="down", publisher="dc1"): [(at_ms, 0)],
        labels(job="app", instance="bad", publisher="dc1"): [(at_ms, 0)]}
    assert stored("scrape_samples_scraped")[labels(**target)] == [(at_ms, 6), (at_ms + 1000, 6)]
    assert stored("scrape_duration_seconds")[labels(**target)] == [(at_ms, 0.1), (at_ms + 1000, 0.1)]
    assert receiver.total("parse_errors_total", sink="victoriametrics") == 1


def wait_for_more(poller, scrapes=40):
    before = poller.total("published_total")
    wait_until(lambda: poller.total("published_total") >= before + scrapes)


def test_nothing_is_lost_over_a_restart(world, nats, store):
    """A poller, the server away for a while, and the receiver killed: as many samples as scrapes. The server is
    stopped, not killed: it acknowledges before it writes to its disk."""
    target = world.add(Target({"/metrics": BODY.format(5)}))
    poller = world.poller(nats, {"app": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "targets": [
        {"name": f"t{i}", "url": f"{target.url}/metrics"} for i in range(5)]}})
    receiver = receiver_of(world, nats, store.url)
    wait_for_more(poller)
    store.stop()
    assert "refused" in receiver.wait_not_ready("/api/v1/import/prometheus")
    receiver.kill()
    receiver.start()
    wait_for_more(poller)
    store.start()
    receiver.wait_ready(40)
    wait_for_more(poller)
    poller.stop()
    with nats.connect() as client:
        wait_until(lambda: client.is_acked(STREAM, "recv_victoriametrics"), 60, what="all is taken")
        sent = {}
        for message in client.all_messages(STREAM):
            names = message.subject.split(".")
            if names[1] == "scrape" and names[3] == "app":
                sent[names[4]] = sent.get(names[4], 0) + 1
    assert len(sent) == 5
    stored = {dict(where)["instance"]: len(values) for where, values in store.stored('up{job="app"}').items()}
    assert stored == sent


def test_several_targets_share_a_request(world, nats, client):
    importer = world.add(Importer())
    for number in range(60):
        frames.publish(client, "dc1", "app", f"t{number}", BODY.format(number))
    receiver_of(world, nats, f"{importer.url}/prefix/", max_samples_per_send=40, publisher_label=False)
    wait_until(lambda: len(importer.lines()) == 240)
    # Four samples of each: ten scrapes fill a request.
    assert [len(body.splitlines()) for body in importer.bodies] == [40] * 6
    assert all(re.fullmatch(r'[a-z_]+\{job="app",instance="t\d+"\} \S+ \d{13}', line) for line in importer.lines())


def test_one_refused_scrape_costs_no_other(world, nats, client):
    importer = world.add(Importer(lambda body: 400 if "poison" in body else 204))
    for number in range(20):
        frames.publish(client, "dc1", "app", f"t{number}", "poison 1\n" if number == 7 else BODY.format(number))
    receiver = receiver_of(world, nats, f"{importer.url}/prefix")
    wait_until(lambda: client.is_acked(STREAM, "recv_victoriametrics"))
    assert {line.split('"')[3] for line in importer.lines()} == {f"t{n}" for n in range(20) if n != 7}
    assert len(importer.lines()) == 19 * 4
    assert receiver.total("discards_total", sink="victoriametrics", reason="refused") == 1
    assert receiver.total("publish_errors_total", sink="victoriametrics", reason="http_400") == len(importer.refused)
    assert "HTTP 400: some words of the server" in receiver.log() and receiver.ready()[0]


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_what_may_pass_is_waited_for(world, nats, client, status):
    is_open = threading.Event()
    importer = world.add(Importer(lambda body: 204 if is_open.is_set() else status))
    receiver = receiver_of(world, nats, f"{importer.url}/prefix", max_backoff="200ms")
    for number in range(10):
        frames.publish(client, "dc1", "app", "a", BODY.format(number))
    assert f"HTTP {status}" in receiver.wait_not_ready(importer.url)
    wait_until(lambda: len(importer.refused) >= 4)
    assert client.consumer_info(STREAM, "recv_victoriametrics")["num_ack_pending"] == 10
    is_open.set()
    wait_until(lambda: client.is_acked(STREAM, "recv_victoriametrics"))
    receiver.wait_ready()
    values = [int(line.split()[1]) for line in importer.lines() if line.startswith("app_requests")]
    assert sorted(values) == list(range(10))


def test_a_publisher_that_floods_is_bounded(world, nats, client):
    """While the far side is away, no more is asked of the stream than may be held; then all of it comes."""
    is_open = threading.Event()
    importer = world.add(Importer(lambda body: 204 if is_open.is_set() else 503))
    filler = "".join(f"app_filler_{i} {i}\n" for i in range(4000))
    for number in range(300):
        frames.publish(client, "dc1", "app", f"t{number % 10}", BODY.format(number) + filler)
    receiver = world.receiver(nats, None, max_publisher_bytes="1MB",
                              victoriametrics={"url": f"{importer.url}/prefix", "max_backoff": "200ms"})
    receiver.wait_not_ready("503")
    wait_until(lambda: receiver.total("held_bytes", sink="victoriametrics") > 1 << 20)
    time.sleep(1)
    assert client.consumer_info(STREAM, "recv_victoriametrics")["num_pending"] > 50
    is_open.set()
    wait_until(lambda: client.is_acked(STREAM, "recv_victoriametrics"), 60)
    values = [int(line.split()[1]) for line in importer.lines() if line.startswith("app_requests")]
    assert sorted(values) == list(range(300))
    assert receiver.total("discards_total", sink="victoriametrics") == 0
