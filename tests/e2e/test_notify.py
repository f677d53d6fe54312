# SPDX-License-Identifier: Apache-2.0
"""What a service manager is told."""

import pytest

from conftest import STREAM
from harness.manager import Manager
from harness.process import free_port, wait_until
from harness.servers import NatsServer
from harness.stubs import Target

BODY = "# TYPE app_requests counter\napp_requests 1\n"


def start(world, kind, nats, **keys):
    if kind == "poller":
        target = world.add(Target({"/metrics": BODY}))
        return world.poller(nats, {"a": {"targets": [{"url": f"{target.url}/metrics"}]}}, **keys)
    return world.receiver(nats, f"http://127.0.0.1:{free_port()}", **keys)


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_ready_without_nats_which_is_the_status_business(world, kind):
    nats, manager = world.add(NatsServer(world.folder)), Manager()
    daemon = start(world, kind, nats, env={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"})
    manager.wait("READY=1")
    manager.wait_for_line("STATUS=not ready: ")
    manager.wait("WATCHDOG=1")
    assert not daemon.ready()[0]
    nats.start()
    if kind == "poller":
        manager.wait("STATUS=ready")
    else:
        with nats.connect() as client:
            client.make_stream(STREAM)
        # Of the gateway, which is not there; no NATS is no reason any more.
        wait_until(lambda: "NATS" not in [line for line in manager.told if line.startswith("STATUS=")][-1])
    daemon.stop()
    manager.wait("STOPPING=1")
    assert manager.told.count("READY=1") == 1


def test_a_socket_that_is_none_is_warned_of(world, nats):
    poller = start(world, "poller", nats, env={"NOTIFY_SOCKET": "vsock:2:1"})
    poller.wait_ready()
    assert "NOTIFY_SOCKET" in poller.log()
