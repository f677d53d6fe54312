# SPDX-License-Identifier: Apache-2.0
"""Another configuration while it runs: by SIGHUP, and by POST /-/reload."""

import os
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest
import yaml

from conftest import STREAM
from harness import frames, http
from harness.daemons import IS_PLAIN
from harness.process import wait_until
from harness.stubs import Gateway, Target, hang

BODY = "# TYPE app_requests counter\napp_requests {}\n"
LIFECYCLE = ("--web.enable-lifecycle",)


def job(target, *names, **keys):
    return {"targets": [{"name": name, "url": f"{target.url}/{name}"} for name in names], **keys}


def post(daemon, method="POST", timeout=30):
    request = urllib.request.Request(f"{daemon.url}/-/reload", method=method, data=b"")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def write(daemon, config=None, text=None):
    path = os.path.join(daemon.folder, "config.yaml")
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text if text is not None else yaml.safe_dump(config or daemon.config, sort_keys=False))
    os.rename(path + ".new", path)


def reload(daemon, expected=200):
    write(daemon)
    status, text = post(daemon)
    assert status == expected, text
    return text


def times_of(target, name):
    return [at for path, _, at in list(target.requests) if path == f"/{name}"]


def check_grid(times, interval, gaps):
    """One scrape at each time of the grid: none left out, none twice."""
    assert len(times) >= gaps
    steps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert all(0.5 * interval < step < 1.5 * interval for step in steps), steps


@pytest.fixture
def target(world):
    return world.add(Target({f"/t{number}": BODY.format(number) for number in range(40)}))


def test_unchanged_targets_keep_their_times_over_many_reloads(world, client, nats, target):
    poller = world.poller(nats, {"app": job(target, "t0", "t1")}, args=LIFECYCLE)
    wait_until(lambda: times_of(target, "t0") and times_of(target, "t1"))
    for number in range(20):
        poller.config["jobs"] = {"app": job(target, "t0", "t1"), f"other{number % 3}": job(target, f"t{2 + number}")}
        text = reload(poller)
        assert "3 unchanged" in text, "and the poller itself"
        time.sleep(0.15 + 0.017 * number)
    wait_until(lambda: len(times_of(target, "t0")) >= 8)
    for name in ("t0", "t1"):
        check_grid(times_of(target, name), 1, 7)
    assert poller.total("skipped_total") == 0


def test_nothing_changed(world, client, nats, target):
    poller = world.poller(nats, {"app": job(target, "t0")}, args=LIFECYCLE)
    assert reload(poller) == "nothing has changed\n"


def test_targets_added_removed_and_changed(world, client, nats, target):
    poller = world.poller(nats, {"app": job(target, "t0", "t1"), "gone": job(target, "t2")}, args=LIFECYCLE)
    wait_until(lambda: all(times_of(target, name) for name in ("t0", "t1", "t2")))
    poller.config["jobs"] = {"app": job(target, "t0", "t3", scrape_interval="500ms", scrape_timeout="400ms"),
                             "new": job(target, "t4")}
    text = reload(poller)
    assert "jobs: 1 added, 1 removed\n" in text
    assert "targets: 2 added, 2 removed, 1 changed, 1 unchanged\n" in text, "the poller itself stays"
    wait_until(lambda: all(times_of(target, name) for name in ("t3", "t4")))
    ended = len(times_of(target, "t1")), len(times_of(target, "t2"))
    count = len(times_of(target, "t0"))
    wait_until(lambda: len(times_of(target, "t0")) >= count + 5)
    check_grid(times_of(target, "t0")[count + 1:], 0.5, 3)
    assert ended == (len(times_of(target, "t1")), len(times_of(target, "t2")))
    names = {(labels["poller_job"], value) for labels, value in (
        (labels, value) for name, labels, value in poller.metrics().samples
        if name == "prometheus_streams_poller_targets")}
    assert names == {("app", 2), ("new", 1), ("prometheus_streams", 1)}
    assert not [1 for _, labels, _ in poller.metrics().samples if labels.get("poller_job") == "gone"]
    log = poller.log()
    for line in ('msg="target added" job=app instance=t3', 'msg="target removed" job=gone instance=t2',
                 'msg="target changed" job=app instance=t0', 'msg="job added" job=new', 'msg="job removed" job=gone'):
        assert line in log


def test_what_a_job_says_to_its_targets_changes(world, client, nats, target, tmp_path):
    """Also while a worker looks at the files: those of the configuration before are still read."""
    secret = tmp_path / "token"
    secret.write_text("first")
    by_file = {"credentials_file": str(secret)}

    def seen():
        return {headers.get("Authorization") for path, headers, _ in list(target.requests) if path == "/t0"}

    poller = world.poller(nats, {"app": job(target, "t0", authorization=by_file)}, args=LIFECYCLE)
    wait_until(lambda: "Bearer first" in seen())
    poller.config["jobs"] = {"app": job(target, "t0", authorization={"credentials": "second"})}
    assert "1 changed" in reload(poller)
    wait_until(lambda: "Bearer second" in seen())
    poller.config["jobs"] = {"app": job(target, "t0")}
    reload(poller)
    wait_until(lambda: None in seen())
    poller.config["jobs"] = {"app": job(target, "t0", authorization=by_file)}
    reload(poller)
    secret.write_text("third")
    wait_until(lambda: "Bearer third" in seen())
    assert not [word for word in ("first", "second", "third") if word in poller.log()]


def removals(client):
    return [message for message in client.all_messages(STREAM)
            if "removed" in (message.headers.get("Ps-Flags") or "")]


def test_a_removed_target_ends_at_once_and_may_come_back(world, client, nats, target):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, max_age="10m")
    poller = world.poller(nats, {"app": job(target, "t0", "t1")}, args=LIFECYCLE)
    wait_until(lambda: len(gateway.metrics().find("app_requests")) == 2)
    poller.config["jobs"]["app"] = job(target, "t0")
    reload(poller)
    wait_until(lambda: gateway.metrics().find("app_requests") == [0], 2, what="the group of t1 is gone")
    assert not gateway.metrics().find("up", instance="t1")
    assert receiver.total("groups_deleted_total", reason="removed") == 1
    poller.config["jobs"]["app"] = job(target, "t0", "t1")
    reload(poller)
    wait_until(lambda: len(gateway.metrics().find("app_requests")) == 2, 4, what="t1 is back")
    wait_until(lambda: client.is_acked(STREAM, "recv_push_gateway"))


def test_the_last_message_waits_for_nats(world, nats, target):
    gateway = world.gateway()
    world.receiver(nats, gateway.url, max_age="10m")
    poller = world.poller(nats, {"app": job(target, "t0", "t1")}, args=LIFECYCLE)
    wait_until(lambda: len(gateway.metrics().find("app_requests")) == 2)
    nats.freeze()
    try:
        time.sleep(0.5)
        poller.config["jobs"]["app"] = job(target, "t0")
        reload(poller)
        time.sleep(2)
    finally:
        nats.thaw()
    wait_until(lambda: gateway.metrics().find("app_requests") == [0], 40)
    assert poller.total("dropped_total") == 0


def test_a_removal_ends_what_a_receiver_before_has_shown(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, max_age="10m")
    frames.publish(client, "dc1", "app", "a", BODY.format(1))
    frames.publish(client, "dc1", "app", "b", BODY.format(2))
    wait_until(lambda: len(gateway.metrics().find("app_requests")) == 2)
    receiver.stop()
    frames.publish(client, "dc1", "app", "a", "", **{"Ps-Up": 0, "Ps-Error": "x", "Ps-Flags": "removed"})
    receiver.start()
    wait_until(lambda: gateway.metrics().find("app_requests") == [2], 20)


def test_a_removal_that_comes_late_does_nothing(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, max_age="10m")
    now_ms = frames.now_ms()
    flags = {"Ps-Up": 0, "Ps-Error": "x", "Ps-Flags": "removed", "Ps-Interval": 15000}
    frames.publish(client, "dc1", "app", "a", BODY.format(1), at_ms=now_ms)
    frames.publish(client, "dc1", "app", "a", "", at_ms=now_ms - 1000, **flags)
    wait_until(lambda: receiver.total("discards_total", reason="out_of_order") == 1)
    assert gateway.metrics().find("app_requests") == [1]
    frames.publish(client, "dc1", "app", "a", "", at_ms=now_ms + 10, **flags)
    wait_until(lambda: gateway.metrics().find("app_requests") == [])
    frames.publish(client, "dc1", "app", "a", BODY.format(3), at_ms=now_ms + 5, **{"Ps-Interval": 15000})
    wait_until(lambda: receiver.total("discards_total", reason="out_of_order") == 2)
    assert gateway.metrics().find("app_requests") == [], "nothing comes back from before"


def test_without_delete_stale_a_removed_target_is_down(world, client, nats):
    gateway = world.gateway()
    world.receiver(nats, gateway.url, push={"delete_stale": False})
    frames.publish(client, "dc1", "app", "a", BODY.format(1))
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    frames.publish(client, "dc1", "app", "a", "", **{"Ps-Up": 0, "Ps-Error": "x", "Ps-Flags": "removed"})
    wait_until(lambda: gateway.metrics().find("up", instance="a") == [0])
    assert gateway.metrics().find("app_requests") == []


def test_a_wrong_configuration_changes_nothing(world, client, nats, target):
    poller = world.poller(nats, {"app": job(target, "t0")}, args=LIFECYCLE)
    assert poller.total("config_last_reload_successful") == 1
    wait_until(lambda: times_of(target, "t0"))
    since = poller.total("config_last_reload_success_timestamp_seconds")
    assert abs(since - time.time()) < 60
    wrong = {**poller.config, "jobs": {"other": job(target, "t1", scrap_interval="1s")}, "queue_bytes": "lots"}
    write(poller, wrong)
    status, text = post(poller)
    assert status == 500
    assert text.startswith("failed to reload config: ")
    path = os.path.join(poller.folder, "config.yaml")
    lines = [line for line in text.splitlines() if line.startswith(f"{path}:")]
    assert len(lines) == 2 and "did you mean" in text and "queue_bytes" in text, text
    assert poller.total("config_last_reload_successful") == 0
    assert poller.total("config_last_reload_success_timestamp_seconds") == since
    assert all(line.split(": ", 1)[1] in poller.log().replace('\\"', '"') for line in lines)
    os.unlink(path)
    assert post(poller)[0] == 500, "no file"
    assert not times_of(target, "t1")
    count = len(times_of(target, "t0"))
    wait_until(lambda: len(times_of(target, "t0")) > count + 1)
    check_grid(times_of(target, "t0"), 1, 2)
    reload(poller)
    assert poller.total("config_last_reload_successful") == 1
    assert poller.total("config_last_reload_success_timestamp_seconds") > since


def test_keys_that_need_a_restart_are_named(world, client, nats, target):
    poller = world.poller(nats, {"app": job(target, "t0")}, args=LIFECYCLE)
    port = poller.port
    wrong = {**poller.config, "identity": "dc9", "monitor_port": 1, "queue_bytes": "8MB",
             "poller_stream": {**poller.config["poller_stream"], "topic": "other"}}
    write(poller, wrong)
    for _ in range(2):
        status, text = post(poller)
        assert status == 200
        assert "needs a restart, stays as it was: identity, monitor_port, poller_stream.topic\n" in text
    assert "changed: queue_bytes\n" not in text, "it had changed the first time"
    assert "identity, monitor_port, poller_stream.topic" in poller.log()
    wait_until(lambda: len(times_of(target, "t0")) > 3)
    assert poller.port == port and poller.total("scrapes_total") > 0
    assert {message.subject.split(".")[2] for message in client.all_messages(STREAM)} == {"dc1"}


def test_the_receiver_takes_other_bounds_but_no_other_sinks(world, client, nats):
    gateway = world.gateway()
    receiver = world.receiver(nats, gateway.url, args=LIFECYCLE, max_age="10m")
    frames.publish(client, "dc1", "app", "a", BODY.format(1))
    wait_until(lambda: gateway.metrics().find("app_requests") == [1])
    receiver.config["max_age"] = "5s"
    receiver.config["max_targets_per_publisher"] = 1
    assert "changed: max_age, max_targets_per_publisher\n" in reload(receiver)
    frames.publish(client, "dc1", "app", "b", BODY.format(2))
    wait_until(lambda: receiver.total("discards_total", reason="over_limit") == 1)
    frames.publish(client, "dc1", "app", "a", BODY.format(3), at_ms=frames.now_ms() - 7000)
    wait_until(lambda: receiver.total("discards_total", reason="stale") == 1)
    receiver.config["push_gateway"]["concurrency"] = 7
    assert "changed: push_gateway[0].concurrency\n" in reload(receiver)
    receiver.config["push_gateway"] = [receiver.config["push_gateway"], {"url": "http://127.0.0.1:1"}]
    assert "needs a restart, stays as it was: push_gateway\n" in reload(receiver)
    receiver.config["push_gateway"] = {"url": "http://127.0.0.1:1", "timeout": "1s"}
    assert "push_gateway[0].url" in reload(receiver)
    frames.publish(client, "dc1", "app", "a", BODY.format(4))
    wait_until(lambda: gateway.metrics().find("app_requests") == [4])
    receiver.wait_ready()


def test_lifecycle_has_to_be_enabled(world, client, nats, target):
    poller = world.poller(nats, {"app": job(target, "t0")})
    assert post(poller) == (403, "Lifecycle API is not enabled.")
    assert post(poller, "PUT") == (403, "Lifecycle API is not enabled.")
    assert http.get(f"{poller.url}/-/reload") == (405, "Only POST or PUT requests allowed")
    poller.config["jobs"]["app"] = job(target, "t1")
    write(poller)
    poller.process.signal(signal.SIGHUP)
    wait_until(lambda: times_of(target, "t1"), what="the signal does it all the same")


@pytest.mark.parametrize("compression", ["gzip", "delta"])
def test_compression_changes_while_it_runs(world, client, nats, compression):
    body = "".join(f'app_value{{n="{n}"}} {n * 7919 % 10007}\n' for n in range(200))
    target = world.add(Target({"/t0": body}))
    gateway = world.gateway()
    world.receiver(nats, gateway.url)
    other = "delta" if compression == "gzip" else "gzip"
    poller = world.poller(nats, {"app": job(target, "t0")}, args=LIFECYCLE, compression=compression,
                          scrape_interval="200ms", scrape_timeout="150ms")

    def sent(name):
        return poller.total("frames_total", encoding="zstd-delta" if name == "delta" else name)
    for name in (compression, other, compression):
        poller.config["compression"] = name
        reload(poller)
        before = sent(name)
        wait_until(lambda: sent(name) >= before + 3)
    assert poller.total("dropped_total") == 0
    assert len(gateway.metrics().find("app_value")) == 200


def test_a_storm_of_signals_under_load(world, client, nats, target):
    gateway = world.add(Gateway())
    receiver = world.receiver(nats, gateway.url)
    names = [f"t{number}" for number in range(20)]
    poller = world.poller(nats, {"app": job(target, *names)}, args=LIFECYCLE, compression="delta")
    wait_until(lambda: all(times_of(target, name) for name in names))
    storms = []
    for number in range(50):
        poller.config["jobs"]["more"] = job(target, *names[:number % 5], scrape_interval=f"{200 + number}ms",
                                            scrape_timeout="100ms")
        write(poller)
        poller.process.signal(signal.SIGHUP)
        receiver.process.signal(signal.SIGHUP)
        if number % 10 == 0:
            storms.append(threading.Thread(target=post, args=(poller,)))
            storms[-1].start()
    for storm in storms:
        storm.join()
    assert "targets" not in reload(poller)
    count = len(times_of(target, "t19"))
    wait_until(lambda: len(times_of(target, "t19")) >= count + 3)
    check_grid(times_of(target, "t19"), 1, 3)
    assert poller.total("dropped_total") == 0
    assert receiver.total("config_last_reload_successful") == 1


def test_a_scrape_under_way_survives_or_is_given_up(world, client, nats):
    target = world.add(Target({"/slow": hang, "/gone": hang, "/t0": BODY.format(0)}))
    slow = {"scrape_interval": "20s", "scrape_timeout": "20s"}
    poller = world.poller(nats, {"slow": job(target, "slow", **slow), "gone": job(target, "gone", **slow)},
                          args=LIFECYCLE)
    wait_until(lambda: times_of(target, "slow") and times_of(target, "gone"), 30)
    del poller.config["jobs"]["gone"]
    poller.config["jobs"]["slow"]["honor_labels"] = True
    assert "1 removed, 1 changed" in reload(poller)
    target.answers["/slow"] = target.answers["/gone"] = BODY.format(1)
    target.released.set()
    wait_until(lambda: poller.total("scrapes_total", poller_job="slow") == 1)
    wait_until(lambda: len(removals(client)) == 1)
    assert removals(client)[0].subject.split(".")[3:5] == ["gone", "gone"]


def test_memory_does_not_grow(world, client, nats):
    target = world.add(Target({"/t": BODY.format(1)}))

    def many(number):
        return {"targets": [{"name": f"n{number + at}", "url": f"{target.url}/t"} for at in range(300)],
                "scrape_interval": "30s", "scrape_timeout": "5s"}
    poller = world.poller(nats, {"app": many(0)}, args=LIFECYCLE)

    def resident(reloads, first):
        for number in range(reloads):
            poller.config["jobs"] = {"app": many(number % 7), f"job{first + number}": many(number % 5)}
            reload(poller)
        return poller.metrics().value("process_resident_memory_bytes")
    before = resident(50, 0)
    after = resident(200, 50)
    assert after < before * 1.3 + 10e6 or not IS_PLAIN, (before, after)
    samples = [name for name, labels, _ in poller.metrics().samples if labels.get("poller_job", "").startswith("job")]
    assert len(samples) < 60, "series of jobs that are gone"


def test_stops_while_it_reloads(world, client, nats, target):
    gateway = world.gateway()
    poller = world.poller(nats, {"app": job(target, "t0")}, args=LIFECYCLE)
    receiver = world.receiver(nats, gateway.url, args=LIFECYCLE)
    for daemon in (poller, receiver):
        askers = [threading.Thread(target=lambda at=daemon: http.get(at.url) and ask_quietly(at)) for _ in range(5)]
        for asker in askers:
            asker.start()
        daemon.process.signal(signal.SIGHUP)
        daemon.stop()
        for asker in askers:
            asker.join()


def ask_quietly(daemon):
    try:
        post(daemon)
    except OSError:
        pass
