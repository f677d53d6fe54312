# SPDX-License-Identifier: Apache-2.0
"""Two data centres, one hub: leaf nodes with JetStream domains of their own, a stream that sources."""

from conftest import STREAM
from harness import frames
from harness.process import free_port, wait_until
from harness.servers import NatsServer

BODY = "# TYPE app_requests counter\napp_requests {}\n"


def make_hub(world):
    leaf_port = free_port()
    hub = world.nats(name="hub", jetstream=f'jetstream {{ store_dir: "{world.folder}/hub-store", domain: hub }}\n',
                     config=f'leafnodes {{ listen: "127.0.0.1:{leaf_port}" }}\n')
    return hub, leaf_port


def make_leaf(world, name, leaf_port):
    return world.add(NatsServer(
        world.folder, name=name,
        jetstream=f'jetstream {{ store_dir: "{world.folder}/{name}-store", domain: {name} }}\n',
        config=f'leafnodes {{ remotes: [ {{ url: "nats://127.0.0.1:{leaf_port}" }} ] }}\n').start())


def test_the_same_job_instance_and_time_from_two_publishers_all_arrive(world):
    hub, leaf_port = make_hub(world)
    leaves = {name: make_leaf(world, name, leaf_port) for name in ("dc1", "dc2")}
    clients = {name: world.add(Closing(leaf.connect())).part for name, leaf in leaves.items()}
    for client in clients.values():
        client.make_stream(STREAM)
    with hub.connect() as client:
        def make():
            try:
                return client.api("STREAM.CREATE.GLOBAL", {
                    "name": "GLOBAL", "storage": "file", "allow_direct": True, "sources": [
                        {"name": STREAM, "external": {"api": f"$JS.{name}.API"}} for name in leaves]})
            except Exception:  # the leaf links are still coming up
                return None
        wait_until(make, 30)
        at_ms = frames.now_ms()
        count = 50
        for number in range(count):
            for name, leaf in clients.items():
                frames.publish(leaf, name, "app", "a", BODY.format(number), at_ms=at_ms + number)
        wait_until(lambda: client.stream_messages("GLOBAL") == count * len(leaves), 60)
        gateway = world.gateway()
        receiver = world.receiver(hub, gateway.url, stream={"stream": "GLOBAL"}, push={"publisher_label": True})
        wait_until(lambda: receiver.total("received_total") == count * len(leaves), 30)
        for name in leaves:
            wait_until(lambda: gateway.metrics().find("app_requests", publisher=name) == [count - 1])


class Closing:
    """Lets a World close a client."""

    def __init__(self, part):
        self.part = part

    def stop(self):
        self.part.close()


def test_two_pollers_through_a_hub(world):
    hub, leaf_port = make_hub(world)
    leaves = {name: make_leaf(world, name, leaf_port) for name in ("dc1", "dc2")}
    exporter = world.node_exporter()
    for name, leaf in leaves.items():
        world.poller(leaf, {"node": {"targets": [{"name": "web1", "url": f"{exporter.url}/metrics"}]}},
                     identity=name, name=name)
    with hub.connect() as client:
        def make():
            try:
                return client.api("STREAM.CREATE.GLOBAL", {
                    "name": "GLOBAL", "storage": "file", "sources": [
                        {"name": STREAM, "external": {"api": f"$JS.{name}.API"}} for name in leaves]})
            except Exception:
                return None
        wait_until(make, 30)
        gateway = world.gateway()
        world.receiver(hub, gateway.url, stream={"stream": "GLOBAL"}, push={"publisher_label": True})
        for name in leaves:
            wait_until(lambda: gateway.metrics().find("node_load1", publisher=name, instance="web1"), 60)
