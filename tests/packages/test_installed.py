# SPDX-License-Identifier: Apache-2.0
"""The main job, done by what a package has installed: started as the unit says it, as its user, with its
configuration, and told of by its service manager's protocol."""

import glob
import os
import re
import signal
import subprocess

import pytest
import yaml

import test_deb
import test_rpm
import test_units
from harness import http
from harness.manager import Manager
from harness.pki import Authority
from harness.process import Process, free_port, wait_until
from harness.servers import NatsServer, NodeExporter, Prometheus, PushGateway
from harness.sites import Sites

USER = "prometheus-streams"


class Service:
    """A unit's ExecStart in a scratch root."""

    def __init__(self, root, folder, unit, wrapper=()):
        kind = re.search("poller|receiver", unit).group()
        text = root.read(os.path.join(unit_folder(root), unit))
        start = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE).group(1).split()
        self.manager = Manager()
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": self.manager.address, "WATCHDOG_USEC": "400000"}
        self.process = Process(kind, [*wrapper, "chroot", f"--userspec={USER}:{USER}", root.path, *start],
                               os.path.join(str(folder), f"{kind}.log"), env=env)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)  # a tracer keeps it from reaching its child
        wait_until(lambda: not self.process.is_running(), 30)
        assert self.process.stop() == 0, self.process.log()
        self.manager.wait("STOPPING=1")


def unit_folder(root):
    return next(folder for folder in ("/usr/lib/systemd/system", "/lib/systemd/system")
                if root.exists(f"{folder}/prometheus-streams-poller.service"))


def configure(root, kind, **keys):
    """Changes keys of the installed sample."""
    path = f"/etc/prometheus-streams/{kind}.yaml"
    config = yaml.safe_load(root.read(path))
    for key, value in keys.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    root.write(path, yaml.safe_dump(config))


class Chain:
    """Exporter, NATS, poller, receiver, gateway, Prometheus."""

    def __init__(self, root, folder):
        self.root, self.folder, self.parts = root, folder, []
        self.nats = NatsServer(folder)
        self.gateway = self.add(PushGateway(folder).start())
        exporter = self.add(NodeExporter(folder).start())
        self.ports = {"poller": free_port(), "receiver": free_port()}
        configure(root, "poller", identity="dc1", scrape_interval="1s", scrape_timeout="1s",
                  monitor_port=self.ports["poller"],
                  poller_stream={"urls": self.nats.url, "create": True},
                  jobs={"node": {"targets": [{"name": "web1", "url": f"{exporter.url}/metrics"}]}})
        configure(root, "receiver", monitor_port=self.ports["receiver"],
                  receiver_stream={"urls": self.nats.url}, push_gateway={"url": self.gateway.url})
        self.central = self.add(Prometheus(folder, [
            {"job_name": "gateway", "honor_labels": True,
             "static_configs": [{"targets": [f"127.0.0.1:{self.gateway.port}"]}]}]).start())

    def add(self, part):
        self.parts.append(part)
        return part

    def start(self, kind, wrapper=()):
        return self.add(Service(self.root, self.folder, f"prometheus-streams-{kind}.service", wrapper))

    def wait_for_data(self):
        wait_until(lambda: self.central.query('node_load1{job="node",instance="web1",publisher="dc1"}'), 40)
        wait_until(lambda: [value for _, value in self.central.query('up{job="node"}')] == [1.0], 20)

    def close(self):
        problems = []
        for part in reversed(self.parts):
            try:
                part.stop()
            except AssertionError as problem:
                problems.append(str(problem))
        assert not problems, "\n".join(problems)


def put(root, source, name, mode="0644"):
    """Where a configuration may name it; for root and the daemons."""
    root.run("install", "-m", mode, "-g", USER, root.bring(source), f"/etc/prometheus-streams/{name}")


class Secured:
    """A chain with the NATS servers that the installed samples describe: TLS, and no right too many. Each
    daemon has a server, a user and a stream of its own."""

    USERS = {"poller": "poller_dc1", "receiver": "receiver"}

    def __init__(self, chain):
        self.chain, self.root = chain, chain.root
        samples, = glob.glob(self.root.inside("/usr/share/doc/prometheus-streams-receiver*/examples/nats"))
        self.sites = Sites(chain, chain.folder, lambda name: self.root.read(f"{samples[len(self.root.path):]}/{name}"))
        self.servers = {"poller": self.sites.dcs["dc1"], "receiver": self.sites.hub}
        self._log_in("poller", stream="PROM_dc1", create=False)
        self._log_in("receiver", stream="GLOBAL", client_id="hub")

    def _log_in(self, kind, **keys):
        login = self.servers[kind].login(self.USERS[kind])
        password = os.path.join(str(self.chain.folder), f"nats-{kind}.password")
        with open(password, "w", encoding="ascii") as file:
            file.write(login.pop("password") + "\n")
        self.put(password, f"nats-{kind}.password", "0640")
        configure(self.root, kind, **{f"{kind}_stream": {
            **login, **keys, "password_file": f"/etc/prometheus-streams/nats-{kind}.password",
            "tls": {"ca": "/etc/prometheus-streams/ca.pem"}}})

    def put(self, source, name, mode="0644"):
        """Where the configurations name it; for root and the daemons."""
        self.root.run("install", "-m", mode, "-g", USER, self.root.bring(source), f"/etc/prometheus-streams/{name}")

    def connection(self, kind):
        """The only one to the daemon's server but for the administrator's: (user, TLS version)."""
        answer = http.get_json(f"http://127.0.0.1:{self.servers[kind].monitor_port}/connz?auth=1")
        row, = (row for row in answer["connections"] if row["authorized_user"] != "admin")
        return row["authorized_user"], row.get("tls_version")

    def violations(self, kind):
        """As the daemon counts them."""
        samples = http.scrape(f"http://127.0.0.1:{self.chain.ports[kind]}/metrics")
        return samples.total(f"prometheus_streams_{kind}_nats_permission_violations_total")


@pytest.fixture(params=["deb", "rpm"])
def installed(request, root):
    """A root with both packages."""
    if request.param == "deb":
        test_deb.install(root, request.getfixturevalue("debs"))
    else:
        test_rpm.install(root, request.getfixturevalue("rpms"))
    return root


@pytest.fixture
def chain(installed, tmp_path):
    made = Chain(installed, tmp_path)
    yield made
    made.close()


@pytest.fixture
def secured(chain):
    made = Secured(chain)
    yield made
    made.sites.admin.close()


def test_the_main_job(chain):
    poller = chain.start("poller")
    poller.manager.wait("READY=1")  # though there is no NATS yet: that is the status' business
    poller.manager.wait_for_line("STATUS=not ready: ")
    chain.add(chain.nats.start())
    receiver = chain.start("receiver")
    receiver.manager.wait("READY=1")
    for service in (poller, receiver):
        service.manager.wait("STATUS=ready")
        service.manager.wait("WATCHDOG=1")
    chain.wait_for_data()
    for service in (poller, receiver):
        service.process.signal(signal.SIGHUP)  # ExecReload
        wait_until(lambda: "log file reopened" in service.process.log())
        assert service.process.is_running()


def test_the_main_job_with_tls_and_no_right_too_many(chain, secured):
    """From dc1 over its leaf node to the hub; one violation anywhere fails the test."""
    secured.put(Authority(chain.folder, "other").cert, "ca.pem")
    services = {kind: chain.start(kind) for kind in ("poller", "receiver")}
    for service in services.values():  # the servers' certificates are of another authority than this one
        service.manager.wait_for_line("STATUS=not ready: ", "TLS: ")
    secured.put(secured.sites.authority.cert, "ca.pem")
    for service in services.values():
        service.manager.wait("STATUS=ready")
    chain.wait_for_data()
    for kind, service in services.items():
        user, tls = secured.connection(kind)
        assert user == secured.USERS[kind] and tls.startswith("1.")
        assert secured.violations(kind) == 0, service.process.log()[-3000:]
    assert not secured.sites.violations()
    with secured.sites.dcs["dc1"].connect("poller_dc1") as client:
        client.publish("prometheus.scrape.dc2.node.web1.0")
        client.flush()
    assert secured.sites.violations(), "one would have been seen"


def test_exposure(installed):
    """Of the units as the packages have them."""
    for unit in test_units.UNITS:
        assert test_units.exposure(installed.path, unit) <= test_units.MAX_EXPOSURE


def test_an_instance_has_a_configuration_of_its_own(root, debs, tmp_path):
    test_deb.install(root, debs)
    port = free_port()
    configure(root, "poller", monitor_port=port)
    root.run("cp", "-p", "/etc/prometheus-streams/poller.yaml", "/etc/prometheus-streams/poller-dc7.yaml")
    text = root.read(os.path.join(unit_folder(root), "prometheus-streams-poller@.service"))
    root.write("/tmp/prometheus-streams-poller.service", text.replace("%i", "dc7"))
    root.run("rm", "/etc/prometheus-streams/poller.yaml")
    service = Service(root, tmp_path, "../../../../tmp/prometheus-streams-poller.service")
    try:
        wait_until(lambda: http.get(f"http://127.0.0.1:{port}/-/healthy")[0] == 200)
    finally:
        service.stop()


def allowed_calls(root):
    """The system calls that the units leave, by their own words."""
    def expand(name):
        text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True,
                              check=True).stdout
        words = [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
        return {call for word in words for call in (expand(word) if word.startswith("@") else {word})}

    unit = root.read(os.path.join(unit_folder(root), "prometheus-streams-poller.service"))
    allowed = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        calls = {call for word in words.lstrip("~").split() for call in expand(word)}
        allowed = allowed - calls if words.startswith("~") else allowed | calls
    assert 100 < len(allowed) < 350
    return allowed


def test_the_sandbox_allows_what_they_do(chain):
    """Without a systemd to run them: what they ask of the kernel is held against the units' words."""
    logs = {kind: os.path.join(str(chain.folder), f"{kind}.strace") for kind in ("poller", "receiver")}
    chain.add(chain.nats.start())
    for kind, log in logs.items():
        # The tracer's own child is chroot; what is looked at begins behind its last step.
        chain.start(kind, ["strace", "-f", "-qq", "-o", log])
    chain.wait_for_data()
    allowed = allowed_calls(chain.root)
    for kind, log in logs.items():
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        ours = text[text.index(f'execve("/usr/bin/prometheus-streams-{kind}"'):]
        calls = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", ours, re.MULTILINE))
        assert {"socket", "epoll_ctl", "sendto"} <= calls
        # To raise the limit of descriptors; the unit has set it, and a refusal is no error.
        assert calls - allowed - {"prlimit64"} == set()
        assert set(re.findall(r"socket\((AF_\w+)", ours)) - {"AF_NETLINK"} <= {"AF_INET", "AF_INET6", "AF_UNIX"}
        written = set(re.findall(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]+)", [^)]*(?:O_WRONLY|O_RDWR|O_CREAT)', ours))
        assert {path for path in written if not path.startswith(("/var/lib/prometheus-streams/",
                                                                "/var/log/prometheus-streams/", "/dev/"))} == set()
