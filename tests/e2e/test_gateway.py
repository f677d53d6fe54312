# SPDX-License-Identifier: Apache-2.0
"""The Push Gateway as it is in the field: down, slow, refusing, restarted. Nothing fresh is lost and
the consumer never stops."""

from conftest import STREAM
from harness import frames
from harness.process import free_port, wait_until
from harness.servers import PushGateway
from harness.stubs import Gateway

BODY = "# TYPE app_requests counter\napp_requests {}\n"


def send(client, value, instance="a", **keys):
    return frames.publish(client, "dc1", "app", instance, BODY.format(value), **keys)


def acked(client, durable="recv_push_gateway"):
    return client.is_acked(STREAM, durable)


def test_gateway_down_loses_nothing_fresh(world, client, nats):
    gateway = world.add(PushGateway(world.folder))
    receiver = world.receiver(nats, gateway.url)
    for number in range(5):
        send(client, number, instance=f"i{number}")
    receiver.wait_not_ready("refused", 30)
    send(client, 100, instance="i0")
    wait_until(lambda: receiver.total("waiting_scrapes") + receiver.total("in_flight") == 5)
    gateway.start()
    wait_until(lambda: {value for name, _, value in gateway.metrics().samples if name == "app_requests"}
               == {100, 1, 2, 3, 4}, 30)
    wait_until(lambda: acked(client))
    receiver.wait_ready()


def test_gateway_restarted_empty_is_filled_by_the_next_scrapes(world, client, nats):
    gateway = world.gateway()
    world.receiver(nats, gateway.url)
    send(client, 1)
    wait_until(lambda: gateway.metrics().find("app_requests"))
    gateway.stop()
    gateway.start()
    assert gateway.metrics().find("app_requests") == []
    send(client, 2)
    wait_until(lambda: gateway.metrics().find("app_requests") == [2], 30)


def test_gateway_answering_500_is_retried(world, client, nats):
    state = {"status": 500}
    stub = world.add(Gateway(lambda *_: state["status"]))
    receiver = world.receiver(nats, stub.url)
    send(client, 1)
    receiver.wait_not_ready("500")
    assert not acked(client)
    state["status"] = 200
    wait_until(lambda: acked(client), 30)
    assert "app_requests 1" in stub.bodies()[-1]
    assert receiver.total("publish_errors_total") >= 1
    assert receiver.total("delivered_total") == 1


def test_gateway_answering_400_gets_a_minimal_group_instead(world, client, nats):
    stub = world.add(Gateway(lambda _method, _path, body: 400 if "app_requests" in body else 200))
    receiver = world.receiver(nats, stub.url)
    send(client, 1)
    wait_until(lambda: acked(client), 30)
    refused, minimal = stub.bodies("/metrics/job/app/instance/a")
    assert "app_requests 1" in refused
    assert "app_requests" not in minimal and "up 0" in minimal
    assert receiver.total("discards_total", reason="refused") == 1
    assert "the stub answers 400" in receiver.log()
    assert receiver.ready()[0]


def test_a_slow_gateway_gets_the_newest(world, client, nats):
    stub = world.add(Gateway(pushes_per_second=2))
    receiver = world.receiver(nats, stub.url, push={"concurrency": 1})
    wait_until(lambda: receiver.ready()[0])
    begin = frames.now_ms() - 30  # the stream takes two of one millisecond for duplicates
    for number in range(30):
        send(client, number, at_ms=begin + number)
    wait_until(lambda: stub.bodies() and "app_requests 29" in stub.bodies()[-1], 30)
    assert len(stub.bodies()) <= 5
    wait_until(lambda: acked(client))
    assert receiver.total("discards_total", reason="superseded") >= 25


def test_one_request_per_group_in_flight(world, client, nats):
    stub = world.add(Gateway())
    overlapping = []
    running = set()

    def status(_method, path, _body):
        if path in running:
            overlapping.append(path)
        running.add(path)
        stub.released.wait(0.05)
        running.discard(path)
        return 200
    stub.status = status
    receiver = world.receiver(nats, stub.url, push={"concurrency": 8})
    receiver.wait_ready()
    for number in range(60):
        send(client, number, instance=f"i{number % 3}")
    wait_until(lambda: acked(client), 30)
    assert overlapping == []


def test_5000_targets_and_a_gateway_that_takes_20_pushes_a_second(world, client, nats):
    """Every delivered scrape is the newest that its target had when its push began."""
    targets = 5000
    stub = world.add(Gateway(pushes_per_second=20))
    receiver = world.receiver(nats, stub.url, max_age="10m", push={"concurrency": 2})
    receiver.wait_ready()
    stored = {}  # target -> [(time at which the PubAck was there, value)]

    def send_round(value):
        import time
        at_ms = frames.now_ms()
        for number in range(targets):
            where = frames.subject("dc1", "app", f"i{number}")
            client.publish(where, BODY.format(value).encode(), frames.headers(where, at_ms + value))
        client.flush()
        wait_until(lambda: client.stream_messages(STREAM) == targets * (value + 1), 60)
        for number in range(targets):
            stored.setdefault(f"i{number}", []).append((time.time(), value))
    for value in range(3):
        send_round(value)
        wait_until(lambda: receiver.total("received_total") == targets * (value + 1), 60)
        # Pushes that began before the receiver had the round are judged by the rounds before.
        import time
        settled = time.time()
        for entries in stored.values():
            entries[-1] = (settled, value)
    wait_until(lambda: len(stub.pushes) >= 150, 60)
    wrong = []
    for _, path, body, begin, _ in list(stub.pushes):
        instance = path.rsplit("/", 1)[1]
        pushed = int(float(body.split("app_requests ")[-1].split("\n")[0]))
        # A push that is in the gateway's own queue began up to two turns earlier than it says.
        newest = max((value for at, value in stored[instance] if at < begin - 1), default=0)
        if pushed < newest:
            wrong.append((path, pushed, newest))
    assert wrong == []
    assert receiver.total("waiting_scrapes") <= targets
    info = client.consumer_info(STREAM, "recv_push_gateway")
    assert info["num_pending"] == 0, "a slow gateway never stops the consumer"


def test_groups_of_silent_targets_are_deleted(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, max_age=2)
    send(client, 1, **{"Ps-Interval": "1000"})
    send(client, 1, instance="b", **{"Ps-Interval": "1000"})
    wait_until(lambda: len(gateway.groups()) == 2)
    wait_until(lambda: send(client, 2, instance="b", **{"Ps-Interval": "1000"})
               and {"job": "app", "instance": "a"} not in gateway.groups(), 30, interval=0.5)
    assert {"job": "app", "instance": "b"} in gateway.groups()
    assert receiver.total("groups_deleted_total", reason="silent") == 1
    send(client, 3)
    wait_until(lambda: gateway.metrics().find("app_requests", instance="a") == [3])


def test_delete_stale_off_leaves_groups(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, max_age=1, push={"delete_stale": False})
    send(client, 1, **{"Ps-Interval": "500"})
    wait_until(lambda: gateway.groups())
    wait_until(lambda: receiver.total("targets") == 0, 30)
    assert gateway.groups() == [{"job": "app", "instance": "a"}]


def test_two_publishers_of_one_path_are_told_apart_or_refused(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url)
    send(client, 1)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    frames.publish(client, "dc2", "app", "a", BODY.format(2))
    wait_until(lambda: receiver.total("discards_total", reason="refused") == 1)
    assert gateway.metrics().find("app_requests") == [1]
    assert "publisher_label" in receiver.log()
    assert receiver.total("publisher_discards_total", publisher="dc2") == 1


def test_publisher_label_tells_publishers_apart(world, client, nats):
    gateway = world.gateway()
    world.receiver(nats, gateway.url, push={"publisher_label": True})
    send(client, 1)
    frames.publish(client, "dc2", "app", "a", BODY.format(2))
    wait_until(lambda: len(gateway.groups()) == 2)
    assert gateway.metrics().find("app_requests", publisher="dc1") == [1]
    assert gateway.metrics().find("app_requests", publisher="dc2") == [2]


def test_our_own_mark_in_a_body_is_a_loop(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url)
    frames.publish(client, "dc1", "app", "a", "prometheus_streams_scrape_timestamp_seconds 1\napp_requests 1\n")
    wait_until(lambda: gateway.metrics().find("up", job="app") == [0])
    assert gateway.metrics().find("app_requests") == []
    assert "loop" in receiver.log()


def test_several_gateways_do_not_hold_each_other_back(world, client, nats):
    gateway = world.gateway()
    dead = f"http://127.0.0.1:{free_port()}"
    receiver = world.receiver(nats, gateway.url, start=False)
    receiver.config["push_gateway"] = [{"name": "alive", "url": gateway.url}, {"name": "dead", "url": dead}]
    receiver.start()
    send(client, 1)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    wait_until(lambda: acked(client, "recv_alive"))
    wait_until(lambda: client.consumer_info(STREAM, "recv_dead")["num_ack_pending"] == 1)
    receiver.wait_not_ready("dead" if "dead" in receiver.ready()[1] else "refused")
