# SPDX-License-Identifier: Apache-2.0
"""Two data centres, one hub: leaf nodes with JetStream domains of their own, a stream that sources."""

from conftest import STREAM
from harness import frames
from harness.nats import NatsError
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
        config=f'leafnodes {{ remotes: [ {{ url: "nats://127.0.0.1:{leaf_port}", '
               f'deny_imports: ["prometheus.>"], deny_exports: ["prometheus.>"] }} ] }}\n').start())


def make_global_stream(client, names):
    """The hub's stream; only once the leaf links carry the data centres' JetStream."""
    def is_reachable(name):
        try:
            return client.api(f"STREAM.INFO.{STREAM}", domain=name)
        except NatsError:
            return None
    for name in names:
        wait_until(lambda: is_reachable(name), 30, what=f"JetStream of {name} is reached through the hub")
    client.api("STREAM.CREATE.GLOBAL", {
        "name": "GLOBAL", "storage": "file", "allow_direct": True, "sources": [
            {"name": STREAM, "external": {"api": f"$JS.{name}.API"}} for name in names]})


def test_the_same_job_instance_and_time_from_two_publishers_all_arrive(world):
    hub, leaf_port = make_hub(world)
    leaves = {name: make_leaf(world, name, leaf_port) for name in ("dc1", "dc2")}
    count = 50
    with hub.connect() as client:
        at_ms = frames.now_ms()
        for name, leaf in leaves.items():
            with leaf.connect() as local:
                local.make_stream(STREAM)
                for number in range(count):
                    frames.publish(local, name, "app", "a", BODY.format(number), at_ms=at_ms + number)
        for leaf in leaves.values():
            with leaf.connect() as local:
                assert local.stream_messages(STREAM) == count, "those of the other data centre are not taken"
        make_global_stream(client, leaves)
        wait_until(lambda: client.stream_messages("GLOBAL") == count * len(leaves), 60,
                   what="the hub has them all")
        gateway = world.gateway()
        receiver = world.receiver(hub, gateway.url, stream={"stream": "GLOBAL"}, push={"publisher_label": True})
        wait_until(lambda: receiver.total("received_total") == count * len(leaves), 30)
        for name in leaves:
            wait_until(lambda: gateway.metrics().find("app_requests", publisher=name) == [count - 1])


def test_two_pollers_through_a_hub(world):
    hub, leaf_port = make_hub(world)
    leaves = {name: make_leaf(world, name, leaf_port) for name in ("dc1", "dc2")}
    exporter = world.node_exporter()
    for name, leaf in leaves.items():
        world.poller(leaf, {"node": {"targets": [{"name": "web1", "url": f"{exporter.url}/metrics"}]}},
                     identity=name, name=name).wait_ready()
    with hub.connect() as client:
        make_global_stream(client, leaves)
    gateway = world.gateway()
    world.receiver(hub, gateway.url, stream={"stream": "GLOBAL"}, push={"publisher_label": True})
    for name in leaves:
        wait_until(lambda: gateway.metrics().find("node_load1", publisher=name, instance="web1"), 60)


def test_keyframes_of_two_publishers_are_looked_up_in_the_hub(world):
    """The same job, instance and times on both sides: each scrape meets its own publisher's keyframe."""
    hub, leaf_port = make_hub(world)
    leaves = {name: make_leaf(world, name, leaf_port) for name in ("dc1", "dc2")}
    with hub.connect() as client:
        at_ms = frames.now_ms()
        for number, (name, leaf) in enumerate(leaves.items()):
            with leaf.connect() as local:
                local.make_stream(STREAM)
                key = BODY.format(number * 1000) + f"# {name}\n" * 50
                frames.publish_keyframe(local, name, "app", "a", key, at_ms)
                frames.publish_delta(local, name, "app", "a", key.replace("0\n", "7\n", 1), key, at_ms, at_ms=at_ms)
        make_global_stream(client, leaves)
        wait_until(lambda: client.stream_messages("GLOBAL") == 4, 60, what="the hub has them all")
        gateway = world.gateway()
        receiver = world.receiver(hub, gateway.url, stream={"stream": "GLOBAL"}, push={"publisher_label": True})
        for name, value in (("dc1", 7), ("dc2", 1007)):
            wait_until(lambda: gateway.metrics().find("app_requests", publisher=name) == [value], 30)
        assert receiver.total("keyframe_lookups_total", outcome="found") == 2
