# SPDX-License-Identifier: Apache-2.0
"""Targets as they are in the field. Each scrape yields exactly one message, with words for its error."""

import gzip
import signal

import pytest

from conftest import STREAM
from harness.process import free_port, wait_until
from harness.stubs import Target, hang, status_answer, text_answer

BODY = "# HELP app_requests Requests.\n# TYPE app_requests counter\napp_requests 7\n"


def one_job(url, **keys):
    return {"app": {"targets": [{"name": "a", "url": url}], **keys}}


def messages(client, job="app"):
    if not client.stream_messages(STREAM):
        return []
    return [message for message in client.all_messages(STREAM) if f".scrape.dc1.{job}." in message.subject]


def first_message(client, timeout=30):
    return wait_until(lambda: messages(client), timeout, what="a message")[0]


@pytest.fixture
def client(nats):
    with nats.connect() as connection:
        yield connection


@pytest.fixture
def target(world):
    return world.add(Target())


def expect_error(client, words):
    message = first_message(client)
    assert message.headers.get("Ps-Up") == "0"
    assert message.headers["Ps-Error"] == words
    assert message.body == b""


def test_refused_connection(world, nats, client):
    world.poller(nats, one_job(f"http://127.0.0.1:{free_port()}/metrics"))
    expect_error(client, "connection refused")


def test_hanging_target(world, nats, client, target):
    target.answers["/metrics"] = hang
    poller = world.poller(nats, one_job(f"{target.url}/metrics"), scrape_interval="2s", scrape_timeout="1s")
    expect_error(client, "timed out after 1s")
    wait_until(lambda: len(messages(client)) >= 2, what="it is scraped again")
    assert poller.total("poll_errors_total", poller_job="app") >= 2


def test_hanging_as_long_as_the_interval_costs_no_scrape(world, nats, client, target):
    target.answers["/metrics"] = hang
    poller = world.poller(nats, {"app": {"scrape_interval": "1s", "scrape_timeout": "1s", "targets": [
        {"name": f"t{number}", "url": f"{target.url}/metrics"} for number in range(5)]}})
    wait_until(lambda: poller.total("scrapes_total", outcome="timeout") >= 20)
    assert poller.total("skipped_total") <= 5


def test_hanging_in_the_middle_of_the_body(world, nats, client, target):
    def half(stub, request):
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(BODY.encode())
        request.wfile.flush()
        hang(stub, request)
    target.answers["/metrics"] = half
    world.poller(nats, one_job(f"{target.url}/metrics"), scrape_interval="2s", scrape_timeout="1s")
    expect_error(client, "timed out after 1s")


def test_slow_target_that_makes_its_deadline(world, nats, client, target):
    def slow(stub, request):
        stub.released.wait(0.6)
        text_answer(BODY)(stub, request)
    target.answers["/metrics"] = slow
    world.poller(nats, one_job(f"{target.url}/metrics"), scrape_interval="2s", scrape_timeout="1500ms")
    message = first_message(client)
    assert "Ps-Up" not in message.headers
    assert 0.6 <= float(message.headers["Ps-Duration"]) < 1.5


@pytest.mark.parametrize("gzipped", [False, True])
def test_body_over_the_limit_counts_decoded_bytes(world, nats, client, target, gzipped):
    target.answers["/metrics"] = text_answer("# " + "x" * 5_000_000 + "\n", gzipped)
    world.poller(nats, one_job(f"{target.url}/metrics"), body_size_limit="1MB")
    expect_error(client, "body exceeds 1MB")


def test_body_within_the_limit(world, nats, client, target):
    target.answers["/metrics"] = text_answer("# " + "x" * 900_000 + "\n", True)
    world.poller(nats, one_job(f"{target.url}/metrics"), body_size_limit="1MB")
    assert "Ps-Up" not in first_message(client).headers


@pytest.mark.parametrize("status", [204, 301, 404, 500, 503])
def test_only_200_is_a_success(world, nats, client, target, status):
    target.answers["/metrics"] = status_answer(status, "" if status == 204 else BODY)
    world.poller(nats, one_job(f"{target.url}/metrics"))
    expect_error(client, f"HTTP {status}")


def test_redirects_are_followed(world, nats, client, target):
    target.answers["/old"] = status_answer(302, "", {"Location": "/metrics"})
    target.answers["/metrics"] = BODY
    world.poller(nats, one_job(f"{target.url}/old"), compression="passthrough")
    assert gzip.decompress(first_message(client).body).decode() == BODY


def test_redirect_loop(world, nats, client, target):
    target.answers["/metrics"] = status_answer(302, "", {"Location": "/metrics"})
    world.poller(nats, one_job(f"{target.url}/metrics"))
    expect_error(client, "too many redirects")


def test_gzip_is_passed_on_as_it_came(world, nats, client, target):
    packed = gzip.compress(BODY.encode(), mtime=12345)
    target.answers["/metrics"] = lambda _, request: request.answer(
        200, packed, {"Content-Encoding": "gzip", "Content-Type": "text/plain; version=0.0.4"})
    world.poller(nats, one_job(f"{target.url}/metrics"))
    message = first_message(client)
    assert message.headers["Content-Encoding"] == "gzip"
    assert message.body == packed


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compression(world, nats, client, target, compression):
    body = BODY + "".join(f'app_thing{{n="{n}"}} {n}\n' for n in range(300))
    target.answers["/metrics"] = text_answer(body, gzipped=compression == "zstd")
    gateway = world.gateway()
    world.poller(nats, one_job(f"{target.url}/metrics"), compression=compression)
    world.receiver(nats, gateway.url)
    message = first_message(client)
    assert message.headers["Content-Encoding"] == compression
    assert len(message.body) < len(body) / 3
    assert wait_until(lambda: gateway.metrics().find("app_thing", n="299", job="app")) == [299]


@pytest.mark.parametrize("compression, asked", [("passthrough", "gzip"), ("delta", "identity")])
def test_request_headers(world, nats, client, target, compression, asked):
    target.answers["/metrics"] = BODY
    world.poller(nats, one_job(f"{target.url}/metrics", params={"b": ["2", "3"], "a": ["x y"]}),
                 scrape_interval="3s", scrape_timeout="2500ms", compression=compression)
    first_message(client)
    path, headers, _ = target.requests[0]
    assert path == "/metrics?a=x+y&b=2&b=3" or path == "/metrics?a=x%20y&b=2&b=3"
    assert headers["Accept"] == "text/plain;version=0.0.4;q=1,*/*;q=0.1"
    assert headers["Accept-Encoding"] == asked
    assert headers["User-Agent"].startswith("prometheus-streams/")
    assert headers["X-Prometheus-Scrape-Timeout-Seconds"] == "2.5"


def test_connections_are_kept_alive(world, nats, client, target):
    ports = []
    target.answers["/metrics"] = lambda stub, request: (
        ports.append(request.client_address[1]), text_answer(BODY)(stub, request))
    world.poller(nats, one_job(f"{target.url}/metrics"))
    wait_until(lambda: len(ports) >= 3)
    assert len(set(ports[:3])) == 1


def test_scrapes_of_one_target_never_overlap(world, nats, client, target):
    running, most = [], []

    def slow(stub, request):
        running.append(1)
        most.append(len(running))
        stub.released.wait(0.9)
        running.pop()
        text_answer(BODY)(stub, request)
    target.answers["/metrics"] = slow
    world.poller(nats, one_job(f"{target.url}/metrics"), scrape_interval="1s", scrape_timeout="1s")
    wait_until(lambda: len(most) >= 4)
    assert max(most) == 1


def test_targets_are_spread_over_the_interval_and_stay_there(world, nats, target):
    names = [f"t{number}" for number in range(24)]
    for name in names:
        target.answers[f"/{name}"] = BODY
    jobs = {"app": {"targets": [{"name": name, "url": f"{target.url}/{name}"} for name in names]}}
    poller = world.poller(nats, jobs, scrape_interval="4s")

    def offsets(requests):
        return {path: round(at % 4, 1) for path, _, at in requests}
    wait_until(lambda: len(target.requests) >= 48, 30)
    first = offsets(target.requests[:24])
    quarters = {int(offset) for offset in first.values()}
    assert len(quarters) >= 3, first
    poller.stop()
    target.requests.clear()
    poller.start()
    wait_until(lambda: len({path for path, _, _ in target.requests}) == 24, 30)
    again = offsets(target.requests)
    moved = [path for path in first if min(abs(first[path] - again[path]), 4 - abs(first[path] - again[path])) > 0.5]
    assert moved == []


def test_metrics_that_vanish_leave_the_gateway(world, nats, target):
    gateway = world.gateway()
    target.answers["/metrics"] = BODY + "app_passing 1\n"
    world.poller(nats, one_job(f"{target.url}/metrics"))
    world.receiver(nats, gateway.url)
    wait_until(lambda: gateway.metrics().find("app_passing"))
    target.answers["/metrics"] = BODY
    wait_until(lambda: not gateway.metrics().find("app_passing"))
    assert gateway.metrics().find("app_requests") == [7]


def test_target_that_exposes_timestamps(world, nats, target):
    gateway = world.gateway()
    target.answers["/metrics"] = "app_requests 3 1395066363000\napp_other 4\n"
    world.poller(nats, one_job(f"{target.url}/metrics"))
    world.receiver(nats, gateway.url)
    assert wait_until(lambda: gateway.metrics().find("app_requests", job="app", instance="a")) == [3]
    assert gateway.metrics().value("scrape_samples_scraped", job="app") == 2


def test_target_going_down_is_up_0_and_nothing_else(world, nats, target):
    gateway = world.gateway()
    target.answers["/metrics"] = BODY
    world.poller(nats, one_job(f"{target.url}/metrics"))
    world.receiver(nats, gateway.url)
    wait_until(lambda: gateway.metrics().value("up", job="app") == 1)
    target.answers["/metrics"] = status_answer(500)
    wait_until(lambda: gateway.metrics().value("up", job="app") == 0)
    assert gateway.metrics().find("app_requests") == []
    target.answers["/metrics"] = BODY
    wait_until(lambda: gateway.metrics().value("up", job="app") == 1)
    assert gateway.metrics().find("app_requests") == [7]


def test_malformed_body_is_up_0(world, nats, target):
    gateway = world.gateway()
    target.answers["/metrics"] = BODY + "app{broken 1\n"
    world.poller(nats, one_job(f"{target.url}/metrics"))
    receiver = world.receiver(nats, gateway.url)
    wait_until(lambda: gateway.metrics().value("up", job="app", instance="a") == 0)
    assert receiver.total("parse_errors_total") >= 1
    assert "line 4" in receiver.log() or ":4:" in receiver.log()


def test_labels_that_collide_become_exported(world, nats, target):
    gateway = world.gateway()
    target.answers["/metrics"] = 'app_requests{job="inner",instance="x",env="dev"} 1\n'
    world.poller(nats, {"app": {"targets": [
        {"name": "a", "url": f"{target.url}/metrics", "labels": {"env": "prod"}}]}})
    world.receiver(nats, gateway.url)
    labels = wait_until(lambda: gateway.metrics().labels_of("app_requests"))
    assert labels == [{"job": "app", "instance": "a", "env": "prod", "exported_job": "inner",
                       "exported_instance": "x", "exported_env": "dev"}]


def test_honor_labels_keeps_what_is_exposed(world, nats, target):
    gateway = world.gateway()
    target.answers["/metrics"] = ('up{job="db",instance="m1"} 1\napp_requests{job="db",instance="m1"} 5\n'
                                  'app_requests{job="db",instance="m2"} 6\nown 1\n')
    world.poller(nats, one_job(f"{target.url}/metrics", honor_labels=True))
    world.receiver(nats, gateway.url)
    wait_until(lambda: gateway.metrics().find("app_requests", job="db", instance="m2"))
    seen = gateway.metrics()
    assert seen.find("app_requests", job="db", instance="m1") == [5]
    assert seen.find("up", job="db", instance="m1") == [1]
    assert seen.find("own", job="app", instance="a") == [1]
    target.answers["/metrics"] = 'app_requests{job="db",instance="m1"} 5\n'
    wait_until(lambda: {"job": "db", "instance": "m2"} not in gateway.groups())


def test_a_scrape_too_large_for_the_server(world, target):
    import random
    random.seed(1)
    nats = world.nats(config="max_payload: 65536\n")
    noise = "".join(f'app_x{{v="{random.getrandbits(256):x}"}} {random.random()}\n' for _ in range(3000))
    target.answers["/metrics"] = text_answer(noise, gzipped=False)
    world.poller(nats, one_job(f"{target.url}/metrics"))
    with nats.connect() as client:
        message = first_message(client)
        assert message.headers["Ps-Up"] == "0"
        assert "limit" in message.headers["Ps-Error"]
        before = len(messages(client))
        wait_until(lambda: len(messages(client)) > before, what="the connection is still good")


def test_a_scrape_too_large_uncompressed_is_compressed(world, target):
    nats = world.nats(config="max_payload: 65536\n")
    target.answers["/metrics"] = text_answer("# padding\n" * 20000 + BODY, gzipped=False)
    world.poller(nats, one_job(f"{target.url}/metrics"))
    with nats.connect() as client:
        message = first_message(client)
        assert "Ps-Up" not in message.headers
        assert message.headers["Content-Encoding"] in ("gzip", "zstd", "zstd-delta")


def test_sigterm_with_scrapes_in_flight(world, nats, client, target):
    started = []

    def slow(stub, request):
        started.append(1)
        stub.released.wait(1)
        text_answer(BODY)(stub, request)
    target.answers["/metrics"] = slow
    poller = world.poller(nats, one_job(f"{target.url}/metrics"), scrape_interval="2s", scrape_timeout="2s")
    wait_until(lambda: started)
    count = len(started)
    poller.process.signal(signal.SIGTERM)
    assert poller.process.wait() == 0
    assert len(messages(client)) == count
    assert all("Ps-Up" not in message.headers for message in messages(client))


def test_credentials_of_a_target_never_show(world, nats, client, target):
    target.answers["/metrics"] = status_answer(401)
    url = f"http://user:hunter2@127.0.0.1:{target.port}/metrics"
    poller = world.poller(nats, one_job(url), args=["--debug"])
    expect_error(client, "HTTP 401")
    assert "hunter2" not in poller.log()
    assert "hunter2" not in poller.metrics().text
    assert target.requests[0][1]["Authorization"].startswith("Basic ")
