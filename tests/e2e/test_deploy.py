# SPDX-License-Identifier: Apache-2.0
"""docs/deploy.md, followed: three machines, each with a network and with an /etc and a /var/lib of its own, on
which the page's blocks are run and its files written as they stand. What is left out are packages and
services (the daemons are started as their units do)."""

import os
import pwd
import re
import shlex
import stat
import subprocess
import tempfile
from urllib.parse import quote

import pytest

from harness import http, namespaces
from harness.daemons import ROOT, build_folder
from harness.process import Process, wait_until
from harness.servers import find_binary
from harness.stubs import Target, text_answer


def why_not():
    """The page gives files to the user that nats-server's package makes."""
    try:
        user = pwd.getpwnam("nats")
        with tempfile.NamedTemporaryFile() as file:
            os.chown(file.name, user.pw_uid, user.pw_gid)
    except (KeyError, OSError) as error:
        return f"there is no user nats, or we may not give it files: {error}"
    return namespaces.why_not(mounts=True)


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
OURS = ("dc1-poller", "dc2-poller", "hub-receiver")
HOSTS = ("127.0.0.1 localhost", f"{namespaces.PREFIX}.1 nats.hub.example.net",
         f"{namespaces.PREFIX}.10 nats.dc1.example.net", f"{namespaces.PREFIX}.11 nats.dc2.example.net")


def blocks():
    with open(os.path.join(ROOT, "docs", "deploy.md"), encoding="utf-8") as file:
        found = re.findall(r"^```(?:sh|yaml) (\S+)\n(.*?)^```$", file.read(), re.M | re.S)
    made = dict(found)
    assert len(made) == len(found)
    return made


class Service:
    """A process on a machine, as part of a world."""

    def __init__(self, folder, name, argv):
        self.name, self.folder = name, os.path.join(str(folder), name)
        os.makedirs(self.folder)
        self.process = Process(name, argv, os.path.join(self.folder, "log"))

    def log(self):
        return self.process.log()

    def stop(self):
        status = self.process.stop()
        assert status == 0 or self.name not in OURS, f"{self.name} ended with {status}: {self.log()[-3000:]}"


class Follower:
    def __init__(self, world, folder):
        self.world = world
        self.blocks = blocks()
        self.done = set()
        self.servers = []
        self.network = world.add(namespaces.Network(["dc1", "dc2"], mounts=True))
        self.machines = {"hub": self.network.hub, **self.network.sites}
        self.folder = os.path.join(str(folder), "deploy")
        os.makedirs(self.folder)
        self.path = self._make_commands(folder)
        for machine in self.machines.values():
            self._write(machine, "/etc/hosts", "\n".join(HOSTS) + "\n")
            self.command(machine, "mkdir -p /etc/prometheus-streams /etc/prometheus")

    @staticmethod
    def _make_commands(folder):
        """The path to find commands by, a `nats` among them."""
        commands = os.path.join(str(folder), "bin")
        os.makedirs(commands)
        nats = os.path.join(commands, "nats")
        with open(nats, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec /usr/bin/python3 {ROOT}/tests/harness/nats_command.py "$@"\n')
        os.chmod(nats, stat.S_IRWXU)
        return f"{commands}:{build_folder()}:/usr/sbin:/usr/bin:/sbin:/bin"

    def _argv(self, machine, *argv):
        """In our folder: who enters other mounts begins at the root."""
        return ["nsenter", f"--target={machine.pid}", "--mount", "--net", "--", "env", f"--chdir={self.folder}",
                f"PATH={self.path}", f"TSAN_OPTIONS=suppressions={ROOT}/tests/tsan.supp", *argv]

    def command(self, machine, script, site=""):
        done = subprocess.run(self._argv(machine, "sh", "-euc", script), text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env={**os.environ, "SAMPLES": os.path.join(ROOT, "etc", "nats"), "site": site})
        assert done.returncode == 0, f"{script}\nends with {done.returncode}: {done.stdout}"
        return done.stdout

    def _write(self, machine, path, text):
        self.command(machine, f"cat >{shlex.quote(path)} <<'EOF'\n{text}EOF\n")

    def block(self, name):
        self.done.add(name)
        return self.blocks[name]

    def run(self, name, site):
        return self.command(self.machines[site], self.block(name), site)

    def write(self, name, site, path):
        """A file for dc1 as it stands; dc2 has its own name in it."""
        text = self.block(name)
        self._write(self.machines[site], path, text.replace("dc1", site) if site == "dc2" else text)

    def start(self, name, site, *argv):
        return self.world.add(Service(self.world.folder, f"{site}-{name}", self._argv(self.machines[site], *argv)))

    def wait(self, name, site, timeout=60):
        """Until a block succeeds."""
        def succeeds():
            try:
                return self.run(name, site)
            except AssertionError:
                return None
        return wait_until(succeeds, timeout, what=f"`{self.blocks[name].strip()}` at {site}", interval=0.5)

    def query(self, expression):
        """Of the central Prometheus: [(publisher, value)]."""
        with self.network.hub:
            answer = http.get_json(f"http://127.0.0.1:9090/api/v1/query?query={quote(expression)}")
        return sorted((row["metric"].get("publisher"), float(row["value"][1]))
                      for row in (answer["data"]["result"] if answer else []))


def prepare_nats(follower):
    for name in ("files", "passwords", "certificates"):
        follower.run(name, "hub")
    for site in ("hub", "dc1", "dc2"):
        follower.run("nats-server", site)
        follower.servers.append(follower.start("nats-server", site, find_binary("nats-server"), "-c",
                                               "/etc/nats-server.conf"))
    for site in ("dc1", "dc2"):
        follower.wait("streams-of-a-data-centre", site)
    follower.run("streams-of-the-hub", "hub")


def start_poller(follower, site):
    with follower.machines[site]:
        follower.world.add(Target({"/metrics": text_answer("# TYPE app gauge\napp 7\n")}, port=9100))
    follower.write("poller.yaml", site, "/etc/prometheus-streams/poller.yaml")
    assert f"poller {site}" in follower.run("poller", site)
    follower.start("poller", site, "prometheus-streams-poller", "--config", "/etc/prometheus-streams/poller.yaml")


def start_centre(follower):
    gateway = follower.block("prometheus-pushgateway")
    follower.start("pushgateway", "hub", "sh", "-c", f"{gateway}\nexec prometheus-pushgateway $ARGS")
    follower.write("receiver.yaml", "hub", "/etc/prometheus-streams/receiver.yaml")
    assert "receiver hub" in follower.run("receiver", "hub")
    follower.start("receiver", "hub", "prometheus-streams-receiver", "--config",
                   "/etc/prometheus-streams/receiver.yaml")
    follower.write("prometheus.yml", "hub", "/etc/prometheus/prometheus.yml")
    follower.write("streams.rules.yml", "hub", "/etc/prometheus/streams.rules.yml")
    follower.command(follower.network.hub, "promtool check config /etc/prometheus/prometheus.yml")
    follower.start("prometheus", "hub", find_binary("prometheus"), "--config.file=/etc/prometheus/prometheus.yml",
                   "--web.listen-address=127.0.0.1:9090", "--storage.tsdb.path=/var/lib/prometheus-data")


def test_the_page_followed(world, tmp_path):
    follower = Follower(world, tmp_path)
    prepare_nats(follower)
    for site in ("dc1", "dc2"):
        start_poller(follower, site)
    start_centre(follower)
    for site in ("dc1", "dc2"):
        follower.wait("look-at-the-poller", site)
    follower.wait("look-at-the-receiver", "hub")
    wait_until(lambda: follower.query('up{job="node",instance="127.0.0.1:9100",env="prod"}') == [
        ("dc1", 1.0), ("dc2", 1.0)], 120, what="both data centres are seen centrally", interval=0.5)
    assert follower.query('app{job="node"}') == [("dc1", 7.0), ("dc2", 7.0)]
    wait_until(lambda: follower.query('up{job="prometheus_streams"}') == [("dc1", 1.0), ("dc2", 1.0)], 60,
               interval=0.5)
    wait_until(lambda: follower.query("prometheus_streams_receiver_sink_ready"), 60, interval=0.5)
    assert not follower.query('ALERTS{alertname!="DataCentreSilent"}')
    for server in follower.servers:
        assert not re.findall(r".*[Vv]iolation.*", server.log())
    assert set(follower.blocks) == follower.done, "blocks that nobody followed"
