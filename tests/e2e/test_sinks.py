# SPDX-License-Identifier: Apache-2.0
"""All sinks of one receiver at once, with the real servers: one dead, two slow, one restarted. Each of the others has
all that it should, in order and in time, and all of them say the same."""

import glob
import math
import os
import re

import pytest

from conftest import STREAM
from harness import agreement, deltas, frames, http
from harness.process import TIME_SCALE, free_port, wait_until
from harness.remote_write import Endpoint
from harness.servers import Prometheus, VictoriaStore, WriteReceiver
from harness.stubs import Gateway, Target

INTERVAL = "500ms"
PULL_BYTES = 8 << 20  # what one request to the stream brings at most
SLOW_SECONDS = 3
STEADY = ["a", "b", "c"]
MORTAL = "mortal"
TARGETS = {*STEADY, MORTAL, "dc1"}  # the last is the poller itself
FAST = {"min_backoff": "20ms", "max_backoff": "200ms"}
PROMPT = ["gateway", "federate", "written", "files"]
SINKS = {*PROMPT, "slow_gateway", "slow_write", "victoria", "dead"}
LOGS = ["written", "victoria", "files", "slow_write"]
# How many series are new depends on what a sink has got in this life of the receiver.
ADDED = "scrape_series_added"
RELABELLED = "scrape_samples_post_metric_relabeling"


def counting():
    """Each answer of a target is another."""
    asked = []

    def answer(_, request):
        asked.append(1)
        request.answer(200, "# HELP app_asked How often.\n# TYPE app_asked counter\n"
                            f'app_asked{{l="v"}} {len(asked)}\napp_asked{{l="\\"é\\"\\\\"}} {len(asked) / 2}\n'
                            f'# TYPE app_turn gauge\napp_turn{{is_odd="{len(asked) % 2}"}} NaN\n')
    return answer


def hang_up(_, request):
    request.close_connection = True


class Scrapes:
    """What the stream has: the samples that each log sink should have, and no others."""

    def __init__(self, client):
        messages, keyframes = deltas.split(client.all_messages(STREAM))
        self.times, self.samples = {name: [] for name in TARGETS}, []
        for message in messages:
            _, _, publisher, job, instance, _ = message.subject.split(".")
            target = {"job": job, "instance": instance, "publisher": publisher}
            at_ms = int(message.headers["Ps-Time"])
            self.times[instance].append(at_ms)
            body = "" if message.headers.get("Ps-Up") == "0" else deltas.decode(message, keyframes).decode()
            exposed = http.parse_exposition(body)
            of_target = [("up", {}, float(body != "")),
                         ("scrape_duration_seconds", {}, float(message.headers["Ps-Duration"])),
                         ("scrape_samples_scraped", {}, float(len(exposed))), (RELABELLED, {}, float(len(exposed)))]
            self.samples += [(agreement.series_of(name, {**labels, **target}), at_ms, value)
                             for name, labels, value in exposed + of_target]

    def downs(self, instance):
        return [at_ms for (name, labels), at_ms, value in self.samples
                if name == "up" and value == 0 and ("instance", instance) in labels]


def by_series(samples):
    found = {}
    for series, at_ms, value in samples:
        assert found.setdefault(series, {}).setdefault(at_ms, value) == value or math.isnan(value)
    return found


def of_files(folder):
    """[(series, milliseconds, value)] of all files; half of one would not be read."""
    samples = []
    for path in sorted(glob.glob(f"{folder}/*/*/*/2*.prom")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        (_, target, _), = http.parse_exposition(text.split("\n", 1)[0].removeprefix("# ").replace(" ", "") + " 0")
        samples += [(agreement.series_of(name, {**labels, **target}), at_ms, value)
                    for name, labels, value, at_ms in http.parse_timed(text)]
    return samples


def of_store(server):
    return [(agreement.series_of(dict(labels)["__name__"], {k: v for k, v in labels if k != "__name__"}), at_ms, value)
            for labels, values in server.stored('{publisher="dc1"}').items() for at_ms, value in values]


def of_endpoint(endpoint):
    """In the order in which they came."""
    return [(agreement.series_of(sample.name, {k: v for k, v in sample.labels.items() if k != "__name__"}),
             sample.time_ms, sample.value) for sample in endpoint.samples() if not sample.is_stale]


class Centre:
    """Everything there is to deliver to, and the receiver that does."""

    def __init__(self, world, nats):
        self.world, self.nats = world, nats
        self.gateway = world.gateway()
        self.slow_gateway = world.add(Gateway(pushes_per_second=1 / SLOW_SECONDS))
        self.federate = f"127.0.0.1:{free_port()}"
        self.federated = world.add(Prometheus(os.path.join(world.folder, "federated"), [
            {"job_name": "centre", "honor_labels": True, "metrics_path": "/federate",
             "static_configs": [{"targets": [self.federate]}]}]).start())
        self.written = world.add(WriteReceiver(world.folder).start())
        self.slow_write = world.add(Endpoint(delay=SLOW_SECONDS))
        self.dead = f"127.0.0.1:{free_port()}"
        self.victoria = world.add(VictoriaStore(world.folder).start())
        self.files = os.path.join(world.folder, "scrapes")
        self.receiver = world.receiver(
            nats, shutdown_timeout="1s",
            push_gateway=[{"name": name, "url": url, "publisher_label": True, "concurrency": 1} for name, url in (
                ("gateway", self.gateway.url), ("slow_gateway", self.slow_gateway.url))],
            federate={"listen": self.federate},
            remote_write=[self.write_to("dead", f"http://{self.dead}"),
                          self.write_to("written", f"{self.written.url}/api/v1"),
                          self.write_to("slow_write", self.slow_write.url)],
            victoriametrics={"name": "victoria", "url": self.victoria.url, "batch_send_deadline": "100ms", **FAST},
            files={"name": "files", "dir": self.files})

    @staticmethod
    def write_to(name, url):
        queue = {"batch_send_deadline": "100ms", "max_shards": 1, "max_samples_per_send": 50, "capacity": 200}
        return {"name": name, "url": f"{url}/write", "queue_config": {**queue, **FAST}}

    def ages(self, sink):
        """The age below which half of what a sink has taken was, and that of nearly all of it."""
        metrics, name = self.receiver.metrics(), "prometheus_streams_receiver_delivered_age_seconds"
        count = metrics.value(f"{name}_count", sink=sink)
        at_most = {float(labels["le"]): metrics.value(f"{name}_bucket", **labels)
                   for labels in metrics.labels_of(f"{name}_bucket") if labels["sink"] == sink}
        return [min(le for le, number in at_most.items() if number >= count * part) for part in (0.5, 0.9)]

    def shown(self):
        """What the state sinks show now."""
        return {"gateway": agreement.of_gateway(http.get(f"{self.gateway.url}/metrics")[1], "dc1"),
                "federate": agreement.of_federate(http.get(f"http://{self.federate}/federate")[1])}


@pytest.fixture
def centre(world, nats):
    return Centre(world, nats)


class Run:
    """A poller on some targets, and how far it has come."""

    def __init__(self, world, nats, client):
        self.client = client
        self.targets = {name: world.add(Target({"/metrics": counting()})) for name in (*STEADY, MORTAL)}
        self.world = world
        self.poller = world.poller(nats, {"app": {"targets": [
            {"name": name, "url": f"{target.url}/metrics"} for name, target in self.targets.items()]}},
            scrape_interval=INTERVAL, scrape_timeout=INTERVAL)

    def scraped(self, rounds):
        """Until the stream has so many scrapes more."""
        wanted = self.client.stream_messages(STREAM) + rounds * len(TARGETS)
        wait_until(lambda: self.client.stream_messages(STREAM) >= wanted, what="the poller publishes")

    def kill(self):
        """The connections that it has end with it."""
        target = self.targets[MORTAL]
        self.answer, target.answers["/metrics"] = target.answers["/metrics"], hang_up
        target.stop()
        self.world.parts.remove(target)

    def revive(self):
        self.targets[MORTAL] = self.world.add(Target({"/metrics": self.answer}, port=self.targets[MORTAL].port))


def is_like(samples, scrapes, without=()):
    """All of them and nothing else; the two names that some sinks leave out aside."""
    left_out = {ADDED, *without}
    samples, wanted = ([sample for sample in some if sample[0][0] not in left_out] for some in
                       (samples, scrapes.samples))
    for one, other in ((samples, wanted), (wanted, samples)):
        compared = agreement.Agreement(one, by_series(other))
        if not compared:
            return compared
    return compared


def check_order(endpoint, scrapes):
    """Per target, whatever came twice and the markers of those that fell silent aside."""
    for name, times in scrapes.times.items():
        came = [sample.time_ms for sample in endpoint.samples("up", instance=name) if not sample.is_stale]
        assert list(dict.fromkeys(came)) == times, name


def check_while_one_is_away(centre, run):
    receiver = centre.receiver
    centre.victoria.stop()
    run.kill()
    reason = receiver.wait_not_ready("/api/v1/import/prometheus")
    assert centre.dead in reason, "it names each that is dead"
    run.scraped(4)
    wait_until(lambda: http.Samples(http.get(f"http://{centre.federate}/federate")[1]).find(
        "up", instance=MORTAL) == [0], what="the target is down")
    for sink in SINKS:
        assert receiver.total("sink_ready", sink=sink) == (sink not in ("dead", "victoria")), sink
    centre.victoria.start()
    run.revive()
    wait_until(lambda: receiver.total("sink_ready", sink="victoria") == 1, what="VictoriaMetrics is written to again")
    assert centre.dead in receiver.wait_not_ready("")


def check_metrics(centre):
    """What each sink did is told apart."""
    receiver = centre.receiver
    for sink in PROMPT:
        half, most = centre.ages(sink)
        assert half <= TIME_SCALE and most <= 2.5 * TIME_SCALE, f"{sink} is held back: half of it is {half} s old, most {most}"
        assert receiver.total("publish_errors_total", sink=sink) == 0
        assert receiver.total("delivered_total", sink=sink) >= 8 * len(TARGETS)
    assert receiver.total("delivered_total", sink="dead") == receiver.total("acks_total", sink="dead") == 0
    assert receiver.total("publish_errors_total", sink="dead") > 1
    assert 0 < receiver.total("remote_write_samples_pending", sink="dead")
    assert receiver.total("publish_errors_total", sink="victoria") > 0
    for sink in ("slow_gateway", "slow_write"):
        assert receiver.total("publish_errors_total", sink=sink) == 0
        assert receiver.total("delivered_total", sink=sink) < receiver.total("delivered_total", sink="written") / 2
    assert receiver.total("discards_total", sink="slow_gateway", reason="superseded") > 0
    assert receiver.total("discards_total", sink="written") == 0


def check_log_sinks(centre, scrapes):
    ways = {"written": lambda: is_like(of_store(centre.written), scrapes),
            "files": lambda: is_like(of_files(centre.files), scrapes, [RELABELLED]),
            "slow": lambda: is_like(of_endpoint(centre.slow_write), scrapes)}
    for name, compared in ways.items():
        assert compared(), f"{name}: {compared()}"
    check_order(centre.slow_write, scrapes)


def check_victoria(centre, scrapes):
    """It stores values in decimal, of at most 18 digits and often fewer; its export shows no NaN."""
    def rounded(samples):
        return [(series, at_ms, float(f"{value:.12g}")) for series, at_ms, value in samples
                if not math.isnan(value) and series[0] not in (ADDED, RELABELLED)]
    stored, wanted = rounded(of_store(centre.victoria)), rounded(scrapes.samples)
    for one, other in ((stored, wanted), (wanted, stored)):
        compared = agreement.Agreement(one, by_series(other))
        assert compared, str(compared)


def check_state_sinks(centre, scrapes):
    """The newest of each target, and only what is in the stream."""
    reference = by_series(scrapes.samples)
    newest = {name: times[-1] for name, times in scrapes.times.items()}

    def up(samples):
        return {dict(labels)["instance"]: at_ms for (name, labels), at_ms, _ in samples if name == "up"}
    wait_until(lambda: all(up(samples) == newest for samples in centre.shown().values()), what="the newest are shown")
    for name, samples in centre.shown().items():
        compared = agreement.Agreement([sample for sample in samples if sample[0][0] != ADDED], reference)
        assert compared, f"{name}: {compared}"
    wait_until(lambda: up(sorted(of_store(centre.federated), key=lambda sample: sample[1])) == newest,
               what="Prometheus has federated the newest")
    compared = agreement.Agreement([sample for sample in of_store(centre.federated) if sample[0][0] != ADDED],
                                   reference)
    assert compared, str(compared)

    def pushed():
        marks = [(path, http.Samples(body).value(agreement.MARK)) for _, path, body, _, _ in centre.slow_gateway.pushes]
        return {path.split("/instance/")[1].split("/")[0]: round(mark * 1000) for path, mark in marks}
    wait_until(lambda: pushed() == newest, what="the slow gateway gets the newest")


def test_all_sinks_at_once(world, nats, client, centre):
    run = Run(world, nats, client)
    receiver = centre.receiver
    receiver.wait_not_ready(centre.dead)
    run.scraped(4)
    check_while_one_is_away(centre, run)
    run.scraped(4)
    check_metrics(centre)
    shown = centre.shown()
    receiver.stop()
    run.scraped(3)
    receiver.start()
    run.scraped(3)
    run.poller.stop()
    centre.slow_gateway.gap = centre.slow_write.delay = 0
    for sink in LOGS:
        wait_until(lambda name=sink: client.is_acked(STREAM, f"recv_{name}"), 30, what=f"{sink} has taken all")
    scrapes = Scrapes(client)
    assert len(scrapes.downs(MORTAL)) >= 3 and not any(scrapes.downs(name) for name in STEADY)
    assert min(map(len, scrapes.times.values())) >= 12
    check_log_sinks(centre, scrapes)
    check_victoria(centre, scrapes)
    check_state_sinks(centre, scrapes)
    for name, samples in shown.items():
        compared = agreement.Agreement([one for one in samples if one[0][0] != ADDED], by_series(scrapes.samples))
        assert compared, f"{name} in between: {compared}"
    risen = world.add(Endpoint(port=int(centre.dead.split(":")[1])))
    wait_until(lambda: client.is_acked(STREAM, "recv_dead"), 30, what="the one that was dead has taken all")
    assert is_like(of_endpoint(risen), scrapes), is_like(of_endpoint(risen), scrapes)
    check_order(risen, scrapes)
    receiver.wait_ready()


def test_one_that_is_dead_for_long_costs_no_more_with_time(world, nats, client):
    """A little of what comes is held for each, and the rest is left in the stream, whatever the others take."""
    most, filler = 4 << 20, "# " + "filler " * 15000 + "\n"
    alive, port = world.add(Endpoint()), free_port()
    folders = {name: os.path.join(world.folder, name, "scrapes") for name in ("files", "dead_files")}
    os.mkdir(os.path.dirname(folders["files"]))
    receiver = world.receiver(
        nats, max_publisher_bytes=most,
        remote_write=[Centre.write_to("written", alive.url), Centre.write_to("dead_write", f"http://127.0.0.1:{port}")],
        victoriametrics={"name": "dead_victoria", "url": f"http://127.0.0.1:{free_port()}", **FAST},
        files=[{"name": name, "dir": folder} for name, folder in folders.items()])
    dead = ["dead_write", "dead_victoria", "dead_files"]

    def publish(numbers):
        for number in numbers:
            frames.publish(client, "dc1", "app", f"t{number % 10}", f"app_x {number}\n{filler}")
        for sink in ("written", "files"):
            wait_until(lambda name=sink: client.is_acked(STREAM, f"recv_{name}"), 40, what=f"{sink} has taken all")

    def costs():
        with open(f"/proc/{receiver.process.pid}/status", encoding="ascii") as file:
            resident = int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) * 1024
        return resident, {
            sink: (client.consumer_info(STREAM, f"recv_{sink}")["num_ack_pending"],
                   receiver.total("held_bytes", sink=sink), receiver.total("remote_write_samples_pending", sink=sink))
            for sink in dead}
    publish(range(150))
    resident, before = costs()
    publish(range(150, 450))
    resident_later, later = costs()
    message = f"{resident} {before}, later {resident_later} {later}"
    print(message)
    for sink in dead:
        unacked, held, samples = later[sink]
        assert 0 < unacked < 150 and held < most + PULL_BYTES and samples < 200 + 10, message
        assert unacked <= before[sink][0] + 10, message
        assert receiver.total("acks_total", sink=sink) == receiver.total("delivered_total", sink=sink) == 0
    if TIME_SCALE == 1:  # no sanitizer, which keep what is freed
        assert resident_later < resident + most, message
    assert len(alive.samples("app_x")) == 450 and len(of_files(folders["files"])) == 450 * 4
    reason = receiver.wait_not_ready(f"127.0.0.1:{port}")
    assert "/api/v1/import/prometheus" in reason and folders["dead_files"] in reason
    risen = world.add(Endpoint(port=port))
    os.mkdir(os.path.dirname(folders["dead_files"]))
    for sink in ("dead_write", "dead_files"):
        wait_until(lambda name=sink: client.is_acked(STREAM, f"recv_{name}"), 60, what=f"{sink} has taken all")
    for endpoint in (alive, risen):
        for name in range(10):
            assert endpoint.values("app_x", instance=f"t{name}") == list(range(name, 450, 10))
    assert sorted(of_files(folders["files"]), key=repr) == sorted(of_files(folders["dead_files"]), key=repr)


def test_each_reason_is_said_once(world, nats, client):
    folders = [os.path.join(world.folder, "scrapes", str(i)) for i in range(3)]
    receiver = world.receiver(nats, files=[{"name": f"files_{i}", "dir": folder} for i, folder in enumerate(folders)])
    frames.publish(client, "dc1", "app", "a", "app_x 1\n")
    wait_until(lambda: [receiver.ready()[1].count(folder) for folder in folders] == [1, 1, 1],
               what=f"all three are named: {receiver.ready()}")
    nats.stop()
    reason = receiver.wait_not_ready("cannot connect")
    assert reason.count("cannot connect") == 1 and ";" not in reason, reason
