# SPDX-License-Identifier: Apache-2.0
"""What arrives on the stream: stale, ahead of time, after a clock reset, odd names, and rubbish."""

import base64
import gzip
import json

import pytest

from conftest import STREAM
from harness import frames
from harness.process import wait_until
from harness.stubs import Gateway

BODY = "# TYPE app_requests counter\napp_requests {}\n"


@pytest.fixture
def gateway(world):
    return world.gateway()


@pytest.fixture
def receiver(world, client, nats, gateway):
    daemon = world.receiver(nats, gateway.url, stream={"legacy": True})
    daemon.wait_ready()
    return daemon


def send(client, value, instance="a", **keys):
    return frames.publish(client, "dc1", "app", instance, BODY.format(value), **keys)


def wait_acked(client):
    def done():
        return all(client.is_acked(STREAM, f"recv_push_gateway{suffix}") for suffix in ("", "_legacy"))
    wait_until(done, 30, what="everything is acked")


def test_stale_scrapes_are_dropped_and_counted(client, receiver, gateway):
    send(client, 1, at_ms=frames.now_ms() - 81_000)
    send(client, 2, instance="b", at_ms=frames.now_ms() - 70_000)
    wait_until(lambda: gateway.metrics().find("app_requests") == [2])
    wait_acked(client)
    assert receiver.total("aged_discards_total", receiver_job="app") == 1


def test_max_age_0_delivers_what_is_old(world, client, nats, gateway):
    send(client, 1, at_ms=frames.now_ms() - 3_600_000)
    world.receiver(nats, gateway.url, max_age=0)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])


def test_a_durable_made_anew_brings_nothing_back(world, client, nats):
    """With the age check off, only the order of the stream tells that it has all been there before."""
    stub = world.add(Gateway())
    receiver = world.receiver(nats, stub.url, max_age=0, stream={"legacy": True})
    now = frames.now_ms()
    for number in range(10):
        send(client, number, at_ms=now - (10 - number) * 600_000)
    wait_until(lambda: stub.bodies() and "app_requests 9" in stub.bodies()[-1])
    before = len(stub.pushes)
    client.delete_consumer(STREAM, "recv_push_gateway")
    # It may take the server two deletions: then all comes a third time.
    wait_until(lambda: receiver.total("received_total") >= 20, 60)
    send(client, 99)
    wait_until(lambda: "app_requests 99" in stub.bodies()[-1])
    assert len(stub.pushes) == before + 1
    assert receiver.total("clock_resets_total") == 0
    wait_acked(client)


def test_scrapes_from_the_future_are_delivered_and_counted(client, receiver, gateway):
    send(client, 1, at_ms=frames.now_ms() + 3_600_000)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    assert receiver.total("future_scrapes_total", publisher="dc1") == 1
    wait_until(lambda: receiver.total("delivered_age_seconds_count") == 1)
    assert 0 <= receiver.total("delivered_age_seconds_sum") < 60, "its age counts from its arrival"
    assert receiver.total("clock_skew_seconds", publisher="dc1") == pytest.approx(3600, abs=5)


def test_a_clock_reset_is_believed(client, receiver, gateway):
    send(client, 1, at_ms=frames.now_ms() + 3_600_000)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    send(client, 2)
    wait_until(lambda: gateway.metrics().find("app_requests") == [2])
    assert receiver.total("clock_resets_total", publisher="dc1") == 1
    assert "clock" in receiver.log()


def test_a_scrape_that_comes_late_is_not_delivered(client, receiver, gateway):
    now = frames.now_ms()
    send(client, 1, at_ms=now)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    send(client, 0, at_ms=now - 10_000)
    wait_acked(client)
    assert gateway.metrics().find("app_requests") == [1]
    assert receiver.total("discards_total", reason="out_of_order") == 1


def test_up_0_from_the_poller(client, receiver, gateway):
    frames.publish(client, "dc1", "app", "a", "", **{"Ps-Up": "0", "Ps-Error": "connection refused"})
    wait_until(lambda: gateway.metrics().value("up", job="app", instance="a") == 0)


def test_target_labels_belong_to_the_group(client, receiver, gateway):
    send(client, 1, labels={"env": "prod", "rack": "ä/1"})
    wait_until(lambda: gateway.metrics().find("app_requests", env="prod", rack="ä/1", job="app") == [1])
    assert {"job": "app", "instance": "a", "env": "prod", "rack": "ä/1"} in gateway.groups()


ODD_NAMES = ["a/b", "a b", "a.b", "*", "a%b", "100%", "größe", "日本", ".", "..", ">", "a=b", "'\"\\", "x" * 255,
             "http://x:1/y?z=1&w=%20", "-", "_", "a:b", "~"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(client, receiver, gateway, name):
    frames.publish(client, "dc1", f"job {name}"[:200], name, BODY.format(1))
    wait_until(lambda: gateway.metrics().find("app_requests", instance=name) == [1])
    assert gateway.metrics().find("app_requests", job=f"job {name}"[:200], instance=name) == [1]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_label_values(client, receiver, gateway, name):
    send(client, 1, labels={"place": name})
    wait_until(lambda: gateway.metrics().find("app_requests", place=name) == [1])


@pytest.mark.parametrize("name", ["größe/1", "dc *", "a" * 250])
def test_odd_publishers(world, client, nats, gateway, name):
    world.receiver(nats, gateway.url, push={"publisher_label": True})
    frames.publish(client, name, "app", "a", BODY.format(1))
    wait_until(lambda: gateway.metrics().find("app_requests", publisher=name) == [1])


def test_odd_names_from_configuration_to_gateway(world, client, nats, gateway, receiver):
    from harness.stubs import Target
    target = world.add(Target({"/metrics": BODY.format(5)}))
    names = [name for name in ODD_NAMES if len(name) < 200]
    world.poller(nats, {f"jöb/{number} %": {"targets": [
        {"name": name, "url": f"{target.url}/metrics", "labels": {"place": name}}]}
        for number, name in enumerate(names)})
    for number, name in enumerate(names):
        wait_until(lambda: gateway.metrics().find(
            "app_requests", job=f"jöb/{number} %", instance=name, place=name) == [5], 30, what=name)


def test_names_of_300_bytes_are_refused_in_the_configuration(world, nats):
    poller = world.poller(nats, {"app": {"targets": [{"name": "x" * 300, "url": "http://127.0.0.1:1/metrics"}]}},
                          start=False)
    poller.start(wait=False)
    assert poller.process.wait() == 2
    assert "255" in poller.log()
    poller.process = None


def legacy(**keys):
    body = gzip.compress(BODY.format(9).encode())
    envelope = {"job": "old", "instance": "o1", "time": frames.now_ms() // 1000, "publisher": "dc7",
                "Scrape": base64.b64encode(body).decode()}
    envelope.update(keys)
    return json.dumps({key: value for key, value in envelope.items() if value is not None}).encode()


def test_the_originals_envelope_is_accepted(client, receiver, gateway):
    client.publish_stored("prometheus", legacy())
    wait_until(lambda: gateway.metrics().find("app_requests", job="old", instance="o1") == [9])
    wait_acked(client)


def test_envelopes_of_publishers_that_the_filter_leaves_out(world, client, nats, gateway):
    receiver = world.receiver(nats, gateway.url, stream={"legacy": True, "filter": ["dc1"]})
    client.publish_stored("prometheus", legacy(publisher="dc9", instance="other"))
    client.publish_stored("prometheus", legacy(publisher="dc1", instance="ours"))
    wait_until(lambda: gateway.metrics().find("app_requests", job="old", instance="ours") == [9])
    assert gateway.metrics().find("app_requests", instance="other") == []
    assert receiver.total("discards_total", reason="filtered") == 1
    wait_until(lambda: client.consumer_info(STREAM, "recv_push_gateway_legacy")["num_ack_pending"] == 0)


def test_received_bytes_count_what_is_malformed_too(client, receiver):
    client.publish_stored("prometheus", b"x" * 1000)
    wait_until(lambda: receiver.total("discards_total", reason="malformed") == 1)
    assert receiver.total("received_bytes_total") == 1000


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'{"job":1}', legacy(job=None), legacy(job=""), legacy(instance=""),
    legacy(time="x"), legacy(time=-1), legacy(time=10**30), legacy(Scrape="%%%"), legacy(Scrape=7),
    b"\xff\xfe", b"[" * 100000, legacy(job="x" * 300)], ids=range(16))
def test_malformed_envelopes(client, receiver, gateway, body):
    client.publish_stored("prometheus", body)
    client.publish_stored("prometheus", legacy(instance="good"))
    wait_until(lambda: gateway.metrics().find("app_requests", job="old", instance="good") == [9])
    wait_acked(client)
    assert receiver.total("discards_total", reason="malformed") == 1


MALFORMED_SUBJECTS = [
    "prometheus.scrape", "prometheus.scrape.dc1", "prometheus.scrape.dc1.app.a", "prometheus.scrape.dc1.app.a.0.1",
    "prometheus.scrape.dc1.app.a.zz", "prometheus.scrape.dc1.=.a.0", "prometheus.scrape.dc1.=4.a.0",
    "prometheus.scrape.dc1.=41.a.0", "prometheus.scrape.dc1.=zz.a.0", "prometheus.scrape.d%c1.a.b.0",
    "prometheus.scrape.dc1.app." + "x" * 300 + ".0", "prometheus.scrape.dc1.app.a.00000000000000000",
    "prometheus.scrape.dc1.ä.a.0"]


@pytest.mark.parametrize("where", MALFORMED_SUBJECTS)
def test_malformed_subjects(client, receiver, gateway, where):
    client.publish_stored(where, BODY.format(1).encode(), frames.headers(where))
    send(client, 2)
    wait_until(lambda: gateway.metrics().find("app_requests") == [2])
    wait_acked(client)
    dropped = receiver.total("discards_total", reason="malformed") + receiver.total(
        "discards_total", reason="unknown_kind")
    assert dropped == (0 if where == "prometheus.scrape" else 1)


@pytest.mark.parametrize("where", ["prometheus.key.dc1.app.a.0.1700000000000", "prometheus.samples.dc1.x",
                                   "prometheus.scrape2.dc1.app.a.0", "prometheus.write.x"])
def test_kinds_of_a_later_time_do_no_harm(client, receiver, gateway, where):
    client.publish_stored(where, b"\0\1\2")
    send(client, 2)
    wait_until(lambda: gateway.metrics().find("app_requests") == [2])


WHERE = frames.subject("dc1", "app", "a")
MALFORMED_HEADERS = {
    "none at all": None,
    "no time": {"Ps-Up": "1"},
    "time not a number": {"Ps-Time": "soon"},
    "time negative": {"Ps-Time": "-5"},
    "time too large": {"Ps-Time": "9" * 30},
    "time with rubbish": {"Ps-Time": "1700000000000x"},
    "up neither 0 nor 1": {"Ps-Time": "now", "Ps-Up": "2"},
    "duration nan": {"Ps-Time": "now", "Ps-Duration": "nan"},
    "duration negative": {"Ps-Time": "now", "Ps-Duration": "-1"},
    "interval 0": {"Ps-Time": "now", "Ps-Interval": "0"},
    "interval rubbish": {"Ps-Time": "now", "Ps-Interval": "15s"},
    "labels not json": {"Ps-Time": "now", "Ps-Labels": "{"},
    "labels an array": {"Ps-Time": "now", "Ps-Labels": "[]"},
    "labels not of this subject": {"Ps-Time": "now", "Ps-Labels": '{"env":"prod"}'},
    "labels too long": {"Ps-Time": "now", "Ps-Labels": json.dumps({"a": "x" * 9000})},
    "raw: empty value": b"NATS/1.0\r\nPs-Time:\r\n\r\n",
    "raw: no colon": b"NATS/1.0\r\nPs-Time\r\n\r\n",
    "raw: only status": b"NATS/1.0 503\r\n\r\n",
    "raw: time twice": b"NATS/1.0\r\nPs-Time: now\r\nPs-Up: 0\r\nPs-Time: now\r\n\r\n",
    "raw: nul": b"NATS/1.0\r\nPs-Time: 17\0\r\n\r\n",
    "raw: no end": b"NATS/1.0\r\nPs-Time: soon",
    "raw: colon first": b"NATS/1.0\r\n: x\r\n\r\n",
    "raw: not a header block": b"HTTP/1.1 200 OK\r\n\r\n",
    "raw: 60 kB": b"NATS/1.0\r\nPs-Time: " + b"1" * 60000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED_HEADERS)
def test_malformed_headers(client, receiver, gateway, case):
    block = MALFORMED_HEADERS[case]
    if isinstance(block, dict):
        block = {key: str(frames.now_ms()) if value == "now" else value for key, value in block.items()}
    elif block is not None:
        block = block.replace(b": now\r", f": {frames.now_ms()}\r".encode())
    client.publish_stored(WHERE, BODY.format(1).encode(), block)
    send(client, 2)
    wait_until(lambda: gateway.metrics().find("app_requests") == [2], 30)
    wait_acked(client)
    assert receiver.total("discards_total", reason="malformed") == 1
    assert receiver.total("publisher_discards_total", publisher="dc1", reason="malformed") == 1


MALFORMED_BODIES = {
    "gzip cut": (gzip.compress(BODY.format(1).encode() * 50)[:-9], "gzip"),
    "gzip rubbish": (b"\x1f\x8b rubbish", "gzip"),
    "gzip with a tail": (gzip.compress(BODY.format(1).encode()) + b"tail", "gzip"),
    "not gzip": (BODY.format(1).encode(), "gzip"),
    "zstd rubbish": (b"\x28\xb5\x2f\xfd rubbish", "zstd"),
    "unknown encoding": (BODY.format(1).encode(), "br"),
    "gzip bomb": (gzip.compress(b"#" * 200_000_000), "gzip"),
    "not an exposition": (b"<html>\n", None),
    "invalid utf-8": (b'app{a="\xff"} 1\n', None),
}


@pytest.mark.parametrize("case", MALFORMED_BODIES)
def test_malformed_bodies_are_up_0(client, receiver, gateway, case):
    body, encoding = MALFORMED_BODIES[case]
    extra = {"Content-Encoding": encoding} if encoding else {}
    frames.publish(client, "dc1", "app", "a", body, **extra)
    wait_until(lambda: gateway.metrics().value("up", job="app", instance="a") == 0, 30)
    assert gateway.metrics().find("app_requests") == []
    wait_acked(client)
    assert receiver.metrics().value("process_resident_memory_bytes") < 400e6


def test_more_targets_than_a_publisher_may_have(world, client, nats, gateway):
    receiver = world.receiver(nats, gateway.url, max_targets_per_publisher=3, name="bounded",
                              stream={"client_id": "bounded"})
    for number in range(5):
        send(client, number, instance=f"i{number}")
    frames.publish(client, "dc2", "other", "x", BODY.format(7))
    wait_until(lambda: gateway.metrics().find("app_requests", job="other") == [7])
    wait_until(lambda: receiver.total("publisher_discards_total", publisher="dc1", reason="over_limit") == 2)
    assert len(gateway.metrics().find("app_requests", job="app")) == 3
