# SPDX-License-Identifier: Apache-2.0
"""Frames that refer to keyframes, made by hand: whatever is missing, forbidden, wrong or hostile about them,
what is delivered is what the target served, and what cannot be is counted and harms nobody."""

import random
import time

import pytest

from conftest import STREAM
from harness import frames, zstd
from harness.daemons import IS_PLAIN
from harness.frames import flood, raw_message
from harness.process import TIME_SCALE, wait_until
from harness.stubs import Gateway

SEED = 20_240_817


def exposition(value, series=40):
    """Mostly the same each time, like real ones."""
    lines = "".join(f'app_series{{n="{n}",text="something that never changes"}} {n}\n' for n in range(series))
    return f"# TYPE app_requests counter\napp_requests {value}\n# TYPE app_series gauge\n{lines}"


KEY = exposition(0)


@pytest.fixture
def gateway(world):
    return world.gateway()


@pytest.fixture
def receiver(world, nats, client, gateway):
    daemon = world.receiver(nats, gateway.url)
    daemon.wait_ready()
    return daemon


def send_key(client, key_ms, instance="a", body=KEY, **keys):
    return frames.publish_keyframe(client, "dc1", "app", instance, body, key_ms, **keys)


def send_delta(client, value, key_ms, instance="a", key_body=KEY, **keys):
    return frames.publish_delta(client, "dc1", "app", instance, exposition(value), key_body, key_ms, **keys)


def shown(gateway, instance="a"):
    return gateway.metrics().find("app_requests", instance=instance)


def lost(receiver, reason):
    return receiver.total("publisher_discards_total", publisher="dc1", reason=reason)


def wait_acked(client):
    wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), what="everything is acked")


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
def test_keyframe_and_scrape_of_the_same_millisecond(client, receiver, gateway, encoding):
    now = frames.now_ms()
    assert not send_key(client, now, encoding=encoding).get("duplicate")
    assert not send_delta(client, 7, now, at_ms=now).get("duplicate")
    wait_until(lambda: shown(gateway) == [7])
    assert len(gateway.metrics().find("app_series", instance="a")) == 40
    wait_acked(client)
    assert receiver.total("keyframe_lookups_total", outcome="found") == 1
    send_delta(client, 8, now, at_ms=now + 1)
    wait_until(lambda: shown(gateway) == [8])
    assert receiver.total("keyframe_lookups_total") == 1
    assert receiver.total("keyframe_hits_total") == 1


def test_keyframes_removed_at_random(client, receiver, gateway):
    rng = random.Random(SEED)
    instances = [f"t{number}" for number in range(30)]
    expected, removed = {}, 0
    for value in range(1, 5):
        at = {}
        for instance in instances:
            at[instance] = frames.now_ms()
            stored = send_key(client, at[instance], instance)
            if value < 4 and rng.random() < 0.4:
                client.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": stored["seq"]})
                removed += 1
            else:
                expected[instance] = value
        for instance in instances:
            send_delta(client, value, at[instance], instance)
        wait_acked(client)
        wait_until(lambda: {name: shown(gateway, name) for name in instances} ==
                   {name: [expected[name]] if name in expected else [] for name in instances},
                   what=f"round {value} is shown where its keyframe is")
        assert lost(receiver, "keyframe_missing") == removed
    assert removed > 10 and set(expected.values()) == {4}, f"seed {SEED}"
    assert "keyframe_missing" in receiver.log()
    receiver.wait_ready()


def test_what_is_missing_is_not_asked_for_by_each_frame(client, receiver, gateway):
    now = frames.now_ms()
    for number in range(50):
        send_delta(client, number, now, at_ms=now + number)
    wait_until(lambda: lost(receiver, "keyframe_missing") == 50)
    wait_acked(client)
    assert receiver.total("keyframe_lookups_total") <= 3
    # It comes late, as from a replica that lags behind.
    send_key(client, now)
    wait_until(lambda: send_delta(client, 9, now, at_ms=frames.now_ms()) and shown(gateway) == [9], 20, interval=0.5)


def test_stale_frames_cause_no_lookup(world, client, nats, gateway):
    receiver = world.receiver(nats, gateway.url)
    receiver.wait_ready()
    old = frames.now_ms() - 200_000
    for number in range(20):
        send_delta(client, number, old, instance=f"t{number}", at_ms=old)
    wait_until(lambda: receiver.total("aged_discards_total") == 20)
    wait_acked(client)
    assert receiver.total("keyframe_lookups_total") == 0


def test_a_failed_scrape_needs_no_keyframe(client, receiver, gateway):
    frames.publish(client, "dc1", "app", "a", "", **{"Ps-Up": "0", "Content-Encoding": "zstd-delta", "Ps-Key": "1"})
    wait_until(lambda: gateway.metrics().value("up", job="app", instance="a") == 0)
    assert receiver.total("keyframe_lookups_total") == 0


def test_stream_purged(client, receiver, gateway):
    now = frames.now_ms()
    send_key(client, now)
    send_delta(client, 1, now)
    wait_until(lambda: shown(gateway) == [1])
    client.api(f"STREAM.PURGE.{STREAM}")
    send_delta(client, 2, now)
    wait_until(lambda: shown(gateway) == [2], what="what is held decodes on")
    receiver.stop()
    receiver.start()
    receiver.wait_ready()
    send_delta(client, 3, now)
    wait_until(lambda: lost(receiver, "keyframe_missing") >= 1)
    assert shown(gateway) == [2]
    later = frames.now_ms()
    send_key(client, later)
    send_delta(client, 4, later)
    wait_until(lambda: shown(gateway) == [4])


def test_what_cannot_be_read_does_not_freeze(world, client, nats, gateway):
    receiver = world.receiver(nats, gateway.url, max_age="5s", push={"delete_stale": False})
    receiver.wait_ready()
    begin = frames.now_ms()
    send_key(client, begin)
    send_delta(client, 1, begin)
    wait_until(lambda: shown(gateway) == [1])

    def is_down():
        send_delta(client, 2, begin - 1, at_ms=frames.now_ms(), **{"Ps-Interval": "500"})
        return gateway.metrics().value("up", job="app", instance="a") == 0
    wait_until(is_down, 30, interval=0.3)
    assert frames.now_ms() - begin > 5000 and shown(gateway) == []
    later = frames.now_ms()
    send_key(client, later)
    send_delta(client, 3, later)
    wait_until(lambda: shown(gateway) == [3])
    wait_acked(client)


def test_the_stream_is_made_anew_without_allow_direct(client, receiver, gateway):
    begin = frames.now_ms()
    send_key(client, begin)
    send_delta(client, 1, begin)
    wait_until(lambda: shown(gateway) == [1])
    client.api(f"STREAM.UPDATE.{STREAM}", {**client.stream_info(STREAM)["config"], "allow_direct": False})

    def is_read():
        later = frames.now_ms()
        send_key(client, later)
        send_delta(client, 2, later)
        return shown(gateway) == [2]
    wait_until(is_read, 40, interval=0.5)


def test_a_stream_without_allow_direct(world, nats, gateway):
    with nats.connect() as client:
        client.make_stream(STREAM, allow_direct=False)
        receiver = world.receiver(nats, gateway.url)
        receiver.wait_ready()
        now = frames.now_ms()
        for instance in ("a", "b"):
            send_key(client, now, instance)
            send_delta(client, 1, now, instance)
            wait_until(lambda: shown(gateway, instance) == [1])
        send_delta(client, 2, now - 1, "b")
        wait_until(lambda: lost(receiver, "keyframe_missing") == 1)
        receiver.wait_ready()


RIGHTS = ('"$JS.API.CONSUMER.INFO.PROM.*", "$JS.API.CONSUMER.MSG.NEXT.PROM.*", "$JS.ACK.PROM.>", '
          '"$JS.API.CONSUMER.DURABLE.CREATE.PROM.*"')
USERS = """authorization {{ users: [ {{user: "probe", password: "probe"}},
  {{user: "receiver", password: "p", permissions: {{publish: [{}], subscribe: ["_INBOX_recv.>"]}}}}]}}
"""
LOOKUP_RIGHTS = {
    "direct, keyframes only": ', "$JS.API.DIRECT.GET.PROM.prometheus.key.>"',
    "stored": ', "$JS.API.STREAM.MSG.GET.PROM"',
}


@pytest.mark.parametrize("case", LOOKUP_RIGHTS)
def test_either_right_to_look_up_suffices(world, gateway, case):
    nats = world.nats(config=USERS.format(RIGHTS + LOOKUP_RIGHTS[case]))
    with nats.connect("probe", "probe") as client:
        client.make_stream(STREAM)
        receiver = world.receiver(nats, gateway.url, stream={"urls": f"nats://receiver:p@127.0.0.1:{nats.port}"})
        receiver.wait_ready()
        now = frames.now_ms()
        send_key(client, now)
        send_delta(client, 1, now)
        wait_until(lambda: shown(gateway) == [1])
        receiver.wait_ready()


def test_without_the_right_to_look_up(world, gateway):
    nats = world.nats(config=USERS.format(RIGHTS))
    with nats.connect("probe", "probe") as client:
        client.make_stream(STREAM)
        receiver = world.receiver(nats, gateway.url, stream={"urls": f"nats://receiver:p@127.0.0.1:{nats.port}"})
        receiver.wait_ready()
        now = frames.now_ms()
        for number in range(20):
            send_key(client, now, f"t{number}")
            send_delta(client, 1, now, f"t{number}")
        wait_until(lambda: lost(receiver, "keyframe_denied") == 20)
        text = receiver.wait_not_ready("cannot be looked up")
        assert "DIRECT.GET.PROM" in text and "STREAM.MSG.GET.PROM" in text
        assert receiver.total("keyframes_reachable") == 0
        assert "grant publish to $JS.API.DIRECT.GET" in receiver.log()
        assert receiver.total("nats_permission_violations_total") <= 4, "it is not tried for each"
        wait_acked(client)
        # What is whole arrives all the same.
        frames.publish(client, "dc1", "app", "t0", exposition(2))
        wait_until(lambda: shown(gateway, "t0") == [2])
    nats.reload(USERS.format(RIGHTS + LOOKUP_RIGHTS["direct, keyframes only"]))
    nats.stop()
    nats.start()
    with nats.connect("probe", "probe") as client:
        receiver.wait_ready(40)
        send_delta(client, 3, now, "t0")
        wait_until(lambda: shown(gateway, "t0") == [3])
        assert receiver.total("keyframes_reachable") == 1


BOMB = zstd.compress(b"#" * 100_000_000)
GOOD = zstd.compress(exposition(1).encode(), KEY.encode())


def forged_size(frame, size=2**40):
    """The content size as eight bytes, where the frame had fewer."""
    descriptor = frame[4]
    single = descriptor >> 5 & 1
    width = (single, 2, 4, 8)[descriptor >> 6]
    header = bytes([descriptor & 0x3F | 0xC0])
    window = frame[5:6] if not single else b""
    return frame[:4] + header + window + size.to_bytes(8, "little") + frame[5 + len(window) + width:]


# What is stored as the delta, and the reason it is counted under; corrupt ones are delivered as up 0.
HOSTILE_DELTAS = {
    "empty": (b"", "corrupt"),
    "rubbish": (b"\x28\xb5\x2f\xfd rubbish", "corrupt"),
    "cut": (GOOD[:-5], "corrupt"),
    "a bit is wrong": (GOOD[:-8] + bytes([GOOD[-8] ^ 1]) + GOOD[-7:], "corrupt"),
    "of another keyframe": (zstd.compress(exposition(1).encode(), exposition(3, 39).encode()), "corrupt"),
    "without a checksum": (zstd.compress(exposition(1).encode(), KEY.encode(), checksum=False), "corrupt"),
    "without its size": (zstd.compress(exposition(1).encode(), KEY.encode(), size=False), "corrupt"),
    "twice": (GOOD + GOOD, "corrupt"),
    "with a tail": (GOOD + b"tail", "corrupt"),
    "bomb": (BOMB, "too_large"),
    "bomb of the keyframe": (zstd.compress(KEY.encode() * 20_000, KEY.encode()), "too_large"),
    "says to be huge": (forged_size(GOOD), "corrupt"),
    "says to be small": (forged_size(GOOD, 1), "corrupt"),
    "says to be a little larger": (forged_size(GOOD, len(exposition(1)) + 1), "corrupt"),
}


@pytest.mark.parametrize("case", HOSTILE_DELTAS)
def test_hostile_deltas(client, receiver, gateway, case):
    body, reason = HOSTILE_DELTAS[case]
    now = frames.now_ms()
    send_key(client, now)
    send_key(client, now, "honest")
    frames.publish(client, "dc1", "app", "a", body, **{"Content-Encoding": "zstd-delta", "Ps-Key": str(now)})
    send_delta(client, 5, now, "honest")
    wait_until(lambda: gateway.metrics().value("up", job="app", instance="a") == 0)
    wait_until(lambda: shown(gateway, "honest") == [5])
    assert lost(receiver, reason) == 1
    wait_acked(client)
    send_delta(client, 6, now)
    wait_until(lambda: shown(gateway) == [6], what="the next good one is delivered")
    assert receiver.metrics().value("process_resident_memory_bytes") < 400e6


# What is stored as the keyframe, its headers, and the reason that frames which refer to it are dropped for.
HOSTILE_KEYFRAMES = {
    "empty": (b"", {"Content-Encoding": "zstd"}, "keyframe_corrupt"),
    "cut": (zstd.compress(KEY.encode())[:-9], {"Content-Encoding": "zstd"}, "keyframe_corrupt"),
    "not gzip": (KEY.encode(), {"Content-Encoding": "gzip"}, "keyframe_corrupt"),
    "bomb": (BOMB, {"Content-Encoding": "zstd"}, "keyframe_too_large"),
    "itself a delta": (GOOD, {"Content-Encoding": "zstd-delta", "Ps-Key": "1"}, "keyframe_corrupt"),
    "unknown encoding": (KEY.encode(), {"Content-Encoding": "br"}, "keyframe_corrupt"),
    "of another time": (KEY.encode(), {"Ps-Time": "1700000000000"}, "keyframe_corrupt"),
    "malformed headers": (KEY.encode(), {"Ps-Time": "soon"}, "keyframe_corrupt"),
    "no headers": (KEY.encode(), None, "keyframe_corrupt"),
    "raw: like not found": (b"", b"NATS/1.0 404 Message Not Found\r\n\r\n", "keyframe_corrupt"),
    "raw: like no responders": (b"", b"NATS/1.0 503\r\n\r\n", "keyframe_corrupt"),
    "raw: another stream": (b"", b"NATS/1.0 408\r\nNats-Stream: x\r\nNats-Subject: y\r\n\r\n", "keyframe_corrupt"),
}


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("case", HOSTILE_KEYFRAMES)
def test_hostile_keyframes(world, nats, gateway, case, direct):
    body, headers, reason = HOSTILE_KEYFRAMES[case]
    with nats.connect() as client:
        client.make_stream(STREAM, allow_direct=direct)
        receiver = world.receiver(nats, gateway.url)
        receiver.wait_ready()
        now = frames.now_ms()
        where = frames.key_subject(frames.subject("dc1", "app", "a"), now)
        client.publish_stored(where, body, {"Ps-Time": str(now), **headers} if isinstance(headers, dict) else headers)
        for number in range(5):
            send_delta(client, number, now, at_ms=now + number)
        wait_until(lambda: lost(receiver, reason) == 5)
        wait_acked(client)
        assert shown(gateway) == []
        assert receiver.total("keyframe_lookups_total") == 1, "remembered"
        send_key(client, now + 10)
        send_delta(client, 6, now + 10)
        wait_until(lambda: shown(gateway) == [6])
        receiver.wait_ready()
        assert receiver.metrics().value("process_resident_memory_bytes") < 400e6


@pytest.mark.parametrize("key", [None, "", "soon", "-1", "9" * 30, "1.5"])
def test_malformed_references(client, receiver, gateway, key):
    extra = {"Content-Encoding": "zstd-delta"} if key is None else {"Content-Encoding": "zstd-delta", "Ps-Key": key}
    frames.publish(client, "dc1", "app", "a", GOOD, **extra)
    wait_until(lambda: lost(receiver, "malformed") == 1)
    wait_acked(client)
    assert receiver.total("keyframe_lookups_total") == 0


def large_exposition(value):
    """57 kB, with digits that hardly compress: as a node_exporter's."""
    rng = random.Random(SEED)
    return f"# TYPE app_requests counter\napp_requests {value}\n" + "".join(
        f'node_something_or_other_total{{device="device{n % 40}",mode="mode{n % 7}",n="{n}"}} {rng.random() * 1e9:.6f}\n'
        for n in range(700))


def test_cold_start_against_a_running_stream(world, nats):
    """All targets' newest frames refer to keyframes that a starting receiver has never seen."""
    count = int(10_000 / TIME_SCALE) if IS_PLAIN else 500
    stub = world.add(Gateway())
    with nats.connect() as client:
        client.make_stream(STREAM, storage="memory", duplicate_window=1_000_000_000)
        receiver = world.receiver(nats, stub.url, name="before")
        receiver.wait_ready()
        receiver.stop()  # its durable is there: a receiver that starts now looks back
        key, key_ms = large_exposition(0).encode(), frames.now_ms()
        encoded, delta = zstd.compress(key), zstd.compress(large_exposition(1).encode(), key)
        wheres = [frames.subject("dc1", "app", f"t{number}") for number in range(count)]
        flood(client, (raw_message(frames.key_subject(where, key_ms), encoded, Ps_Time=key_ms,
                                   Content_Encoding="zstd") for where in wheres))
        now = frames.now_ms()
        flood(client, (raw_message(where, delta, Ps_Time=now, Ps_Interval=15000, Content_Encoding="zstd-delta",
                                   Ps_Key=key_ms) for where in wheres))
        wait_until(lambda: client.stream_messages(STREAM) == 2 * count)
        begin = time.monotonic()
        receiver.start()
        wait_until(lambda: receiver.total("keyframe_lookups_total") == count, 60)
        print(f"{count} targets of {len(key)} bytes (keyframe {len(encoded)}, delta {len(delta)}): "
              f"whole {time.monotonic() - begin:.2f}s after the start; "
              f"{receiver.metrics().value('process_cpu_seconds_total'):.2f}s of CPU, "
              f"{resident(receiver):.0f} MB, {receiver.total('keyframe_memory_bytes') / 1e6:.0f} MB of keyframes")
        assert receiver.total("keyframe_lookups_total", outcome="found") == count
        assert receiver.total("discards_total", reason="keyframe_missing") == 0
        wait_until(lambda: any("app_requests 1\n" in body for body in stub.bodies()[:1]))


def resident(daemon):
    return daemon.metrics().value("process_resident_memory_bytes") / 1e6


def test_invented_keyframes(world, nats):
    """Large ones by the thousand, and references to none: their publisher's loss, and nobody else's."""
    count = int(3000 / TIME_SCALE) if IS_PLAIN else 300
    stub = world.add(Gateway())
    with nats.connect() as client:
        client.make_stream(STREAM, storage="memory", duplicate_window=1_000_000_000)
        receiver = world.receiver(nats, stub.url, keyframe_memory="8MB", max_publisher_bytes="16MB")
        receiver.wait_ready()
        now = frames.now_ms()
        send_key(client, now, "honest")
        send_delta(client, 1, now, "honest")
        wait_until(lambda: "app_requests 1\n" in "".join(stub.bodies("/metrics/job/app/instance/honest")))
        noise = random.Random(SEED).randbytes(60_000)
        delta = zstd.compress(noise, noise)
        wheres = [frames.subject("evil", "app", f"t{number}") for number in range(count)]
        flood(client, (raw_message(frames.key_subject(where, now), noise, Ps_Time=now) for where in wheres))
        for key_ms in (now, now + 1):
            flood(client, (raw_message(where, delta, Ps_Time=frames.now_ms(), Content_Encoding="zstd-delta",
                                       Ps_Key=key_ms) for where in wheres))
            send_delta(client, key_ms, now, "honest")
            wait_until(lambda: f"app_requests {key_ms}\n" in "".join(stub.bodies("/metrics/job/app/instance/honest")),
                       60)
        wait_until(lambda: receiver.total("received_total") >= 2 * count + 3, 60)
        wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"), 120)
        assert receiver.total("keyframes_evicted_total") > 0
        assert receiver.total("keyframe_memory_bytes") <= 8 << 20
        assert receiver.total("publisher_discards_total", publisher="evil", reason="keyframe_missing") > 0
        found = receiver.total("keyframe_lookups_total", outcome="found")
        send_delta(client, 2, now, "honest")
        wait_until(lambda: "app_requests 2\n" in "".join(stub.bodies("/metrics/job/app/instance/honest")[-2:]))
        assert receiver.total("keyframe_lookups_total", outcome="found") == found, "the honest one's was kept"
        print(f"{resident(receiver):.0f} MB")
        assert not IS_PLAIN or resident(receiver) < 150
        assert len(receiver.log().splitlines()) < 200
