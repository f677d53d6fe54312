# SPDX-License-Identifier: Apache-2.0
"""Start, stop, signals, logs, and what the daemons say of themselves."""

import json
import os
import signal
import socket

import pytest

from conftest import STREAM
from harness import frames, http
from harness.process import wait_until
from harness.stubs import Gateway, Target, hang

BODY = "# TYPE app_requests counter\napp_requests {}\n"


def send(client, value, **keys):
    return frames.publish(client, "dc1", "app", "a", BODY.format(value), **keys)


def test_the_receiver_keeps_its_position_over_a_clean_stop(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url)
    send(client, 1)
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    before = client.consumer_info(STREAM, "recv_push_gateway")
    receiver.stop()
    for value in (2, 3, 4):
        send(client, value)
    receiver.start()
    wait_until(lambda: gateway.metrics().find("app_requests") == [4])
    after = client.consumer_info(STREAM, "recv_push_gateway")
    assert after["created"] == before["created"], "the same durable"
    assert receiver.total("received_total") == 3, "what was missed and nothing else"
    wait_until(lambda: client.consumer_info(STREAM, "recv_push_gateway")["ack_floor"]["stream_seq"] == 4)


def test_what_was_waiting_at_a_clean_stop_is_delivered_after_the_next_start(world, client, nats):
    from harness.servers import PushGateway
    gateway = world.add(PushGateway(world.folder))
    receiver = world.receiver(nats, gateway.url)
    send(client, 1)
    receiver.wait_not_ready("refused")
    receiver.stop()
    gateway.start()
    receiver.start()
    wait_until(lambda: gateway.metrics().find("app_requests") == [1], 30)


def test_what_waits_behind_a_hanging_push_is_given_back_at_the_deadline(world, client, nats):
    """Not only after the durable's ack_wait, when it would be stale."""
    stub = world.add(Gateway())
    stub.status = lambda *_: stub.released.wait(60) or 200
    receiver = world.receiver(nats, stub.url, shutdown_timeout="1s", push={"concurrency": 1})
    receiver.wait_ready()
    for instance in ("a", "b"):
        frames.publish(client, "dc1", "app", instance, BODY.format(1))
    wait_until(lambda: receiver.total("received_total") == 2 and receiver.total("in_flight") == 1)
    receiver.stop()
    stub.status = 200
    stub.released.set()
    receiver.start()
    wait_until(lambda: receiver.total("delivered_total") == 2, 20)


def test_a_second_signal_stops_at_once(world, client, nats):
    target = world.add(Target({"/metrics": hang}))
    poller = world.poller(nats, {"app": {"targets": [{"url": f"{target.url}/metrics"}]}},
                          scrape_interval="30s", scrape_timeout="30s", shutdown_timeout="60s", start=False)
    poller.config["jobs"]["app"]["scrape_interval"] = "1s"
    poller.config["jobs"]["app"]["scrape_timeout"] = "1s"
    target.answers["/metrics"] = hang
    poller.config["jobs"]["slow"] = {"scrape_interval": "20s", "scrape_timeout": "20s", "targets": [
        {"name": f"t{number}", "url": f"{target.url}/metrics"} for number in range(40)]}
    poller.start()
    wait_until(lambda: len(target.requests) > 5)
    poller.process.signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in poller.log())
    poller.process.signal(signal.SIGTERM)
    assert poller.process.wait(5) == 1
    poller.process = None


def test_draining_has_a_deadline(world, client, nats):
    target = world.add(Target({"/metrics": hang}))
    poller = world.poller(nats, {"slow": {"scrape_interval": "60s", "scrape_timeout": "60s", "targets": [
        {"name": f"t{number}", "url": f"{target.url}/metrics"} for number in range(60)]}}, shutdown_timeout="1s")
    wait_until(lambda: target.requests, 30)
    poller.process.signal(signal.SIGTERM)
    assert poller.process.wait(20) == 0
    assert "shutdown_timeout" in poller.log()
    poller.process = None


def test_the_receiver_finishes_pushes_in_flight(world, client, nats):
    stub = world.add(Gateway())
    stub.status = lambda *_: stub.released.wait(1) or 200
    receiver = world.receiver(nats, stub.url)
    receiver.wait_ready()
    send(client, 1)
    wait_until(lambda: receiver.total("in_flight") == 1)
    receiver.stop()
    assert len(stub.pushes) == 1
    wait_until(lambda: client.consumer_info(STREAM, "recv_push_gateway")["num_ack_pending"] == 0)


def test_sighup_reopens_the_log_file(world, client, nats, tmp_path):
    path = tmp_path / "streams.log"
    poller = world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}}, logfile=str(path))
    wait_until(lambda: path.exists() and path.stat().st_size)
    path.rename(tmp_path / "streams.log.1")
    poller.process.signal(signal.SIGHUP)
    wait_until(lambda: path.exists() and "reopened" in path.read_text())


def test_two_daemons_share_a_log_file(world, client, nats, tmp_path):
    path = tmp_path / "streams.log"
    gateway = world.gateway()
    world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}}, logfile=str(path))
    world.receiver(nats, gateway.url, logfile=str(path))
    wait_until(lambda: {"prometheus-streams-poller", "prometheus-streams-receiver"} <= {
        word.split("=")[1] for line in path.read_text().splitlines() for word in line.split() if
        word.startswith("program=")})
    assert all(line.startswith("ts=") for line in path.read_text().splitlines())


def test_json_logs(world, client, nats):
    poller = world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}},
                          args=["--log-format", "json"])
    poller.wait_ready()
    poller.stop()
    with open(os.path.join(poller.folder, "log"), encoding="utf-8") as file:
        events = [json.loads(line) for line in file]
    assert {"ts", "level", "program", "msg"} <= set(events[0])


def test_the_pid_file(world, client, nats, tmp_path):
    path = tmp_path / "poller.pid"
    poller = world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}}, args=["--pid", str(path)])
    assert int(path.read_text()) == poller.process.pid
    poller.stop()
    assert not path.exists()


def test_a_failed_start_leaves_the_pid_file_of_another_alone(world, client, nats, tmp_path):
    path = tmp_path / "poller.pid"
    jobs = {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}}
    first = world.poller(nats, jobs, args=["--pid", str(path)])
    same_port = world.poller(nats, jobs, args=["--pid", str(path)], name="same-port", monitor_port=first.port,
                             wait=False)
    same_file = world.poller(nats, jobs, args=["--pid", str(path)], name="same-file", wait=False)
    for failed in (same_port, same_file):
        assert failed.process.wait() == 1
        failed.process = None
    assert int(path.read_text()) == first.process.pid


def test_repeated_failures_do_not_flood_the_log(world, client, nats):
    poller = world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}}, scrape_interval="1s")
    wait_until(lambda: poller.total("poll_errors_total") >= 5, 30)
    assert sum("connection refused" in line for line in poller.log().splitlines()) <= 2


def test_a_network_that_goes_down_does_not_flood_the_log(world, client, nats):
    poller = world.poller(nats, {"a": {"targets": [
        {"name": f"t{number}", "url": "http://127.0.0.1:1/metrics"} for number in range(1000)]}}, scrape_interval="3s")
    wait_until(lambda: poller.total("scrapes_total", outcome="unreachable") >= 3000, 40)
    wait_until(lambda: "went_down=980" in poller.log(), 40)
    assert len(poller.log().splitlines()) < 50


def test_the_monitor_port_in_use_is_an_error(world, client, nats):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        poller = world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}},
                              monitor_port=port, wait=False)
        assert poller.process.wait() == 1
        assert f"127.0.0.1:{port}" in poller.log() and "in use" in poller.log()
        poller.process = None


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_the_pages(world, client, nats, path):
    poller = world.poller(nats, {"a": {"targets": [{"url": "http://127.0.0.1:1/metrics"}]}})
    poller.wait_ready()
    status, text = http.get(poller.url + path)
    assert status == 200 and text
    assert http.get(poller.url + "/nothing")[0] == 404


def test_own_metrics_are_well_formed(world, client, nats):
    import shutil
    import subprocess
    gateway = world.gateway()
    target = world.add(Target({"/metrics": BODY.format(1)}))
    poller = world.poller(nats, {"a": {"targets": [{"url": f"{target.url}/metrics"}]}})
    receiver = world.receiver(nats, gateway.url)
    wait_until(lambda: receiver.total("delivered_total") >= 2)
    for daemon in (poller, receiver):
        text = daemon.metrics().text
        checked = subprocess.run([shutil.which("promtool"), "check", "metrics"], input=text.encode(),
                                 capture_output=True, check=False)
        problems = [line for line in checked.stderr.decode().splitlines() if "prometheus_streams" in line]
        assert problems == [], problems
        assert checked.returncode in (0, 3), checked.stderr


def test_everything_that_was_received_is_accounted_for(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url)
    receiver.wait_ready()
    now = frames.now_ms()
    send(client, 1, at_ms=now)
    wait_until(lambda: receiver.total("delivered_total") == 1)
    send(client, 2, at_ms=now - 5000)
    send(client, 3, at_ms=now - 100_000)
    client.publish_stored("prometheus.scrape.dc1.x", b"")
    client.publish_stored("prometheus.scrape.dc1.app.a.0", b"", {"Ps-Time": "x"})
    send(client, 4, at_ms=now + 1000)
    wait_until(lambda: receiver.total("received_total") == 6 and receiver.total("waiting_scrapes") == 0
               and receiver.total("delivered_total") + receiver.total("discards_total") == 6)
    assert receiver.total("acks_total") == 6
    assert receiver.total("ack_seconds_count") == 4, "of scrapes; what is malformed is acked at once"
