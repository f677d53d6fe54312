# SPDX-License-Identifier: Apache-2.0
"""Remote write: into Prometheus, into VictoriaMetrics, and into a stub that decodes by the published messages."""

import threading
import time

import pytest

from conftest import STREAM
from harness import frames
from harness.process import free_port, wait_until
from harness.remote_write import V2, Endpoint
from harness.servers import VictoriaStore, WriteReceiver
from harness.stubs import Target, status_answer

SERVERS = [WriteReceiver, VictoriaStore]
FAST = {"batch_send_deadline": "100ms", "min_backoff": "20ms", "max_backoff": "200ms"}
DOWN = {"Ps-Up": "0", "Ps-Error": "refused"}
OF_TARGET = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
             "scrape_series_added"}


def write_to(endpoint, queue=None, **more):
    """A remote_write section that sends without delay."""
    path = getattr(endpoint, "write_path", "/write")
    return {"url": f"{endpoint.url}{path}", "queue_config": {**FAST, **(queue or {})}, **more}


def publish(client, instance, body, at_ms=None, publisher="dc1", **extra):
    return frames.publish(client, publisher, "app", instance, body, at_ms, **extra)


def is_acked(client, sink="remote_write"):
    return client.is_acked(STREAM, f"recv_{sink}")


@pytest.fixture
def endpoint(world):
    return world.add(Endpoint())


@pytest.fixture(params=SERVERS, ids=lambda server: server.name)
def server(world, request):
    return world.add(request.param(world.folder).start())


def test_values_and_timestamps(world, nats, client, server):
    receiver = world.receiver(nats, remote_write=write_to(server))
    begin = frames.now_ms() - 60_000
    for i in range(30):
        publish(client, "a", f'x{{l="v"}} {i}\nown 1 {begin + 1000 * i - 500}\n', begin + 1000 * i)
    wait_until(lambda: is_acked(client))
    labels = {"job": "app", "instance": "a", "publisher": "dc1"}
    times = [begin + 1000 * i for i in range(30)]

    def stored(name, **more):
        return server.stored(name).get(frozenset({"__name__": name, **labels, **more}.items()))
    wait_until(lambda: stored("x", l="v") == [(at, i) for i, at in enumerate(times)],
               what=f"x is stored, not {server.stored('x')}")
    assert stored("own") == [(at - 500, 1) for at in times]
    assert stored("up") == [(at, 1) for at in times]
    assert stored("scrape_duration_seconds") == [(at, 0.1) for at in times]
    assert stored("scrape_samples_scraped") == [(at, 2) for at in times]
    assert stored("scrape_samples_post_metric_relabeling") == [(at, 2) for at in times]
    assert stored("scrape_series_added") == [(at, 2 if i == 0 else 0) for i, at in enumerate(times)]
    assert receiver.total("remote_write_samples_total") == 30 * 7
    assert receiver.total("remote_write_highest_timestamp_seconds") == times[-1] / 1000
    assert receiver.total("delivered_total") == 30


def test_series_of_a_target_that_is_down_are_gone_at_once(world, nats, client, server):
    world.receiver(nats, remote_write=write_to(server))
    target = world.add(Target({"/metrics": "x 1\ny 2\n"}))
    world.poller(nats, {"app": {"targets": [{"name": "a", "url": f"{target.url}/metrics"}]}})
    wait_until(lambda: server.query("x") and server.query("y"), what="x and y are there")
    target.answers["/metrics"] = "x 1\n"
    wait_until(lambda: not server.query("y"), 10, what="a series that vanished is gone")
    assert server.query("x")
    target.answers["/metrics"] = status_answer(500)
    wait_until(lambda: not server.query("x"), 10, what="the series of the target are gone")
    assert [value for labels, value in server.query('up{instance="a"}')] == [0]
    target.answers["/metrics"] = "x 3\n"
    wait_until(lambda: [value for _, value in server.query("x")] == [3], what="it is back")


def test_a_silent_target_is_gone_and_comes_back(world, nats, client, server):
    receiver = world.receiver(nats, remote_write=write_to(server))
    receiver.wait_ready()
    publish(client, "a", "x 1\n", **{"Ps-Interval": "500"})
    publish(client, "b", "x 2\n", **{"Ps-Interval": "3600000"})
    wait_until(lambda: len(server.query("x")) == 2)
    wait_until(lambda: len(server.query("x")) == 1 and len(server.query("up")) == 1, 30,
               what=f"a is gone; {server.query('x')}")
    assert receiver.total("remote_write_stale_markers_total") == 6
    wait_until(lambda: receiver.total("targets") == 1)
    publish(client, "a", "x 3\n", **{"Ps-Interval": "500"})
    wait_until(lambda: sorted(value for _, value in server.query("x")) == [2, 3])


def test_a_removed_target_is_gone(world, nats, client, endpoint):
    receiver = world.receiver(nats, remote_write=write_to(endpoint))
    publish(client, "a", "x 1\ny 1 5\n", 1_000_000_000_000)
    publish(client, "a", "", 1_000_000_015_000, **DOWN, **{"Ps-Flags": "removed"})
    wait_until(lambda: is_acked(client))
    assert endpoint.values("x") == [1, None] and endpoint.values("y") == [1]
    assert all(endpoint.values(name)[1] is None for name in OF_TARGET)
    assert {sample.time_ms for sample in endpoint.samples() if sample.is_stale} == {1_000_000_015_000}
    wait_until(lambda: receiver.total("targets") == 0)


def test_a_restarted_server_misses_nothing(world, nats, client, server):
    """count_over_time of `up` is the number of scrapes published."""
    receiver = world.receiver(nats, remote_write=write_to(server, {"max_samples_per_send": 50}))
    published = {name: 0 for name in "abc"}
    stop = threading.Event()

    def publish_on():
        with nats.connect() as connection:
            while not stop.wait(0.02):
                for name in published:
                    publish(connection, name, f"x 1\ny {published[name]}\n")
                    published[name] += 1
    thread = threading.Thread(target=publish_on)
    thread.start()
    try:
        for _ in range(2):
            wait_until(lambda: server.query("up"), 30)
            server.stop()
            receiver.wait_not_ready("")
            server.start()
            receiver.wait_ready(30)
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: is_acked(client), 60)

    def counted():
        return {labels["instance"]: value for labels, value in server.query("count_over_time(up[1h])")}
    wait_until(lambda: counted() == published, 20, what=f"{counted()} is {published}")
    assert receiver.total("remote_write_samples_failed_total") == 0
    assert receiver.total("remote_write_samples_retried_total") > 0


def rich_body(i):
    return (f'# HELP c Some\\nhelp.\n# TYPE c counter\nc{{a="1",b="2"}} {i}\nc{{b="\\"q\\"",a="x"}} {i}\n'
            f'# TYPE h histogram\nh_bucket{{le="1"}} {i}\nh_bucket{{le="+Inf"}} {i}\nh_sum {i}\nh_count {i}\n'
            f'# TYPE g gauge\ng{{job="other",Zone="z"}} NaN\n# HELP s S\n# TYPE s summary\ns{{quantile="0.5"}} -Inf\n'
            f's_count 1\nplain 7 {1_500_000_000_000 + i}\n' + ("gone 1\n" if i % 2 else ""))


def publish_rich(client):
    for i in range(10):
        for instance in ("a", "b"):
            publish(client, instance, rich_body(i), 1_600_000_000_000 + 1000 * i)
    publish(client, "b", "", 1_600_000_060_000, **DOWN)


def test_version_2_says_what_version_1_says(world, nats, client):
    endpoints = {"one": world.add(Endpoint()), "two": world.add(Endpoint())}
    world.receiver(nats, remote_write=[
        write_to(endpoints["one"], name="one", metadata_config={"send_interval": "200ms"}),
        write_to(endpoints["two"], name="two", protobuf_message=V2)])
    publish_rich(client)
    wait_until(lambda: is_acked(client, "one") and is_acked(client, "two"))
    one, two = (endpoints[name].samples() for name in ("one", "two"))
    assert len(one) > 2 * 10 * (11 + 5)
    assert sorted(map(repr, (sample.key() for sample in one))) == sorted(map(repr, (sample.key() for sample in two)))
    assert all(request.is_v2 for request in endpoints["two"].requests)
    about = {sample.name: sample.metadata for sample in two}
    assert about["c"] == (1, "Some\nhelp.", "") and about["h_bucket"] == (3, "", "") and about["g"] == (2, "", "")
    assert about["s_count"] == (5, "S", "") and about["plain"] == (0, "", "") and about["up"][0] == 2
    wait_until(lambda: endpoints["one"].metadata().get("c") == (1, "Some\nhelp."))
    metadata = endpoints["one"].metadata()
    assert metadata["h"] == (3, "") and metadata["s"] == (5, "S") and metadata["up"][0] == 2
    assert "plain" not in metadata and "h_sum" not in metadata


@pytest.mark.parametrize("refusal", ["415", "silent"])
def test_an_endpoint_without_version_2_gets_version_1(world, nats, client, refusal):
    """Some answer 415; others take what they cannot read for an empty request, and say nothing of what they wrote."""
    endpoint = world.add(Endpoint(lambda request, _: 415 if request.is_v2 and refusal == "415" else 204,
                                  knows_v2=False))
    receiver = world.receiver(nats, remote_write=write_to(endpoint, protobuf_message=V2))
    for i in range(3):
        publish(client, "a", f"x {i}\n")
        wait_until(lambda: is_acked(client))
    in_v1 = [sample.value for request in endpoint.taken if not request.is_v2
             for sample in request.samples if sample.name == "x"]
    assert in_v1 == [0, 1, 2]
    assert sum(request.is_v2 for request in endpoint.requests) == 1
    assert receiver.log().count("does not know version 2.0") == 1


@pytest.mark.parametrize("status,queue", [(503, {}), (500, {}), (429, {"retry_on_http_429": True})])
def test_retries_wait_as_long_as_they_are_told(world, nats, client, status, queue):
    import email.utils
    waits = [{"Retry-After": "1"}, {"Retry-After": email.utils.formatdate(time.time() + 2, usegmt=True)}, {}]
    endpoint = world.add(Endpoint(lambda _, number: (status, waits[number], "busy") if number < 3 else 204))
    receiver = world.receiver(nats, remote_write=write_to(endpoint, queue))
    waits[1]["Retry-After"] = email.utils.formatdate(time.time() + 3.5, usegmt=True)
    begin = time.monotonic()
    publish(client, "a", "x 1\n")
    wait_until(lambda: is_acked(client))
    first, second, third, fourth = (request.at for request in endpoint.requests)
    assert second - first >= 0.99 and third - begin >= 2.4 and fourth - third < 2
    assert [request.headers.get("retry-attempt") for request in endpoint.requests] == [None, "1", "2", "3"]
    assert endpoint.values("x") == [1]
    assert receiver.total("remote_write_samples_failed_total") == 0
    assert receiver.total("remote_write_samples_retried_total") == 3 * 6
    assert receiver.total("publish_errors_total", reason=f"http_{status}") == 3


def test_what_is_refused_is_dropped_with_the_words_and_takes_nothing_with_it(world, nats, client):
    """One target's samples are refused, together with whatever else is in their request."""
    def judge(request, _):
        if any(sample.labels["instance"] == "bad" and sample.name == "x" for sample in request.samples):
            return 400, {}, "out of order sample\nof the \x01 series x"
        return 204
    endpoint = world.add(Endpoint(judge))
    receiver = world.receiver(nats, remote_write=write_to(endpoint, {"batch_send_deadline": "1s"}))
    for i in range(5):
        for instance in ("a", "bad", "b"):
            publish(client, instance, f"x {i}\n")
    wait_until(lambda: is_acked(client))
    assert endpoint.values("x", instance="a") == endpoint.values("x", instance="b") == [0, 1, 2, 3, 4]
    assert endpoint.values("x", instance="bad") == []
    assert receiver.total("remote_write_samples_failed_total") == 5 * 6
    assert receiver.total("discards_total", reason="refused") == 5
    assert receiver.total("delivered_total") == 10
    said = [line for line in receiver.log().splitlines() if "refuses samples" in line]
    assert len(said) == 1 and "HTTP 400: out of order sample of the series x" in said[0]
    assert receiver.ready()[0]


@pytest.mark.parametrize("status", [401, 404, 429])
def test_other_refusals_are_final_and_make_it_not_ready(world, nats, client, status):
    endpoint = world.add(Endpoint(status))
    receiver = world.receiver(nats, remote_write=write_to(endpoint))
    receiver.wait_ready()
    publish(client, "a", "x 1\n")
    wait_until(lambda: is_acked(client))
    assert len(endpoint.requests) == 1
    assert f"HTTP {status}" in receiver.wait_not_ready("HTTP")
    endpoint.status = 204
    publish(client, "a", "x 2\n")
    wait_until(lambda: is_acked(client))
    assert endpoint.values("x") == [2] and receiver.ready()[0]


def test_order_per_series_over_shards_and_failures(world, nats, client):
    """Several shards at once, some answers lost, some late: each series arrives in the order of its time."""
    def judge(_, number):
        return (500, 204, 204, 503, 204)[number % 5]
    endpoint = world.add(Endpoint(judge, delay=0.03))
    queue = {"capacity": 100, "max_samples_per_send": 30, "max_shards": 4, "min_shards": 2}
    receiver = world.receiver(nats, remote_write=write_to(endpoint, queue))
    for i in range(40):
        for instance in "abcdefgh":
            publish(client, instance, f"x {i}\ny 1\n", 1_600_000_000_000 + 1000 * i)
    wait_until(lambda: is_acked(client), 60)
    for instance in "abcdefgh":
        for name in ("x", "y", "up"):
            times = [sample.time_ms for sample in endpoint.samples(name, instance=instance)]
            assert times == [1_600_000_000_000 + 1000 * i for i in range(40)]
    at = sorted((request.at, request.at + 0.03) for request in endpoint.requests)
    assert any(first[1] > second[0] for first, second in zip(at, at[1:])), "never two requests at once"
    assert receiver.total("remote_write_samples_failed_total") == 0


def test_a_dead_endpoint_beside_a_live_one(world, nats, client, endpoint):
    port = free_port()
    dead = {"url": f"http://127.0.0.1:{port}/write", "name": "dead", "queue_config": {**FAST, "capacity": 20}}
    receiver = world.receiver(nats, remote_write=[dead, write_to(endpoint, name="live")])
    for i in range(100):
        publish(client, "a", f"x {i}\n")
    wait_until(lambda: is_acked(client, "live"))
    assert endpoint.values("x") == list(range(100))
    receiver.wait_not_ready(f"127.0.0.1:{port}")
    assert not is_acked(client, "dead")
    assert receiver.total("remote_write_samples_pending", sink="dead") <= 20 + 6
    late = world.add(Endpoint(port=port))
    wait_until(lambda: is_acked(client, "dead"), 30)
    assert late.values("x") == list(range(100))


def test_a_restarted_receiver_loses_nothing_and_ends_what_it_began(world, nats, client, endpoint):
    receiver = world.receiver(nats, remote_write=write_to(endpoint, {"batch_send_deadline": "30s"}))
    for i in range(20):
        publish(client, "a", f"x {i}\n")
    wait_until(lambda: receiver.total("remote_write_samples_pending") == 20 * 6)
    assert endpoint.requests == []
    receiver.stop()
    assert endpoint.values("x") == list(range(20))
    assert is_acked(client)
    endpoint.status = 503
    receiver.start()
    publish(client, "a", "x 20\n")
    wait_until(lambda: receiver.total("remote_write_samples_pending") == 6)
    receiver.stop()
    endpoint.status = 204
    receiver.config["remote_write"]["queue_config"]["batch_send_deadline"] = "100ms"
    receiver.start()
    wait_until(lambda: is_acked(client), 40)
    assert endpoint.values("x") == list(range(21))


def test_a_malformed_scrape_is_down(world, nats, client, endpoint):
    receiver = world.receiver(nats, remote_write=write_to(endpoint))
    publish(client, "a", "x 1\n")
    publish(client, "a", "x 2\n}broken\n")
    publish(client, "a", "x 3\n")
    wait_until(lambda: is_acked(client))
    assert endpoint.values("x") == [1, None, 3] and endpoint.values("up") == [1, 0, 1]
    assert receiver.total("parse_errors_total") == 1
    assert "line 2" in receiver.log()


def test_samples_above_the_age_limit_are_left_out(world, nats, client, endpoint):
    receiver = world.receiver(nats, remote_write=write_to(endpoint, {"sample_age_limit": "10s"}))
    publish(client, "a", "x 1\n", frames.now_ms() - 60_000)
    publish(client, "a", "x 2\n")
    wait_until(lambda: is_acked(client))
    assert endpoint.values("x") == [2]
    assert receiver.total("left_out_total", reason="too_old") == 6


def test_series_without_end_do_not_fill_the_memory(world, nats, client, endpoint):
    receiver = world.receiver(nats, remote_write=write_to(endpoint), max_publisher_bytes="2MB")
    wide = "".join(f'x{{l="{i}"}} 1\n' for i in range(20000))
    publish(client, "a", wide)
    publish(client, "b", "x 1\n")
    publish(client, "a", "x 2\n")
    wait_until(lambda: is_acked(client))
    assert endpoint.values("up", instance="a") == [0, 1] and endpoint.values("x", instance="a") == [2]
    assert endpoint.values("x", instance="b") == [1]
    assert receiver.total("publisher_discards_total", reason="over_bytes") == 1
