# SPDX-License-Identifier: Apache-2.0
"""Poller and receiver with deltas between them: whatever happens to the stream, to either of them or to the
way between, what is delivered is, sample for sample, one of the scrapes that the target served."""

import random
import threading

import pytest

from conftest import STREAM
from harness.nats import NatsError
from harness.process import wait_until
from harness.stubs import Gateway
from test_deltas import Changing, jobs_for
from test_hub import make_global_stream, make_hub, make_leaf

SEED = 20_240_817
KEY_FILTER = "prometheus.key.dc1.app.>"


@pytest.fixture
def client(nats):
    with nats.connect() as connection:
        connection.make_stream(STREAM)
        yield connection


@pytest.fixture
def target(world):
    return world.add(Changing())


@pytest.fixture
def stub(world):
    return world.add(Gateway())


def lines_of(body):
    return tuple(line for line in body.splitlines() if line.startswith("app_value{"))


def pushed(stub, path="/metrics/job/app/instance/a0"):
    return [lines_of(body) for body in stub.bodies(path) if "\nup 0" not in body]


def check_all(stub, target, path="/metrics/job/app/instance/a0"):
    """How many were delivered, each of which was served; none was unreadable."""
    delivered = pushed(stub, path)
    served = {lines_of(body.decode()) for body in set(target.served)}
    assert all(lines in served for lines in delivered)
    return len(delivered)


def wait_flowing(stub, count=5, timeout=40, path="/metrics/job/app/instance/a0"):
    before = len(stub.bodies(path))
    wait_until(lambda: len(stub.bodies(path)) >= before + count, timeout, what=f"{count} further pushes of {path}")


def lost(receiver):
    """Dropped for want of a keyframe, or delivered as `up 0` because it does not decode."""
    return sum(receiver.total("publisher_discards_total", reason=reason)
               for reason in ("keyframe_missing", "keyframe_corrupt", "keyframe_failed", "corrupt"))


def test_all_is_delivered_as_it_was_served(world, nats, client, target, stub):
    poller = world.poller(nats, jobs_for(target), scrape_interval="200ms", keyframe_interval="1s")
    receiver = world.receiver(nats, stub.url)
    wait_flowing(stub, 30)
    assert poller.total("keyframes_total") >= 3
    assert receiver.total("keyframe_lookups_total", outcome="found") >= 3
    assert receiver.total("keyframe_hits_total") >= 10
    assert lost(receiver) == 0
    check_all(stub, target)


def test_receiver_killed_again_and_again(world, nats, client, target, stub):
    world.poller(nats, jobs_for(target), scrape_interval="200ms", keyframe_interval="2s")
    receiver = world.receiver(nats, stub.url)
    for _ in range(5):
        wait_flowing(stub, 3)
        receiver.kill()
        receiver.start()
    wait_flowing(stub, 3)
    assert lost(receiver) == 0
    check_all(stub, target)


def test_outage(world, nats, client, target, stub):
    poller = world.poller(nats, jobs_for(target), scrape_interval="50ms", queue_bytes="1MB")
    receiver = world.receiver(nats, stub.url)
    wait_flowing(stub)
    nats.stop()
    wait_until(lambda: poller.total("dropped_total", reason="queue_full") > 20, 60, what="the queue overflows")
    nats.start()
    wait_flowing(stub, 10)
    assert lost(receiver) == 0
    check_all(stub, target)


@pytest.mark.parametrize("how", ["purged", "deleted and made anew"])
def test_stream(world, nats, client, target, stub, how):
    world.poller(nats, jobs_for(target), scrape_interval="200ms")
    receiver = world.receiver(nats, stub.url)
    wait_flowing(stub)
    if how == "purged":
        client.api(f"STREAM.PURGE.{STREAM}")
    else:
        client.delete_stream(STREAM)
        client.make_stream(STREAM)
    wait_flowing(stub, 5, 60)
    # One that holds nothing of the time before.
    receiver.stop()
    receiver.start()
    wait_until(lambda: receiver.total("keyframe_lookups_total", outcome="found") >= 1, 60)
    wait_flowing(stub, 5, 60)
    check_all(stub, target)


@pytest.mark.parametrize("retention", ["interest", "workqueue"])
def test_a_stream_that_keeps_no_keyframes(world, nats, target, stub, retention):
    with nats.connect() as connection:
        connection.make_stream(STREAM, retention=retention)
        receiver = world.receiver(nats, stub.url, max_age=0)
        receiver.wait_ready()
        poller = world.poller(nats, jobs_for(target), scrape_interval="200ms")
        wait_flowing(stub, 10)
        assert "keeps only what a consumer waits for" in poller.log()
        before = lost(receiver)
        keyframes = poller.total("keyframes_total")
        wait_flowing(stub, 10)
        assert lost(receiver) == before
        assert poller.total("keyframes_total") == keyframes
        check_all(stub, target)


def test_keyframes_removed_at_random(world, nats, client, stub):
    targets = [world.add(Changing()) for _ in range(5)]
    world.poller(nats, jobs_for(*targets), scrape_interval="200ms", keyframe_interval="1s")
    receiver = world.receiver(nats, stub.url, keyframe_memory="1MB")
    rng, ended, removed = random.Random(SEED), threading.Event(), []

    def remove():
        with nats.connect() as other:
            while not ended.wait(0.02):
                last = other.stream_info(STREAM)["state"]["last_seq"]
                for sequence in range(max(1, last - 20), last + 1):
                    try:
                        message = other.stream_message(STREAM, sequence)
                        if ".key.dc1.app." in message.subject and rng.random() < 0.3:
                            other.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": sequence})
                            removed.append(sequence)
                    except NatsError:
                        continue
    thread = threading.Thread(target=remove, daemon=True)
    thread.start()
    try:
        wait_until(lambda: len(removed) > 20, 60)
        receiver.kill()
        receiver.start()
        wait_until(lambda: len(removed) > 40, 60)
    finally:
        ended.set()
        thread.join()
    for number, target in enumerate(targets):
        path = f"/metrics/job/app/instance/a{number}"
        wait_flowing(stub, 10, 40, path)
        assert receiver.total("publisher_discards_total", reason="corrupt") == 0
        print(f"seed {SEED}: {len(removed)} removed, {check_all(stub, target, path)} delivered, "
              f"{lost(receiver):.0f} dropped since the restart")


def test_targets_and_labels_change(world, nats, client, stub):
    first, second = world.add(Changing()), world.add(Changing())
    poller = world.poller(nats, jobs_for(first), scrape_interval="200ms")
    receiver = world.receiver(nats, stub.url)
    wait_flowing(stub)
    poller.stop()
    # The same name for another target, and the first one under labels.
    poller.config["jobs"] = jobs_for(second, first)
    poller.config["jobs"]["app"]["targets"][1]["labels"] = {"env": "prod"}
    poller.start()
    labelled = "/metrics/job/app/instance/a1/env/prod"
    wait_flowing(stub, 5, 40, labelled)
    wait_flowing(stub)
    check_all(stub, first, labelled)
    delivered = pushed(stub)
    served = {lines_of(body.decode()) for body in first.served | second.served}
    assert all(lines in served for lines in delivered)
    assert lost(receiver) == 0


def test_hub_that_sources_from_two_data_centres(world, stub):
    hub, leaf_port = make_hub(world)
    leaves = {name: make_leaf(world, name, leaf_port) for name in ("dc1", "dc2")}
    targets = {name: world.add(Changing()) for name in leaves}
    for name, leaf in leaves.items():
        world.poller(leaf, jobs_for(targets[name]), identity=name, name=name, scrape_interval="200ms",
                     keyframe_interval="1s").wait_ready()
    with hub.connect() as admin:
        make_global_stream(admin, leaves)
    receiver = world.receiver(hub, stub.url, stream={"stream": "GLOBAL"}, push={"publisher_label": True})
    for name, target in targets.items():
        path = f"/metrics/job/app/instance/a0/publisher/{name}"
        wait_flowing(stub, 15, 60, path)
        assert check_all(stub, target, path) >= 15
    assert receiver.total("keyframe_lookups_total", outcome="found") >= 4
    assert lost(receiver) == 0
