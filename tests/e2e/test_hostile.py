# SPDX-License-Identifier: Apache-2.0
"""Hostile publishers and hostile targets: memory is bounded, everything is counted, and nobody else's
data is harmed. Memory is asserted of builds without a sanitizer, which keeps what is freed."""

import gzip
import json
import threading

import pytest

from conftest import STREAM
from harness import frames
from harness.daemons import IS_PLAIN
from harness.frames import flood, raw_message
from harness.process import TIME_SCALE, wait_until
from harness.stubs import Gateway, Target, text_answer

MB = 1 << 20
SCALE = 1 if IS_PLAIN and TIME_SCALE == 1 else 10
HONEST = "# HELP honest_value What must arrive.\n# TYPE honest_value gauge\nhonest_value {}\n"


def peak_bytes(daemon):
    """The most that was ever resident."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def resident_bytes(daemon):
    return daemon.metrics().value("process_resident_memory_bytes")


def check_memory(what, got, bound):
    print(f"{what}: {got / MB:.1f} MB, bound {bound / MB:.0f} MB")
    assert not IS_PLAIN or got <= bound, f"{what}: {got / MB:.1f} MB, more than {bound / MB:.1f} MB"


class Honest:
    """A target of another publisher: what it says must arrive, whatever goes on."""

    def __init__(self, client, gateway):
        self.client = client
        self.gateway = gateway
        self.value = 0

    def check(self, timeout=30):
        self.value += 1
        frames.publish(self.client, "honest", "app", "a", HONEST.format(self.value), labels={"env": "prod"})
        wait_until(self.has_arrived, timeout, what=f"the honest target's value {self.value} arrives")

    def has_arrived(self):
        if isinstance(self.gateway, Gateway):
            return any(f"\nhonest_value {self.value}\n" in body for body in self.gateway.bodies()[-3000:])
        seen = self.gateway.metrics()
        return seen.value("honest_value", job="app", instance="a", env="prod") == self.value


@pytest.fixture
def client(nats):
    with nats.connect() as connection:
        connection.make_stream(STREAM, storage="memory", max_bytes=400 * MB, duplicate_window=1_000_000_000)
        yield connection


@pytest.fixture
def stub(world):
    return world.add(Gateway())


def wait_consumed(client, receiver, count, timeout=60):
    wait_until(lambda: receiver.total("received_total") >= count, timeout, what=f"{count} messages are received")
    wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), timeout, what="everything is acked")


def discarded(receiver, reason, **labels):
    return receiver.total("publisher_discards_total", reason=reason, **labels)


def test_invented_targets(world, nats, client):
    """Far more than there may be: those beyond cost nothing each."""
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, max_targets_per_publisher=1000)
    honest = Honest(client, gateway)
    honest.check()
    part, measured = 200_000 // SCALE, []
    for begin in (0, part):
        for quarter in range(4):
            flood(client, (raw_message(f"prometheus.scrape.evil.app.t{number}.0", b"evil 1\n")
                           for number in range(begin + quarter * part // 4, begin + (quarter + 1) * part // 4)))
            honest.check()
        wait_consumed(client, receiver, begin + part)
        measured.append(resident_bytes(receiver))
    assert receiver.total("targets") == 1001
    assert discarded(receiver, "over_limit", publisher="evil") == 2 * part - 1000
    assert discarded(receiver, "over_limit", publisher="honest") == 0
    check_memory(f"growth over {part} messages", measured[1] - measured[0], 4 * MB)
    check_memory("peak", peak_bytes(receiver), 100 * MB)
    wait_until(lambda: len(gateway.metrics().find("evil", job="app")) == 1000, 60)
    assert len(receiver.log().splitlines()) < 200


def test_invented_publishers(world, nats, client, stub):
    """Where nothing binds their names: a share each for 10,000, one for the others, counted likewise."""
    receiver = world.receiver(nats, stub.url, max_targets_per_publisher=100)
    honest = Honest(client, stub)
    honest.check()
    part, measured = 60_000 // SCALE, []
    for begin in (0, part):
        flood(client, (raw_message(f"prometheus.scrape.evil{number}.app.a.0", b"evil 1\n")
                       for number in range(begin, begin + part)))
        wait_consumed(client, receiver, begin + part)
        honest.check(60)
        measured.append(resident_bytes(receiver))
    expected = min(2 * part + 1, 10_000 + 100)
    assert receiver.total("targets") == expected
    text = receiver.metrics()
    assert text.total("prometheus_streams_receiver_publisher_discards_total", reason="over_limit") == (
        2 * part + 1 - expected)
    assert len(text.labels_of("prometheus_streams_receiver_seen_timestamp_seconds")) == min(2 * part + 1, 1001)
    check_memory(f"growth over {part} publishers", measured[1] - measured[0], 6 * MB)
    check_memory("peak", peak_bytes(receiver), 150 * MB)
    assert len(receiver.log().splitlines()) < 200


def scrape_subject(labels=None, instance="a"):
    return frames.subject("evil", "app", instance, labels)


def labels_header(labels):
    return b"Ps-Labels: " + json.dumps(labels).encode() + b"\r\n"


LARGE_LABELS = {f"l{number}": "x" * 110 for number in range(64)}
FORGED = [
    raw_message("prometheus.scrape." + "x" * 3000 + ".app.a.0"),
    raw_message("prometheus.scrape.evil.app." + "x" * 256 + ".0"),
    raw_message("prometheus.scrape.evil.app." + "=FF" * 85 + ".0"),
    raw_message(scrape_subject(), lines=labels_header({f"l{number}": "x" for number in range(65)})),
    raw_message(scrape_subject(), lines=labels_header({"a": "x" * 9000})),
    raw_message(scrape_subject(), lines=labels_header({"n" * 4096: "x"})),
    raw_message(scrape_subject(), lines=labels_header(LARGE_LABELS)),  # the subject has none
    raw_message(scrape_subject(), lines=b"Ps-Error: " + b"x" * 60_000 + b"\r\n"),
    raw_message(scrape_subject(), lines=b"a:b\r\n" * 12_000),
    raw_message(scrape_subject(), lines=b"Ps-Labels: " + b"[" * 8000 + b"\r\n"),
]


def test_forged_names_and_headers(world, nats, client):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url)
    honest = Honest(client, gateway)
    honest.check()
    rounds, measured = 300 // SCALE, []
    for _ in range(2):
        flood(client, (message for _ in range(rounds) for message in FORGED), batch=200)
        honest.check()
        wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), 60)
        measured.append(resident_bytes(receiver))
    # What has 60 kB of headers of other names is a scrape like any other.
    assert receiver.total("discards_total", reason="malformed") == 2 * rounds * (len(FORGED) - 1)
    assert discarded(receiver, "malformed", publisher="honest") == 0
    assert discarded(receiver, "malformed", publisher="evil") >= 2 * rounds * 6
    check_memory(f"growth over {rounds * len(FORGED)} messages", measured[1] - measured[0], 4 * MB)
    check_memory("peak", peak_bytes(receiver), 150 * MB)
    assert len(receiver.log().splitlines()) < 100


def test_labels_as_long_as_they_may_be(world, nats, client, stub):
    """They are held for each target: that counts, too."""
    receiver = world.receiver(nats, stub.url, max_publisher_bytes=8 * MB)
    honest = Honest(client, stub)
    honest.check()

    def messages():
        for number in range(4000 // SCALE):
            labels = {**LARGE_LABELS, "n": str(number)}
            del labels["l0"]
            yield raw_message(scrape_subject(labels), b"evil 1\n", labels_header(labels))
    flood(client, messages(), batch=100)
    honest.check(60)
    wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), 60)
    assert receiver.total("discards_total", reason="malformed") == 0
    assert SCALE > 1 or discarded(receiver, "over_bytes", publisher="evil") > 0
    assert receiver.total("held_bytes") <= 9 * MB
    check_memory("peak", peak_bytes(receiver), 100 * MB)


def zstd_bomb(size_bytes):
    """A frame by hand: a window of 3.75 TB, no content size, and RLE blocks of 128 kB."""
    blocks = size_bytes >> 17
    return b"\x28\xb5\x2f\xfd\x00\xff" + b"".join(
        (int(number == blocks - 1) | 1 << 1 | 131072 << 3).to_bytes(3, "little") + b"#" for number in range(blocks))


BOMBS = {
    "gzip": (gzip.compress(b"#" * 400_000_000), "gzip"),
    "gzip of many members": (gzip.compress(b"#\n" * 500_000) * 200, "gzip"),
    "gzip of empty members": (gzip.compress(b"") * 40_000, "gzip"),
    "gzip with a lie of its size": (gzip.compress(b"#" * 30_000_000)[:-4] + b"\0\0\0\0", "gzip"),
    "zstd": (zstd_bomb(512 * MB), "zstd"),
    "zstd of skippable frames": (b"\x50\x2a\x4d\x18\0\0\0\0" * 100_000, "zstd"),
    "zstd that claims much": (b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x0f" + b"\x01\0\0", "zstd"),
}


def test_decompression_bombs(world, nats, client):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url)
    honest = Honest(client, gateway)
    honest.check()
    base = peak_bytes(receiver)
    for name, (body, encoding) in BOMBS.items():
        for _ in range(3):
            frames.publish(client, "evil", "app", name, body, **{"Content-Encoding": encoding})
        wait_until(lambda: gateway.metrics().find("up", job="app", instance=name), 30)
        honest.check()
        print(f"{name}: {len(body)} bytes, peak {peak_bytes(receiver) / MB:.1f} MB")
    check_memory("what bombs add", peak_bytes(receiver) - base, 40 * MB)
    assert discarded(receiver, "too_large", publisher="evil") >= 4
    assert discarded(receiver, "too_large", publisher="honest") == 0
    assert receiver.total("waiting_scrapes") == 0


def test_bodies_that_are_costly_to_rewrite(world, nats, client, stub):
    """As large as max_scrape_bytes lets them be: the shortest samples, and thousands of groups."""
    receiver = world.receiver(nats, stub.url, max_scrape_bytes=4 * MB)
    honest = Honest(client, stub)
    honest.check()
    base = peak_bytes(receiver)
    shortest = "".join(f"m{number:x} 1\n" for number in range(380_000)).encode()
    lines = "".join(f'm{{job="{number}"}} 1\n' for number in range(9_000))
    helped = ("# HELP m " + "x" * 3_000_000 + "\n" + lines).encode()
    for instance, body, flags in (("shortest", shortest, ""), ("helped", helped, "honor_labels")):
        assert len(body) < 4 * MB
        extra = {"Ps-Flags": flags} if flags else {}
        frames.publish(client, "evil", "app", instance, gzip.compress(body), **{"Content-Encoding": "gzip"}, **extra)
        honest.check(60)
        print(f"{instance}: peak {peak_bytes(receiver) / MB:.1f} MB")
    check_memory("what they add", peak_bytes(receiver) - base, 120 * MB)


def test_bytes_held_for_a_gateway_that_is_away(world, nats, client, stub):
    """Scrapes as large as messages may be, of many targets, while nothing can be delivered."""
    open_again = threading.Event()
    stub.status = lambda *_: 200 if open_again.is_set() else 503
    receiver = world.receiver(nats, stub.url, max_publisher_bytes=16 * MB)
    wait_until(lambda: receiver.ready()[0])
    base = peak_bytes(receiver)
    noise = b"# " + b"x" * 900_000 + b"\nevil 1\n"
    honest = Honest(client, stub)
    frames.publish(client, "honest", "app", "a", HONEST.format(1), labels={"env": "prod"})
    count, measured = 100 // min(SCALE, 2), []
    for begin in (0, count):
        flood(client, (raw_message(scrape_subject(instance=f"t{number}"), noise)
                       for number in range(begin, begin + count)), batch=10)
        wait_until(lambda: receiver.total("received_total") >= begin + count + 1, 60)
        measured.append(resident_bytes(receiver))
    assert discarded(receiver, "over_bytes", publisher="evil") == 2 * count - receiver.total("targets") + 1
    assert discarded(receiver, "over_bytes", publisher="honest") == 0
    assert receiver.total("held_bytes") <= 17 * MB
    check_memory(f"growth over {count} scrapes", measured[1] - measured[0], 6 * MB)
    check_memory("peak over the start", peak_bytes(receiver) - base, 80 * MB)
    honest.value = 1
    open_again.set()
    wait_until(honest.has_arrived, 60, what="what the honest target said meanwhile arrives")


def test_a_target_without_room_is_neither_deleted_nor_frozen(world, nats, client, stub):
    """Another target of its publisher takes all the room there is, for longer than silence is waited for."""
    often = {"Ps-Interval": "1000"}
    own, large = "/metrics/job/app/instance/a", "/metrics/job/app/instance/large"
    stub.status = lambda _, path, __: path == large and stub.released.wait(120) or 200
    receiver = world.receiver(nats, stub.url, max_publisher_bytes=MB, max_age="3s", push={"concurrency": 2})
    receiver.wait_ready()
    frames.publish(client, "dc1", "app", "a", "evil 1\n", **often)
    wait_until(lambda: stub.bodies(own), what="it is delivered while there is room")
    frames.publish(client, "dc1", "app", "large", b"# " + b"x" * 700_000 + b"\n")
    wait_until(lambda: receiver.total("in_flight") == 1)

    def says_down():
        frames.publish(client, "dc1", "app", "a", b"# " + b"x" * 500_000 + b"\n", **often)
        return any("\nup 0\n" in body for body in stub.bodies(own))
    wait_until(says_down, 30, what="it is said to be down", interval=0.3)
    assert discarded(receiver, "over_bytes", publisher="dc1") >= 2
    assert stub.bodies(own, "DELETE") == []
    assert "evil" not in stub.bodies(own)[-1]


def test_claims_of_groups_are_bounded(world, nats, client, stub):
    receiver = world.receiver(nats, stub.url, max_publisher_bytes=2 * MB)
    honest = Honest(client, stub)
    honest.check()
    for target in range(4):
        body = "".join(f'm{{job="{target}{number}{"x" * 1000}"}} 1\n' for number in range(1000))
        frames.publish(client, "evil", "app", f"t{target}", body, **{"Ps-Flags": "honor_labels"})
        honest.check(60)
    wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), 60)
    assert discarded(receiver, "over_bytes", publisher="evil") > 0
    assert receiver.total("held_bytes") <= 2.1 * MB
    assert 500 < receiver.total("groups") < 2 * MB / 1000
    check_memory("peak", peak_bytes(receiver), 80 * MB)
    assert len(receiver.log().splitlines()) < 100


def endless(prefix, piece, pause_s=0.0):
    def answer(target, request):
        request.wfile.write(prefix)
        while not target.released.wait(pause_s) if pause_s else not target.released.is_set():
            request.wfile.write(piece)
        request.close_connection = True
    return answer


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
HOSTILE_TARGETS = {
    "endless headers": endless(OK, b"".join(b"X-%d: %s\r\n" % (number, b"x" * 100) for number in range(500))),
    "endless header": endless(OK + b"X: ", b"x" * 65536),
    "endless status line": endless(b"HTTP/1.1 200 ", b"x" * 65536),
    "endless body": endless(OK + b"\r\n", b"# x\n" * 16384),
    "endless chunks": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\n# x\n\r\n" * 8000),
    "endless chunk extension": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n4;", b"x" * 65536),
    "endless 100s": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "slow loris in the headers": endless(OK, b"X: y\r\n", 0.1),
    "slow loris in the body": endless(OK + b"Content-Length: 100000\r\n\r\n", b"# x\n", 0.1),
    "100 MB": text_answer(b"# x\n" * 25_000_000, False),
    "gzip bomb": lambda _, request: request.answer(200, BOMBS["gzip"][0], {"Content-Encoding": "gzip"}),
    "gzip of many members": lambda _, request: request.answer(
        200, BOMBS["gzip of many members"][0], {"Content-Encoding": "gzip"}),
    "claims 1 EB": lambda _, request: request.wfile.write(OK + b"Content-Length: 1152921504606846976\r\n\r\n# x\n"),
}


@pytest.mark.parametrize("case", HOSTILE_TARGETS)
def test_hostile_targets(world, nats, client, case):
    """Each is a failed scrape, in bounded memory; its neighbour's scrapes go on."""
    evil, good = world.add(Target({"/metrics": HOSTILE_TARGETS[case]})), world.add(Target({"/metrics": HONEST.format(7)}))
    poller = world.poller(nats, {
        "evil": {"targets": [{"name": f"e{number}", "url": f"{evil.url}/metrics"} for number in range(2)]},
        "good": {"targets": [{"name": "g", "url": f"{good.url}/metrics"}]},
    }, scrape_interval="1s", scrape_timeout="1s", body_size_limit="4MB")
    wait_until(lambda: poller.total("poll_errors_total", poller_job="evil") >= 4, 40, what="its scrapes fail")
    check_memory(f"{case}: peak", peak_bytes(poller), 80 * MB)
    wait_until(lambda: len([message for message in client.all_messages(STREAM)
                            if ".scrape.dc1.good." in message.subject and "Ps-Up" not in message.headers]) >= 3, 30)
    evil_messages = [message for message in client.all_messages(STREAM) if ".scrape.dc1.evil." in message.subject]
    assert evil_messages and all(message.headers.get("Ps-Up") == "0" and message.body == b""
                                 for message in evil_messages)
