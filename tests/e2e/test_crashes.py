# SPDX-License-Identifier: Apache-2.0
"""kill -9 of either daemon, at any moment, and what the next one makes of it: nothing fresh is lost, no
group ever goes back in time, what nobody claims goes, what is not ours stays."""

import base64
import random
import re
import threading
import time
import urllib.request

import pytest

from conftest import STREAM
from harness import frames
from harness.process import TIME_SCALE, wait_until
from harness.servers import PushGateway
from harness.stubs import Gateway, Target

BODY = "# TYPE app_requests counter\napp_requests {}\n"
MARK = "prometheus_streams_scrape_timestamp_seconds"
DURABLE = "recv_push_gateway"


def send(client, value, instance="a", **keys):
    return frames.publish(client, "dc1", "app", instance, BODY.format(value), **keys)


def push(gateway, path, body, mark=None):
    """As somebody else's pusher; with a mark (seconds) as a receiver."""
    if mark is not None:
        body += f"# TYPE {MARK} gauge\n{MARK} {mark:.3f}\n"
    request = urllib.request.Request(gateway.url + path, data=body.encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10):
        pass


def marks_of(samples):
    """{(job, instance): ms} of a gateway's /metrics."""
    return {(labels.get("job"), labels.get("instance")): round(value * 1000)
            for name, labels, value in samples.samples if name == MARK}


class StubMarks(Gateway):
    """Keeps what is pushed, shows it in /metrics, and notes every mark of each group in order."""

    def __init__(self, **settings):
        self.lock = threading.Lock()
        self.history = {}
        self.delay = lambda: 0
        super().__init__(**settings)

    def handle(self, request):
        if request.command == "GET":
            with self.lock:
                text = "".join(f'{MARK}{{instance="{path.split("/")[5]}",job="{path.split("/")[3]}"}} {seen[-1]}\n'
                               for path, seen in self.history.items() if seen)
            request.answer(200, text)
            return
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length).decode()
        pause = self.delay()
        self.released.wait(pause / 2)
        with self.lock:
            self.pushes.append((request.command, request.path, body, 0, time.time()))
            self.history.setdefault(request.path, []).append(float(re.search(rf"^{MARK} (\S+)$", body, re.M).group(1)))
        self.released.wait(pause / 2)
        request.answer(200)

    def newest(self):
        with self.lock:
            return {(path.split("/")[3], path.split("/")[5]): round(seen[-1] * 1000)
                    for path, seen in self.history.items()}

    def steps_back(self):
        with self.lock:
            return [(path, before, after) for path, seen in self.history.items()
                    for before, after in zip(seen, seen[1:]) if after < before]


class Watch:
    """Reads the gateway's marks all the time and keeps what went down or away."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.highest, self.faults = {}, []
        self.looks = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.wait(0.02):
            marks = marks_of(self.gateway.metrics())
            self.looks += 1
            self.faults += [(key, best, marks.get(key)) for key, best in self.highest.items()
                            if marks.get(key, 0) < best]
            self.highest.update(marks)

    def stop(self):
        self.ended.set()
        self.thread.join()


def newest_stored(client, job):
    """{(job, instance): Ps-Time} of the newest message of each target in the stream."""
    newest = {}
    state = client.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": f"prometheus.scrape.dc1.{job}.>"})["state"]
    for subject in state.get("subjects", {}):
        stored = client.api(f"STREAM.MSG.GET.{STREAM}", {"last_by_subj": subject})["message"]
        headers = base64.b64decode(stored["hdrs"]).decode()
        tokens = subject.split(".")
        newest[tokens[3], tokens[4]] = int(re.search(r"Ps-Time: (\d+)", headers).group(1))
    return newest


TARGETS = 20
SEED = 20_240_817


def start_all(world, nats, gateways):
    target = world.add(Target({"/metrics": BODY.format(1)}))
    poller = world.poller(nats, {"app": {"scrape_interval": "1s", "targets": [
        {"name": f"t{number}", "url": f"{target.url}/metrics"} for number in range(TARGETS)]}})
    receivers = [world.receiver(nats, gateway.url, name=f"receiver-{number}", stream={"client_id": f"recv{number}"})
                 for number, gateway in enumerate(gateways)]
    return poller, receivers


def kill_for(seconds, kinds, rng):
    """Kills and restarts by turns; {kind: how often}."""
    kills = dict.fromkeys(kinds, 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        kind = rng.choice(list(kinds))
        time.sleep(rng.choice((0, 0.02, 0.1, 0.3, 0.6)) * rng.random())
        assert kinds[kind].process.is_running(), f"{kind} ended by itself:\n{kinds[kind].log()[-3000:]}"
        kinds[kind].kill()
        kinds[kind].start(wait=False)
        kills[kind] += 1
    return kills


def test_kill_9_hundreds_of_times(world, client, nats):
    real, stub = world.gateway(), world.add(StubMarks())
    rng = random.Random(SEED)
    pace = random.Random(SEED + 1)
    stub.delay = lambda: pace.choice((0, 0, 0.05, 0.2))
    poller, receivers = start_all(world, nats, [real, stub])
    wait_until(lambda: len(marks_of(real.metrics())) >= TARGETS and len(stub.newest()) >= TARGETS, 40)
    watch = Watch(real)
    kills = kill_for(60, {"poller": poller, "receiver": receivers[0], "receiver of the slow stub": receivers[1]}, rng)
    print(f"seed {SEED}: killed {kills}, {sum(kills.values())} in all; "
          f"{watch.looks} looks at the gateway, {len(stub.pushes)} pushes to the stub")
    # After the last restarts: no new scrape may be what brings the groups up to date.
    poller.kill()
    stored = newest_stored(client, "app")
    assert len(stored) == TARGETS
    wait_until(lambda: {key: at for key, at in marks_of(real.metrics()).items() if key[0] == "app"} == stored, 15,
               what="the gateway shows the newest of each target")
    wait_until(lambda: {key: at for key, at in stub.newest().items() if key[0] == "app"} == stored, 15,
               what="the stub has the newest of each target")
    watch.stop()
    assert watch.faults == []
    assert stub.steps_back() == []
    assert sum(kills.values()) >= 200 / TIME_SCALE


def test_a_receiver_killed_between_push_and_ack(world, client, nats):
    """The group has the scrape, the stream does not know: it comes again, and lowers nothing."""
    stub = world.add(StubMarks())
    receiver = world.receiver(nats, stub.url)
    receiver.wait_ready()
    stub.delay = lambda: 2
    now = frames.now_ms()
    send(client, 1, at_ms=now - 2000)
    wait_until(lambda: len(stub.pushes) == 1)
    receiver.kill()
    assert client.consumer_info(STREAM, DURABLE)["num_ack_pending"] == 1
    stub.delay = lambda: 0
    receiver.start()
    wait_until(lambda: receiver.total("looked_back_total") == 1)
    receiver.wait_ready()
    assert receiver.total("pushes_total") == 0, "the gateway shows it already"
    send(client, 2, at_ms=now)
    wait_until(lambda: "app_requests 2" in stub.pushes[-1][2])
    assert stub.steps_back() == []


def test_a_receiver_killed_before_its_push_loses_nothing(world, client, nats):
    """Not only after ack_wait, when it would be stale."""
    stub = world.add(Gateway())
    stub.status = lambda *_: stub.released.wait(60) or 200
    receiver = world.receiver(nats, stub.url)
    receiver.wait_ready()
    for number in range(30):
        send(client, number, instance=f"i{number}")
    wait_until(lambda: client.consumer_info(STREAM, DURABLE)["num_ack_pending"] == 30)
    receiver.kill()
    stub.stop()
    gateway = world.add(PushGateway(world.folder))
    gateway.port = stub.port
    gateway.start()
    receiver.start()
    wait_until(lambda: sorted(gateway.metrics().find("app_requests")) == list(range(30)), 10)


def test_what_is_older_than_the_mark_is_not_delivered(world, client, nats):
    gateway = world.gateway()
    now = frames.now_ms()
    receiver = world.receiver(nats, gateway.url)
    send(client, 5, at_ms=now)
    wait_until(lambda: gateway.metrics().find("app_requests") == [5])
    receiver.stop()
    client.delete_consumer(STREAM, DURABLE)
    send(client, 4, at_ms=now - 10_000)
    send(client, 9, instance="b", at_ms=now - 10_000)
    receiver.start()
    wait_until(lambda: gateway.metrics().find("app_requests", instance="b") == [9])
    wait_until(lambda: client.is_acked(STREAM, DURABLE))
    assert gateway.metrics().find("app_requests", instance="a") == [5]
    assert receiver.total("discards_total", reason="out_of_order") == 1
    # More than two intervals and max_age: the poller's clock was set.
    receiver.stop()
    push(gateway, "/metrics/job/app/instance/a", "", mark=now / 1000 + 3600)
    receiver.start()
    send(client, 6, at_ms=frames.now_ms())
    wait_until(lambda: gateway.metrics().find("app_requests", instance="a") == [6])
    assert receiver.total("clock_resets_total") == 1


@pytest.mark.parametrize("delete_stale", [True, False])
def test_groups_that_nobody_claims(world, client, nats, delete_stale):
    gateway = world.gateway()
    push(gateway, "/metrics/job/app/instance/gone", "gone_metric 1\n", mark=time.time() - 1000)
    push(gateway, "/metrics/job/app/instance/of_another_receiver", "living_metric 1\n", mark=time.time())
    push(gateway, "/metrics/job/batch/instance/x", "foreign_metric 1\n")
    receiver = world.receiver(nats, gateway.url, max_age="3s", push={"delete_stale": delete_stale})
    rounds = []

    def have_passed():
        send(client, len(rounds), **{"Ps-Interval": "1000"})
        push(gateway, "/metrics/job/app/instance/of_another_receiver", "living_metric 1\n", mark=time.time())
        rounds.append(1)
        return len(rounds) > 10
    wait_until(have_passed, 30, interval=1)
    samples = gateway.metrics()
    if delete_stale:
        wait_until(lambda: gateway.metrics().find("gone_metric") == [], 15)
        assert receiver.total("groups_deleted_total", reason="orphan") == 1
    else:
        assert samples.find("gone_metric") == [1]
    assert samples.find("foreign_metric") == [1]
    assert samples.find("living_metric") == [1]


def test_a_foreign_group_is_left_alone(world, client, nats):
    gateway = world.gateway()
    push(gateway, "/metrics/job/app/instance/a", "somebody_elses 1\n")
    receiver = world.receiver(nats, gateway.url)
    send(client, 1)
    send(client, 2, instance="b")
    wait_until(lambda: gateway.metrics().find("app_requests") == [2])
    wait_until(lambda: receiver.total("publisher_discards_total", reason="foreign_group") == 1)
    assert gateway.metrics().find("somebody_elses") == [1]
    assert "somebody else" in receiver.log()
    wait_until(lambda: client.is_acked(STREAM, DURABLE))


def test_a_gateway_restarted_empty_is_full_again_within_one_interval(world, client, nats):
    gateway = world.gateway()
    interval = 2
    target = world.add(Target({"/metrics": BODY.format(1)}))
    world.poller(nats, {"app": {"scrape_interval": f"{interval}s", "targets": [
        {"name": f"t{number}", "url": f"{target.url}/metrics"} for number in range(TARGETS)]}})
    receiver = world.receiver(nats, gateway.url)
    full = lambda: len(gateway.metrics().find("app_requests")) == TARGETS  # noqa: E731
    wait_until(full, 20)
    gateway.kill()
    gateway.start()
    begin = time.monotonic()
    wait_until(full, 20)
    took = time.monotonic() - begin
    print(f"full again after {took:.1f}s")
    # One interval from when the receiver has found it again, which its back-off of 0.5s bounds.
    assert took <= (interval + 1.5) * TIME_SCALE
    receiver.wait_ready()


def test_without_the_right_to_look_back(world):
    rights = ('"$JS.API.CONSUMER.INFO.PROM.*", "$JS.API.CONSUMER.MSG.NEXT.PROM.*", "$JS.ACK.PROM.>", '
              '"$JS.API.CONSUMER.DURABLE.CREATE.PROM.*"')
    nats = world.nats(config=f"""authorization {{ users: [
      {{user: "probe", password: "probe"}},
      {{user: "receiver", password: "p", permissions: {{publish: [{rights}], subscribe: ["_INBOX_recv.>"]}}}}]}}""")
    gateway = world.gateway()
    with nats.connect("probe", "probe") as client:
        client.make_stream(STREAM)
        receiver = world.receiver(nats, gateway.url, stream={"urls": f"nats://receiver:p@127.0.0.1:{nats.port}"})
        receiver.wait_ready()
        receiver.stop()
        receiver.start()
        wait_until(lambda: "not looking back" in receiver.log())
        send(client, 1)
        wait_until(lambda: gateway.metrics().find("app_requests") == [1])
        receiver.wait_ready()


# Two receivers on one client_id

def wait_until_it_judges(receiver):
    """Before that, a gap may be what a process before this one took."""
    wait_until(lambda: time.time() - receiver.metrics().value("process_start_time_seconds") > 40, 60, interval=0.5)


def test_two_receivers_on_one_client_id_are_noticed(world, client, nats):
    gateways = [world.gateway(), world.add(Gateway())]
    first = world.receiver(nats, gateways[0].url, name="first")
    first.wait_ready()
    wait_until_it_judges(first)
    second = world.receiver(nats, gateways[1].url, name="second")
    second.wait_ready()
    wait_until(lambda: send(client, 1, instance="i1") and not first.ready()[0], 20, interval=0.05)
    assert DURABLE in first.wait_not_ready("pulled from by another receiver", 5)
    assert first.total("consumer_shared") == 1 and first.total("consumer_jumps_total") >= 1
    assert "level=error" in first.log() and "another receiver pulls from this durable" in first.log()
    second.stop()
    first.wait_ready(75)
    assert first.total("consumer_shared") == 0


def test_no_false_alarm(world, client, nats):
    """Server restarts, redeliveries, purges, refused deliveries: none is another receiver."""
    stub = world.add(Gateway())
    receiver = world.receiver(nats, stub.url)
    receiver.wait_ready()
    send(client, 0)
    wait_until_it_judges(receiver)
    rounds = {
        "messages": lambda: None,
        "purge": lambda: client.api(f"STREAM.PURGE.{STREAM}"),
        "unacked pushes": lambda: setattr(stub, "status", 500),
        "answers again": lambda: setattr(stub, "status", 200),
    }
    number = 0
    for name, act in rounds.items():
        act()
        for _ in range(20):
            number += 1
            send(client, number, instance=f"i{number % 7}")
        wait_until(lambda: client.consumer_info(STREAM, DURABLE)["num_pending"] == 0)
        assert receiver.total("consumer_jumps_total") == 0, name
    # Given back by a receiver that ends: delivered again to the next one.
    info = client.consumer_info(STREAM, DURABLE)
    assert info["delivered"]["consumer_seq"] >= 81
    wait_until(lambda: client.is_acked(STREAM, DURABLE), 30, what="no ack is under way")
    nats.stop()
    nats.start()
    with nats.connect() as again:
        receiver.wait_ready(30)
        for _ in range(50):
            number += 1
            send(again, number, instance=f"i{number % 7}")
        wait_until(lambda: again.is_acked(STREAM, DURABLE), 30)
    assert receiver.total("consumer_jumps_total") == 0
    assert receiver.total("consumer_shared") == 0


def test_what_a_receiver_gives_back_is_no_other_receiver(world, client, nats):
    """A stop hands back what waits: delivered once more, out of order, to the same receiver started again."""
    stub = world.add(Gateway())
    receiver = world.receiver(nats, stub.url, shutdown_timeout="1s", push={"concurrency": 1})
    receiver.wait_ready()
    number = 0
    for _ in range(3):
        stub.status = 500
        for _ in range(40):
            number += 1
            send(client, number, instance=f"i{number}")
        wait_until(lambda: client.consumer_info(STREAM, DURABLE)["num_pending"] == 0)
        receiver.stop()
        stub.status = 200
        for _ in range(20):  # arrive while nobody is there
            number += 1
            send(client, number, instance=f"i{number}")
        receiver.start()
        wait_until(lambda: client.is_acked(STREAM, DURABLE), 30, what=f"{number} messages are taken")
        assert receiver.total("consumer_jumps_total") == 0
    info = client.consumer_info(STREAM, DURABLE)
    assert info["delivered"]["consumer_seq"] >= number + 3 * 35, "most of what waited was delivered twice"
    wait_until_it_judges(receiver)
    for _ in range(50):
        number += 1
        send(client, number, instance=f"i{number}")
    wait_until(lambda: client.is_acked(STREAM, DURABLE), 30)
    assert receiver.total("consumer_jumps_total") == 0
    assert receiver.total("consumer_shared") == 0
    assert "another receiver" not in receiver.log()
