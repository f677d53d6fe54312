# SPDX-License-Identifier: Apache-2.0
"""The main job: real targets, a real stream, a real Push Gateway, a central Prometheus."""

from conftest import STREAM
from harness import http
from harness.process import free_port, wait_until
from harness.servers import Prometheus


def jobs_for(exporter):
    return {"node": {"targets": [{"name": "web1", "url": f"{exporter.url}/metrics"}]}}


def test_a_real_scrape_reaches_a_central_prometheus(world, nats):
    exporter, gateway = world.node_exporter(), world.gateway()
    down = free_port()
    world.poller(nats, {**jobs_for(exporter),
                        "gone": {"static_configs": [{"targets": [f"127.0.0.1:{down}"], "labels": {"env": "prod"}}]}})
    world.receiver(nats, gateway.url, push={"publisher_label": True})
    central = world.add(Prometheus(world.folder, [
        {"job_name": "gateway", "honor_labels": True,
         "static_configs": [{"targets": [f"127.0.0.1:{gateway.port}"]}]}]).start())

    labels = wait_until(lambda: [row for row, value in central.query('node_load1{job="node"}')], 30)
    assert [(row["instance"], row["publisher"]) for row in labels] == [("web1", "dc1")]
    up = wait_until(lambda: len(rows := central.query('up{job=~"node|gone|prometheus_streams"}')) == 3 and rows, 30)
    assert {(row["job"], row["instance"], row.get("env")): value for row, value in up} == {
        ("node", "web1", None): 1,
        ("gone", f"127.0.0.1:{down}", "prod"): 0,
        ("prometheus_streams", "dc1", None): 1,
    }


def test_every_sample_of_a_node_exporter_arrives_with_its_value(world, nats):
    exporter, gateway = world.node_exporter(), world.gateway()
    poller = world.poller(nats, jobs_for(exporter), compression="passthrough")
    receiver = world.receiver(nats, gateway.url)
    wait_until(lambda: gateway.metrics().value("up", job="node"), 30)
    poller.stop()
    wait_until(lambda: receiver.total("waiting_scrapes") + receiver.total("in_flight") == 0)
    with nats.connect() as client:
        import gzip
        newest = [m for m in client.all_messages(STREAM) if ".node." in m.subject][-1]
        body = gzip.decompress(newest.body) if newest.headers.get("Content-Encoding") == "gzip" else newest.body
    sent = http.Samples(body.decode())
    arrived = gateway.metrics()
    identity = {"job": "node", "instance": "web1"}
    found = {(name, tuple(sorted(labels.items()))): value for name, labels, value in arrived.samples}
    wrong = [(name, labels) for name, labels, value in sent.samples
             if str(found.get((name, tuple(sorted({**labels, **identity}.items()))))) != str(value)]
    assert len(sent.samples) > 100
    assert wrong == []
    assert arrived.value("scrape_samples_scraped", **identity) == len(sent.samples)
    assert arrived.value("scrape_duration_seconds", **identity) > 0
    mark = arrived.value("prometheus_streams_scrape_timestamp_seconds", **identity)
    assert abs(mark - int(newest.headers["Ps-Time"]) / 1000) < 0.001


def test_the_poller_scrapes_itself_on_its_monitor_port(world, nats):
    gateway = world.gateway()
    world.poller(nats, {"node": {"targets": [{"url": f"http://127.0.0.1:{free_port()}/metrics"}]}})
    world.receiver(nats, gateway.url)
    found = wait_until(lambda: gateway.metrics().find(
        "prometheus_streams_poller_published_total", job="prometheus_streams", instance="dc1"), 30)
    assert found[0] >= 0


def test_the_stream_is_created_as_configured(world, nats):
    world.poller(nats, {"a": {"targets": [{"url": f"http://127.0.0.1:{free_port()}/metrics"}]}}).wait_ready()
    with nats.connect() as client:
        config = client.stream_info(STREAM)["config"]
    assert sorted(config["subjects"]) == ["prometheus", "prometheus.>"]
    assert (config["retention"], config["storage"], config["discard"]) == ("limits", "file", "old")
    assert config["max_age"] == 3600 * 10**9
    assert config["max_msgs_per_subject"] == -1
    assert config["allow_direct"] is True


def test_an_existing_stream_is_never_altered(world, nats):
    with nats.connect() as client:
        before = client.make_stream(STREAM, max_msgs=1234)["config"]
        poller = world.poller(nats, {"a": {"targets": [{"url": f"http://127.0.0.1:{free_port()}/metrics"}]}})
        poller.wait_ready()
        wait_until(lambda: client.stream_messages(STREAM))
        assert client.stream_info(STREAM)["config"] == before


def test_a_stream_that_does_not_take_our_subjects_is_named(world, nats):
    with nats.connect() as client:
        client.make_stream(STREAM, subjects=["other.>"])
    poller = world.poller(nats, {"a": {"targets": [{"url": f"http://127.0.0.1:{free_port()}/metrics"}]}})
    reason = poller.wait_not_ready("other.>")
    assert STREAM in reason and "prometheus." in reason


def test_without_create_a_missing_stream_is_waited_for(world, nats):
    poller = world.poller(nats, {"a": {"targets": [{"url": f"http://127.0.0.1:{free_port()}/metrics"}]}},
                          stream={"create": False})
    poller.wait_not_ready(STREAM)
    with nats.connect() as client:
        client.make_stream(STREAM)
        poller.wait_ready()
        wait_until(lambda: client.stream_messages(STREAM))


def test_a_contradicting_durable_is_named_with_the_remedy(world, nats):
    gateway = world.gateway()
    with nats.connect() as client:
        client.make_stream(STREAM)
        client.api(f"CONSUMER.DURABLE.CREATE.{STREAM}.recv_push_gateway", {
            "stream_name": STREAM, "config": {"durable_name": "recv_push_gateway", "ack_policy": "explicit",
                                              "filter_subject": "prometheus.scrape.dc9.>"}})
        receiver = world.receiver(nats, gateway.url)
        reason = receiver.wait_not_ready("recv_push_gateway")
        assert "prometheus.scrape.dc9.>" in reason and "prometheus.scrape.>" in reason
        assert f"nats consumer rm {STREAM} recv_push_gateway" in reason
        info = client.consumer_info(STREAM, "recv_push_gateway")
        assert info["config"]["filter_subject"] == "prometheus.scrape.dc9.>"


def test_filter_receives_only_the_publishers_named(world, nats):
    gateway = world.gateway()
    target = f"http://127.0.0.1:{free_port()}/metrics"
    for name in ("dc1", "dc2", "dc3"):
        world.poller(nats, {f"job-{name}": {"targets": [{"name": "x", "url": target}]}}, identity=name, name=name)
    world.receiver(nats, gateway.url, stream={"filter": ["dc1", "dc3"]})
    wait_until(lambda: {"job-dc1", "job-dc3"} <= {labels["job"] for labels in gateway.metrics().labels_of("up")}, 30)
    assert "job-dc2" not in {labels["job"] for labels in gateway.metrics().labels_of("up")}
    with nats.connect() as client:
        names = {c["name"] for c in client.api(f"CONSUMER.LIST.{STREAM}")["consumers"]}
    assert names == {"recv_push_gateway_dc1", "recv_push_gateway_dc3"}
