# SPDX-License-Identifier: Apache-2.0
"""How fast a receiver that comes back passes what its stream has kept beyond max_age, beside a consumer that does
nothing but acknowledge. The durable is made before the backlog, as that of a receiver that was away."""

import collections
import json
import os
import subprocess
import time

import measure
from harness.daemons import Receiver
from harness.process import wait_until
from harness.servers import NatsServer

Size = collections.namedtuple("Size", "body_bytes messages")

SIZES = [Size(1600, 200_000), Size(9500, 100_000)]
STREAM, DURABLE, FLOOR = "BENCH", "bench_push_gateway", "bench_floor"
TARGETS = 5000
AGE_S = 3600


def run(build, *args):
    out = subprocess.run([os.path.join(build, "bench", "backlog"), *map(str, args)], capture_output=True, text=True,
                         check=True)
    return json.loads(out.stdout or "{}")


def fill(build, nats, size):
    run(build, "fill", nats.port, "bench", size.messages, size.body_bytes, TARGETS, AGE_S)


def us(seconds, size):
    return seconds / size.messages * 1e6


def drain(build, nats, client, size):
    """The floor: a durable with the receiver's settings."""
    client.api(f"CONSUMER.DURABLE.CREATE.{STREAM}.{FLOOR}", {"stream_name": STREAM, "config": {
        "durable_name": FLOOR, "deliver_policy": "all", "ack_policy": "explicit", "ack_wait": 90_000_000_000,
        "max_ack_pending": 1_000_000, "filter_subject": "bench.scrape.>", "replay_policy": "instant"}})
    before, begun = measure.cpu_seconds(nats.process.pid), time.monotonic()
    cpu = run(build, "drain", nats.port, STREAM, FLOOR, size.messages)["cpu_seconds"]
    wait_until(lambda: client.is_acked(STREAM, FLOOR), 60, what="the floor is through", interval=0.05)
    took = time.monotonic() - begun
    server = measure.cpu_seconds(nats.process.pid) - before
    return {"floor_per_s": size.messages / took, "floor_us": us(cpu, size), "floor_server_us": us(server, size)}


def come_back(nats, client, receiver, size):
    before, begun = measure.cpu_seconds(nats.process.pid), time.monotonic()
    with receiver:
        # Not the consumer's info, for which a server goes through all subjects.
        wait_until(lambda: receiver.total("acks_total") >= size.messages, 300, what="all is acked", interval=0.1)
        wait_until(lambda: client.is_acked(STREAM, DURABLE), what="the server knows", interval=0.05)
        took = time.monotonic() - begun
        cpu = measure.cpu_seconds(receiver.process.pid)
        server = measure.cpu_seconds(nats.process.pid) - before
        peak = measure.peak_megabytes(receiver.process.pid)
        passed = receiver.total("discards_total", reason="stale")
    assert passed == size.messages, f"{passed} of {size.messages} were passed as stale"
    return {"per_s": size.messages / took, "cpu_us": us(cpu, size), "server_us": us(server, size), "peak_mb": peak}


def pass_stale(folder, build, size):
    receiver = Receiver(folder, {
        "verbose": False, "push_gateway": {"url": "http://127.0.0.1:9"}, "receiver_stream": {
            "urls": None, "stream": STREAM, "topic": "bench", "client_id": "bench"}})
    with NatsServer(folder) as nats, nats.connect() as client:
        client.make_stream(STREAM, ("bench", "bench.>"), storage="memory")
        receiver.config["receiver_stream"]["urls"] = nats.url
        with receiver:
            wait_until(lambda: client.is_acked(STREAM, DURABLE), what="the durable is there")
        fill(build, nats, size)
        found = come_back(nats, client, receiver, size)
        return {**size._asdict(), **found, **drain(build, nats, client, size)}


def one_line(found):
    return (f"{found['messages']:,} stale messages of {found['body_bytes']} B: {found['per_s']:,.0f} a second, receiver "
            f"{found['cpu_us']:.1f} us, server {found['server_us']:.1f} us, {found['peak_mb']:.1f} MB; floor "
            f"{found['floor_per_s']:,.0f} a second, {found['floor_us']:.1f} and {found['floor_server_us']:.1f} us")
