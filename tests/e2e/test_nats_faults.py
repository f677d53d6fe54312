# SPDX-License-Identifier: Apache-2.0
"""What happens to NATS, and how both daemons ride it out: they wait, say so once, are not ready with
the reason meanwhile, and carry on by themselves."""

import pytest

from conftest import STREAM
from harness.process import wait_until
from harness.servers import NatsServer
from harness.stubs import Target, text_answer

BODY = "# TYPE app_requests counter\napp_requests 1\n"


@pytest.fixture
def target(world):
    return world.add(Target({"/metrics": BODY}))


def jobs_for(target):
    return {"app": {"targets": [{"name": "a", "url": f"{target.url}/metrics"}]}}


def pushes(gateway):
    return gateway.metrics().value("push_time_seconds", job="app", instance="a") or 0


def wait_flowing(gateway, timeout=40):
    """Two further pushes: the chain is alive."""
    for _ in range(2):
        before = pushes(gateway)
        wait_until(lambda: pushes(gateway) > before, timeout, what="scrapes flow to the gateway")


def said(daemon, text):
    return sum(text in line for line in daemon.log().splitlines())


def test_server_absent_at_start(world, target):
    nats = world.add(NatsServer(world.folder))
    gateway = world.gateway()
    poller, receiver = world.poller(nats, jobs_for(target)), world.receiver(nats, gateway.url)
    for daemon in (poller, receiver):
        assert "127.0.0.1" in daemon.wait_not_ready("refused")
    wait_until(lambda: poller.total("queue_scrapes") >= 3, what="scrapes wait in the queue")
    nats.start()
    for daemon in (poller, receiver):
        daemon.wait_ready(30)
        assert said(daemon, "connection refused") == 1
    wait_flowing(gateway)
    wait_until(lambda: poller.total("queue_scrapes") == 0)


def test_server_restarted(world, nats, target):
    gateway = world.gateway()
    poller, receiver = world.poller(nats, jobs_for(target)), world.receiver(nats, gateway.url)
    wait_flowing(gateway)
    nats.stop()
    for daemon in (poller, receiver):
        daemon.wait_not_ready("")
    with_queue = wait_until(lambda: poller.total("queue_scrapes") + poller.total("unacked"))
    assert with_queue > 0
    nats.start()
    for daemon in (poller, receiver):
        daemon.wait_ready(30)
    wait_flowing(gateway)
    assert poller.total("dropped_total") == 0


def test_server_stopped_and_continued(world, nats, target):
    gateway = world.gateway()
    poller, receiver = world.poller(nats, jobs_for(target)), world.receiver(nats, gateway.url)
    wait_flowing(gateway)
    nats.freeze()
    try:
        # A silent cut is noticed by unanswered pings.
        for daemon in (poller, receiver):
            daemon.wait_not_ready("", 60)
    finally:
        nats.thaw()
    for daemon in (poller, receiver):
        daemon.wait_ready(60)
    wait_flowing(gateway)
    assert poller.total("dropped_total") == 0


def test_stream_deleted_and_recreated(world, nats, target):
    gateway = world.gateway()
    poller = world.poller(nats, jobs_for(target), stream={"create": False}, start=False)
    with nats.connect() as client:
        client.make_stream(STREAM)
        poller.start()
        receiver = world.receiver(nats, gateway.url)
        wait_flowing(gateway)
        client.delete_stream(STREAM)
        for daemon in (poller, receiver):
            daemon.wait_not_ready(STREAM, 40)
        client.make_stream(STREAM)
        for daemon in (poller, receiver):
            daemon.wait_ready(40)
        wait_flowing(gateway)


def test_stream_full(world, nats, target):
    gateway = world.gateway()
    with nats.connect() as client:
        client.make_stream(STREAM, max_msgs=3, discard="new")
        poller = world.poller(nats, jobs_for(target))
        poller.wait_not_ready("maximum messages exceeded", 30)
        wait_until(lambda: poller.total("queue_scrapes") >= 2)
        assert client.stream_messages(STREAM) == 3
        config = client.stream_info(STREAM)["config"]
        client.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_msgs": -1})
        poller.wait_ready(40)
        wait_until(lambda: client.stream_messages(STREAM) > 4, 40)
    assert poller.total("dropped_total") == 0
    world.receiver(nats, gateway.url)
    wait_flowing(gateway)


USERS = 'authorization {{ users: [ {{user: "probe", password: "probe"}}, {{user: "{}", password: "secret-word"}} ] }}\n'


def test_authorization_revoked_and_restored(world, target):
    nats = world.nats(config=USERS.format("agent"))
    gateway = world.gateway()
    url = f"nats://agent:secret-word@127.0.0.1:{nats.port}"
    poller = world.poller(nats, jobs_for(target), stream={"urls": url})
    receiver = world.receiver(nats, gateway.url, stream={"urls": url})
    wait_flowing(gateway)
    nats.reload(USERS.format("somebody-else"))
    for daemon in (poller, receiver):
        assert "secret-word" not in daemon.wait_not_ready("uthorization", 40)
    nats.reload(USERS.format("agent"))
    for daemon in (poller, receiver):
        daemon.wait_ready(40)
    wait_flowing(gateway)
    for daemon in (poller, receiver):
        assert "secret-word" not in daemon.log()


LIMITED = """
authorization {
  users: [
    {user: "probe", password: "probe"},
    {user: "poller", password: "p", permissions: {
       publish: [%s], subscribe: ["_INBOX_poller_dc1.>"]}},
    {user: "receiver", password: "p", permissions: {
       publish: [%s], subscribe: ["_INBOX_recv.>"]}}
  ]
}
"""
POLLER_RIGHTS = '"prometheus.*.dc1.>"'
RECEIVER_RIGHTS = '"$JS.API.CONSUMER.INFO.PROM.*", "$JS.API.CONSUMER.MSG.NEXT.PROM.*", "$JS.ACK.PROM.>", ' \
    '"$JS.API.DIRECT.GET.PROM.prometheus.key.>"'
CREATE_RIGHT = ', "$JS.API.CONSUMER.DURABLE.CREATE.PROM.*"'


def test_a_permission_missing(world, target):
    nats = world.nats(config=LIMITED % ('"nothing"', RECEIVER_RIGHTS))
    gateway = world.gateway()
    with nats.connect("probe", "probe") as client:
        client.make_stream(STREAM)
    poller = world.poller(nats, jobs_for(target),
                          stream={"urls": f"nats://poller:p@127.0.0.1:{nats.port}", "create": False})
    receiver = world.receiver(nats, gateway.url, stream={"urls": f"nats://receiver:p@127.0.0.1:{nats.port}"})
    assert ".dc1." in poller.wait_not_ready("permission to publish to prometheus.", 30)
    assert "CONSUMER.DURABLE.CREATE" in receiver.wait_not_ready("permission", 30)
    nats.reload(LIMITED % (POLLER_RIGHTS, RECEIVER_RIGHTS + CREATE_RIGHT))
    for daemon in (poller, receiver):
        daemon.wait_ready(60)
    wait_flowing(gateway)


def test_a_permission_missing_for_one_job(world, target):
    nats = world.nats(config=LIMITED % ('"prometheus.scrape.dc1.app.>", "prometheus.scrape.dc1.prometheus_streams.>"',
                                        RECEIVER_RIGHTS))
    with nats.connect("probe", "probe") as client:
        client.make_stream(STREAM)
        poller = world.poller(nats, {**jobs_for(target), "other": jobs_for(target)["app"]},
                              stream={"urls": f"nats://poller:p@127.0.0.1:{nats.port}", "create": False})
        wait_until(lambda: poller.total("dropped_total", reason="denied") >= 3, 60)
        before = client.stream_messages(STREAM)
        wait_until(lambda: client.stream_messages(STREAM) >= before + 10, 60)
    assert "permission to publish to prometheus.scrape.dc1.other.a.0 is missing" in poller.log()
    assert poller.total("dropped_total") == poller.total("dropped_total", reason="denied")


def test_the_least_rights_suffice_once_the_durable_exists(world, target):
    nats = world.nats(config=LIMITED % (POLLER_RIGHTS, RECEIVER_RIGHTS))
    gateway = world.gateway()
    with nats.connect("probe", "probe") as client:
        client.make_stream(STREAM)
        client.api(f"CONSUMER.DURABLE.CREATE.{STREAM}.recv_push_gateway", {
            "stream_name": STREAM, "config": {
                "durable_name": "recv_push_gateway", "ack_policy": "explicit", "max_ack_pending": 1000000,
                "filter_subject": "prometheus.scrape.>"}})
    poller = world.poller(nats, jobs_for(target), stream={"urls": f"nats://poller:p@127.0.0.1:{nats.port}"})
    receiver = world.receiver(nats, gateway.url, stream={"urls": f"nats://receiver:p@127.0.0.1:{nats.port}"})
    for daemon in (poller, receiver):
        daemon.wait_ready(30)
    wait_flowing(gateway)


def test_the_queue_is_bounded_and_drops_the_oldest(world):
    nats = world.add(NatsServer(world.folder))
    big = "".join(f'app_thing{{n="{n}"}} {n}\n' for n in range(20_000))
    target = world.add(Target({"/metrics": text_answer(big, gzipped=False)}))
    poller = world.poller(nats, jobs_for(target), queue_bytes="1MB")
    wait_until(lambda: len(target.requests) >= 6 and poller.total("dropped_total", reason="queue_full") >= 3, 40)
    assert poller.total("queue_bytes") <= 1 << 20
    nats.start()
    poller.wait_ready(30)
    with nats.connect() as client:
        wait_until(lambda: client.stream_messages(STREAM))
        times = [int(m.headers["Ps-Time"]) for m in client.all_messages(STREAM) if ".scrape.dc1.app." in m.subject]
    assert times == sorted(times)
    assert len(target.requests) >= len(times) + 2
