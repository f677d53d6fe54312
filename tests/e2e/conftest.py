# SPDX-License-Identifier: Apache-2.0
"""Fixtures: every test gets servers of its own and everything it started is stopped, checked, and
on failure shown."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.daemons import Daemon, Poller, Receiver  # noqa: E402
from harness.servers import NatsServer, NodeExporter, PushGateway  # noqa: E402

STREAM = "PROM"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


class World:
    """What a test builds; closed in reverse order."""

    def __init__(self, folder):
        self.folder = folder
        self.parts = []

    def add(self, part):
        self.parts.append(part)
        return part

    def nats(self, **settings):
        return self.add(NatsServer(self.folder, **settings).start())

    def gateway(self, **settings):
        return self.add(PushGateway(self.folder, **settings).start())

    def node_exporter(self):
        return self.add(NodeExporter(self.folder).start())

    def poller(self, nats, jobs, start=True, wait=True, stream=None, name=None, args=(), env=None, **config):
        """`jobs` in the original's form; `stream` overrides keys of poller_stream."""
        section = {"urls": nats.url, "stream": STREAM, "topic": "prometheus", "create": True, **(stream or {})}
        daemon = Poller(self.folder, {"identity": "dc1", "scrape_interval": "1s", "poller_stream": section,
                                      "jobs": jobs, **config}, name=name, args=args, env=env)
        self.add(daemon)
        return daemon.start(wait) if start else daemon

    def receiver(self, nats, gateway_url=None, start=True, wait=True, stream=None, name=None, args=(), env=None,
                 push=None, **config):
        """`stream` overrides keys of receiver_stream, `push` of push_gateway, which is left out without a URL."""
        section = {"urls": nats.url, "stream": STREAM, "topic": "prometheus", "client_id": "recv",
                   **(stream or {})}
        if gateway_url is not None:
            config["push_gateway"] = {"url": gateway_url, **(push or {})}
        daemon = Receiver(self.folder, {"identity": "hub", "receiver_stream": section, **config}, name=name, args=args,
                          env=env)
        self.add(daemon)
        return daemon.start(wait) if start else daemon

    def close(self):
        problems = []
        for part in reversed(self.parts):
            try:
                part.stop()
            except AssertionError as problem:
                problems.append(str(problem))
        return problems

    def logs(self):
        shown = []
        for part in self.parts:
            folder = getattr(part, "folder", None)
            path = os.path.join(folder, "log") if folder else None
            if path and os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    shown.append(f"--- {part.name}\n{file.read()[-5000:]}")
        return "\n".join(shown)


@pytest.fixture
def world(tmp_path, request):
    made = World(tmp_path)
    yield made
    problems = made.close()
    failed = getattr(request.node, "report_call", None)
    if problems or (failed is not None and failed.failed):
        print(made.logs())
    assert not problems, "\n".join(problems)


@pytest.fixture
def nats(world):
    return world.nats()


@pytest.fixture
def client(nats):
    """A connection of the test's own; the stream is there."""
    with nats.connect() as connection:
        connection.make_stream(STREAM)
        yield connection
