# SPDX-License-Identifier: Apache-2.0
"""Federating a data centre's own Prometheus, and not federating ourselves."""

from conftest import STREAM
from harness.process import wait_until
from harness.servers import Prometheus
from harness.stubs import Target

OF_POLLER = {"job": "prometheus_streams", "instance": "dc1"}  # which scrapes itself, too


def sorted_items(labels):
    return sorted(labels.items())


def test_every_series_of_a_prometheus_arrives_under_its_own_job_and_instance(world, nats):
    exporter = world.add(Target({"/metrics": "# TYPE app_requests counter\napp_requests{code=\"200\"} 7\n"
                                             "app_up 1\n"}))
    node = world.node_exporter()
    prometheus = world.add(Prometheus(world.folder, lambda server: [
        {"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"],
                                                "labels": {"env": "prod"}}]},
        {"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{node.port}"]}]},
        {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}]).start())
    wait_until(lambda: len(prometheus.query("up == 1")) == 3)
    gateway = world.gateway()
    with nats.connect() as client:
        client.make_stream(STREAM)
    receiver = world.receiver(nats, gateway.url)
    world.poller(nats, {"federate": {
        "honor_labels": True, "targets": [{"name": "dc1", "url":
                                           f"{prometheus.url}/federate?match[]=%7Bjob!=%22%22%7D"}]}})
    instances = {"app": f"127.0.0.1:{exporter.port}", "node": f"127.0.0.1:{node.port}",
                 "prometheus": f"127.0.0.1:{prometheus.port}"}
    groups = [{"job": job, "instance": instance} for job, instance in instances.items()]
    groups += [{"job": "federate", "instance": "dc1"}, OF_POLLER]

    def key(name, labels):
        return name, frozenset((k, v) for k, v in labels.items() if v)

    def everything_is_there():
        wanted = {key(row.pop("__name__"), row) for row, _ in prometheus.query('{job!=""}')}
        shown = {key(name, labels) for name, labels, _ in gateway.metrics().samples}
        return wanted and not wanted - shown and wanted
    wanted = wait_until(everything_is_there, 40, interval=0.5)
    assert len(wanted) > 500
    wait_until(lambda: sorted(map(sorted_items, gateway.groups())) == sorted(map(sorted_items, groups)),
               what=f"the groups are {groups}, not {gateway.groups()}")
    shown = gateway.metrics()
    assert shown.find("app_requests", job="app", instance=instances["app"], env="prod", code="200") == [7]
    for job, instance in instances.items():
        assert shown.find("up", job=job, instance=instance)[0] == 1
    assert shown.find("up", job="federate", instance="dc1") == [1]
    assert not [name for name, labels, _ in shown.samples if "exported_job" in labels]
    assert receiver.total("left_out_total", reason="type_conflict") == 0


def test_a_gateway_as_target_does_not_grow(world, nats):
    """The receiver pushes into the gateway that the poller scrapes."""
    gateway = world.gateway()
    with nats.connect() as client:
        client.make_stream(STREAM)
    receiver = world.receiver(nats, gateway.url)
    poller = world.poller(nats, {"loop": {"targets": [{"name": "gateway", "url": f"{gateway.url}/metrics"}]}})
    wait_until(lambda: gateway.metrics().find("up", job="loop") == [0], 30)
    sizes = []

    def several_scrapes_later():
        sizes.append(len(gateway.metrics().find("up", job="loop")) and
                     len([1 for _, labels, _ in gateway.metrics().samples if labels.get("job") == "loop"]))
        return receiver.total("publisher_discards_total", reason="loop") >= 4
    wait_until(several_scrapes_later, 40, interval=0.3)
    assert [group for group in gateway.groups() if group != OF_POLLER] == [{"job": "loop", "instance": "gateway"}]
    # The first scrape found no mark and arrived; since then the group is the four series and two of the gateway's.
    assert sizes[-1] == 6, sizes
    assert poller.process.is_running()
    assert "loop" in receiver.log()
