# SPDX-License-Identifier: Apache-2.0
"""The poller's half of deltas: whatever happens to the stream, what is stored decodes to exactly what the
target served, and refers to a keyframe that was stored before."""

import collections

import pytest

from conftest import STREAM
from harness.deltas import Undecodable, decode, encoding, key_subject, split
from harness.process import wait_until
from harness.stubs import Target, text_answer

SERIES = 400


class Changing(Target):
    """Serves another body each time, a tenth of its values changed; remembers all."""

    def __init__(self, gzipped=False):
        self.served = set()
        self.count = 0
        self.gzipped = gzipped
        super().__init__({"/metrics": self.answer})

    def answer(self, stub, request):
        self.count += 1
        body = "".join(f'app_value{{n="{n}",path="/some/path/{n * 7919}"}} {n + (self.count if n % 10 == 0 else 0)}\n'
                       for n in range(SERIES)).encode()
        self.served.add(body)
        text_answer(body, self.gzipped)(stub, request)


@pytest.fixture
def client(nats):
    with nats.connect() as connection:
        yield connection


@pytest.fixture
def target(world):
    return world.add(Changing())


def jobs_for(*targets):
    return {"app": {"targets": [{"name": f"a{i}", "url": f"{target.url}/metrics"} for i, target in enumerate(targets)]}}


def all_messages(client):
    """What the stream holds now; what was read before is not read again."""
    info = client.stream_info(STREAM)
    state, read = info["state"], getattr(client, "read_before", None)
    if state["messages"] == 0:
        return []
    if read is None or read[:2] != (info["created"], state["first_seq"]):
        read = (info["created"], state["first_seq"], [])
    for sequence in range(state["first_seq"] + len(read[2]), state["last_seq"] + 1):
        read[2].append(client.stream_message(STREAM, sequence))
    client.read_before = read
    return read[2]


def stored(client):
    """(scrapes in order, keyframes by subject) of job app."""
    return split([message for message in all_messages(client) if ".app." in message.subject])


def check_all(client, *targets):
    """Every stored body is one that was served; returns how often each encoding occurred."""
    scrapes, keyframes = stored(client)
    served = set().union(*(target.served for target in targets))
    for message in scrapes:
        if message.headers.get("Ps-Up") != "0":
            assert decode(message, keyframes) in served
    return collections.Counter(encoding(message) for message in scrapes)


def wait_scrapes(client, count, timeout=40):
    wait_until(lambda: client.stream_messages(STREAM) and len(stored(client)[0]) >= count, timeout,
               what=f"{count} scrapes are stored")


def test_frames_refer_to_one_keyframe(world, nats, client, target):
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
    wait_scrapes(client, 10)
    assert set(check_all(client, target)) == {"zstd-delta"}
    messages = [message for message in all_messages(client) if ".app." in message.subject]
    scrapes, keyframes = split(messages)
    (keyframe,) = keyframes.values()
    # Both of the same millisecond, the keyframe first; what is the same costs next to nothing.
    assert messages[0].subject == keyframe.subject
    assert scrapes[0].headers["Ps-Time"] == keyframe.headers["Ps-Time"]
    assert len(scrapes[0].body) < 64
    assert max(len(message.body) for message in scrapes[1:]) < len(keyframe.body) / 2
    assert poller.total("keyframes_total", reason="first") >= 1
    assert poller.total("frames_waited_total", outcome="refer") >= 1
    assert poller.total("frames_waited_total", outcome="whole") == 0
    assert poller.total("keyframe_targets") >= 1


def test_target_that_compresses(world, nats, client):
    target = world.add(Changing(gzipped=True))
    jobs = jobs_for(target)
    jobs["app"]["enable_compression"] = True
    world.poller(nats, jobs, scrape_interval="200ms")
    wait_scrapes(client, 5)
    assert set(check_all(client, target)) == {"zstd-delta"}
    (keyframe,) = stored(client)[1].values()
    assert encoding(keyframe) == "gzip"


def test_new_keyframe_after_the_interval(world, nats, client, target):
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms", keyframe_interval="2s")

    def referred():
        """A keyframe is there a moment before what refers to it."""
        return {key_subject(message) for message in stored(client)[0]} if client.stream_messages(STREAM) else ()
    wait_until(lambda: len(referred()) >= 3, 30, what="three keyframes are referred to")
    assert set(check_all(client, target)) == {"zstd-delta"}
    assert poller.total("keyframes_total", reason="interval") >= 2


def test_stream_keeps_less_than_the_interval(world, nats, client, target):
    """A keyframe is not to leave the stream before what refers to it."""
    client.make_stream(STREAM, max_age=4_000_000_000, duplicate_window=1_000_000_000)
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
    wait_until(lambda: poller.total("keyframes_total") >= 4, 30, what="keyframes are renewed")
    scrapes, keyframes = stored(client)
    oldest = min(int(message.headers["Ps-Time"]) for message in scrapes)
    for message in scrapes:
        if int(message.headers["Ps-Time"]) > oldest + 2500:
            assert decode(message, keyframes) in target.served


def test_outage_that_overflows_the_queue(world, nats, client, target):
    others = [world.add(Changing()) for _ in range(4)]
    poller = world.poller(nats, jobs_for(target, *others), scrape_interval="20ms", queue_bytes="1MB")
    wait_scrapes(client, 20)
    nats.stop()
    wait_until(lambda: poller.total("dropped_total", reason="queue_full") > 50, 60, what="the queue overflows")
    nats.start()
    with nats.connect() as after:
        before = after.stream_messages(STREAM)
        wait_until(lambda: after.stream_messages(STREAM) > before + 100, 30)
        poller.stop()
        assert check_all(after, target, *others)["zstd-delta"] > 20


def test_server_absent_at_start(world, target):
    from harness.servers import NatsServer
    nats = world.add(NatsServer(world.folder))
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
    wait_until(lambda: poller.total("queue_scrapes") >= 5, what="scrapes wait")
    nats.start()
    with nats.connect() as client:
        wait_scrapes(client, 15)
        assert set(check_all(client, target)) == {"zstd-delta"}
        assert len(stored(client)[1]) == 1


def wait_healed(client, target, timeout=50):
    """Until a keyframe is stored and scrapes refer to it again."""
    def healed():
        if not client.stream_messages(STREAM):
            return False
        scrapes, keyframes = stored(client)
        try:
            return bool(scrapes) and decode(scrapes[-1], keyframes) in target.served
        except Undecodable:
            return False
    wait_until(healed, timeout, what="the newest scrape decodes again")


def test_stream_purged(world, nats, client, target):
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
    wait_scrapes(client, 5)
    client.api(f"STREAM.PURGE.{STREAM}")
    wait_healed(client, target)
    assert poller.total("keyframes_total", reason="removed") >= 1


def test_stream_deleted_and_created_anew(world, nats, client, target):
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
    wait_scrapes(client, 5)
    client.delete_stream(STREAM)
    wait_healed(client, target)
    assert poller.total("keyframes_total", reason="stream_changed") >= 1


def test_stream_swapped_unseen(world, nats, client, target):
    """No publish fails, but the sequence begins anew."""
    poller = world.poller(nats, jobs_for(target), scrape_interval="500ms")
    wait_scrapes(client, 5)
    client.delete_stream(STREAM)
    client.make_stream(STREAM)
    wait_healed(client, target, 20)
    assert poller.total("keyframes_total", reason="stream_changed") >= 1


def test_keyframes_may_not_be_published(world):
    """A poller's rights from before there were keyframes: everything goes whole."""
    nats = world.nats(config="""
authorization { users: [
    {user: "admin", password: "p"},
    {user: "poller", password: "p", permissions: {
        publish: ["prometheus.scrape.dc1.>", "$JS.API.STREAM.INFO.PROM"], subscribe: ["_INBOX_poller_dc1.>"]}}]}
""")
    targets = [world.add(Changing()) for _ in range(5)]
    with nats.connect("admin", "p") as client:
        client.make_stream(STREAM)
        poller = world.poller(nats, jobs_for(*targets), scrape_interval="500ms",
                              stream={"urls": f"nats://poller:p@127.0.0.1:{nats.port}", "create": False})
        wait_scrapes(client, 40, 60)
        assert check_all(client, *targets)["zstd-delta"] == 0
        assert not stored(client)[1]
        assert poller.total("keyframe_failures_total", reason="denied") >= 1
        assert poller.total("dropped_total") == 0
        failed = poller.total("keyframe_failures_total")
        before = len(stored(client)[0])
        wait_scrapes(client, before + 20, 20)
        assert poller.total("keyframe_failures_total") == failed


def test_keyframe_memory(world, nats, client):
    """Targets beyond it are published whole; the others keep their keyframes."""
    targets = [world.add(Changing()) for _ in range(3)]
    body = "".join(f'noise{{n="{hash((n, "x"))}"}} {hash((n, "y"))}\n' for n in range(40000)).encode()
    large = [world.add(Target({"/metrics": body + str(i).encode()})) for i in range(3)]
    for target, text in zip(large, range(3)):
        target.served = {body + str(text).encode()}
    poller = world.poller(nats, jobs_for(*targets, *large), scrape_interval="500ms", keyframe_memory="1MB")
    wait_scrapes(client, 30, 60)
    counts = check_all(client, *targets, *large)
    assert counts["zstd-delta"] > 0 and counts["zstd"] > 0
    assert poller.total("keyframe_failures_total", reason="no_memory") >= 1
    assert poller.total("keyframe_memory_bytes") <= 1 << 20


def test_shutdown_lets_those_that_wait_go(world, nats, client, target):
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
    wait_scrapes(client, 3)
    poller.stop()
    assert len(stored(client)[0]) == target.count
    check_all(client, target)
