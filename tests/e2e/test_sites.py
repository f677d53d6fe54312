# SPDX-License-Identifier: Apache-2.0
"""A hub and two data centres, each in a network of its own, with the configurations of etc/nats. The
line of one is cut, its server killed, or the line is bad; what is asserted is what the centre sees.
Each test prints its counts."""

import json
import re
import time

import pytest

from harness import namespaces
from harness.nats import NatsError
from harness.pki import Authority
from harness.process import wait_until
from harness.sites import Site, etc
from harness.stubs import Gateway, Target, text_answer

NAMES = ("dc1", "dc2")
TARGETS = ("a", "b", "c")
MAX_AGE = 10
# Between the receiver's look at a scrape's age and our clock at the gateway, on a busy machine.
SLACK = 2
# What takes minutes by default, in seconds: that a line is dead is noticed by pings.
FAST = 'ping_interval: "1s"\nping_max: 5\nwrite_deadline: "2s"\n'
TIME = re.compile(r"^prometheus_streams_scrape_timestamp_seconds(?:\{[^}]*\})? (\S+)$", re.M)
PATH = re.compile(r"^/metrics/job/app/instance/(\w)/publisher/(dc\d)$")

WHY_NOT = namespaces.why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


class Push:
    def __init__(self, method, path, body, begin):
        self.method, self.begin = method, begin
        self.instance, self.publisher = PATH.match(path).groups()
        self.scraped = float(TIME.search(body).group(1)) if method == "PUT" else None
        self.up = re.search(r"^up(?:\{[^}]*\})? (\S+)$", body, re.M)
        self.up = self.up and float(self.up.group(1))


class Sites:
    """All of it, with the two sinks of one receiver: a Push Gateway, and a recorder of what is pushed."""

    def __init__(self, world, folder):
        self.world = world
        self.network = world.add(namespaces.Network(NAMES))
        self.authority = Authority(folder)
        self.certificate = self.authority.issue("server", f"IP:127.0.0.1,IP:{namespaces.PREFIX}.1")
        self.hub = self._server("hub", self.network.hub, etc("hub.conf"))
        self.dcs, self.pollers = {}, {}
        for name in NAMES:
            self._start_data_centre(name)
        self._copy_at_the_hub()
        with self.network.hub:
            self.gateway = world.gateway(flags=["--push.disable-consistency-check"])
            self.recorder = world.add(Gateway())
            self.receiver = world.receiver(
                self.hub, None, wait=False, max_age=MAX_AGE, stream={**self.hub.login("receiver"),
                                                                     "stream": "GLOBAL", "client_id": "hub"},
                push_gateway=[{"name": "gateway", "url": self.gateway.url, "publisher_label": True},
                              {"name": "recorder", "url": self.recorder.url, "publisher_label": True}])
            self.receiver.wait_ready(60)
        self.began = time.time()

    def at(self, name):
        return self.network.sites[name]

    def _server(self, name, namespace, text):
        text = text.replace("nats.hub.example.net", f"{namespaces.PREFIX}.1")
        with namespace:
            site = Site(self.world.folder, name, text + FAST, self.certificate, self.authority.cert)
            return self.world.add(site.start())

    def _start_data_centre(self, name):
        server = self.dcs[name] = self._server(name, self.at(name), etc("dc1.conf").replace("dc1", name))
        with self.at(name):
            with server.connect("admin") as admin:
                admin.api(f"STREAM.CREATE.PROM_{name}", json.loads(etc("PROM_dc1.json").replace("dc1", name)))
            target = self.world.add(Target({"/metrics": text_answer("# TYPE app_requests counter\napp_requests 7\n")}))
            self.pollers[name] = self.world.poller(
                server, {"app": {"targets": [{"name": target_name, "url": f"{target.url}/metrics?{target_name}"}
                                             for target_name in TARGETS]}},
                name=f"poller-{name}", identity=name, monitor_port=0, wait=False,
                stream={**server.login(f"poller_{name}"), "stream": f"PROM_{name}", "create": False})

    def _copy_at_the_hub(self):
        with self.network.hub, self.hub.connect("admin") as admin:
            def reaches(name):
                try:
                    return admin.api(f"STREAM.INFO.PROM_{name}", domain=name)
                except NatsError:
                    return None
            for name in NAMES:
                wait_until(lambda domain=name: reaches(domain), 60, what=f"the hub reaches {name}")
                admin.api(f"STREAM.CREATE.COPY_{name}", json.loads(etc("COPY_dc1.json").replace("dc1", name)))
            admin.api("STREAM.CREATE.GLOBAL", json.loads(etc("GLOBAL.json")))

    # What the centre sees

    def pushes(self, publisher, method="PUT", since=0, until=float("inf")):
        made = [Push(*push[:4]) for push in list(self.recorder.pushes)
                if f"/publisher/{publisher}" in push[1] and push[0] == method]
        return [push for push in made if since <= push.begin < until]

    def wait_fresh(self, publisher, since, timeout=60):
        """Until each of its targets has been pushed with a scrape made after `since`."""
        def is_fresh():
            return {push.instance for push in self.pushes(publisher) if push.scraped >= since} == set(TARGETS)
        wait_until(is_fresh, timeout, what=f"fresh scrapes of {publisher} at the centre", interval=0.2)

    def wait_silent(self, publisher, since):
        """Until the groups of all its targets have been deleted."""
        def is_silent():
            return {push.instance for push in self.pushes(publisher, "DELETE", since)} == set(TARGETS)
        wait_until(is_silent, 60, what=f"the groups of {publisher} are deleted", interval=0.2)

    def stored(self, server, user, stream, name):
        """{(subject, time)} of what a stream holds of one data centre, and how many messages that is."""
        with server.connect(user) as admin:
            messages = [message for message in admin.all_messages(stream)
                        if message.subject.startswith(f"prometheus.scrape.{name}.")]
        return {(message.subject, message.headers["Ps-Time"]) for message in messages}, len(messages)

    def settle(self):
        """Stops the pollers; then waits until the centre has all that was published, and has dealt with it."""
        local = {}
        for name, poller in self.pollers.items():
            poller.stop()
            with self.at(name):
                local[name] = self.stored(self.dcs[name], "admin", f"PROM_{name}", name)
        with self.network.hub, self.hub.connect("admin") as admin:
            total = sum(count for _, count in local.values())
            wait_until(lambda: admin.stream_messages("GLOBAL") >= total, 90, interval=0.3,
                       what=f"the hub has all {total}")
            for sink in ("gateway", "recorder"):
                wait_until(lambda durable=f"hub_{sink}": admin.is_acked("GLOBAL", durable), 60, interval=0.2)
        return local

    def check_nothing_is_lost(self, local):
        with self.network.hub:
            for name in NAMES:
                central, count = self.stored(self.hub, "admin", "GLOBAL", name)
                missing = sorted(local[name][0] - central)
                assert not missing, f"{len(missing)} of {name}'s {len(local[name][0])}: {missing[:5]}"
                assert count == len(central) == local[name][1], f"{name}: stored twice"
                newest = {subject: at for subject, at in sorted(central, key=lambda each: int(each[1]))}
                for subject, at in newest.items():
                    instance = subject.split(".")[4]
                    last = [push for push in self.pushes(name) if push.instance == instance][-1]
                    assert round(last.scraped * 1000) == int(at), f"{subject}: the newest is not what was pushed last"

    def check_order_and_age(self):
        """The newest wins: no scrape after a later one of its target; and none that is too old."""
        for name in NAMES:
            newest = {}
            for push in self.pushes(name):
                assert push.scraped >= newest.get(push.instance, 0), f"{name} {push.instance}: older after newer"
                newest[push.instance] = push.scraped
                age = push.begin - push.scraped
                assert age <= MAX_AGE + SLACK, f"{name} {push.instance}: pushed {age:.1f}s old"

    def check_accounts(self):
        """Every message has one fate; nothing was refused. Returns the recorder's counts."""
        with self.network.hub:
            metrics = self.receiver.metrics()
        prefix = "prometheus_streams_receiver_"
        for sink in ("gateway", "recorder"):
            count = {name: metrics.total(f"{prefix}{name}_total", sink=sink) for name in ("received", "delivered")}
            for reason in ("stale", "superseded"):
                count[reason] = metrics.total(f"{prefix}discards_total", sink=sink, reason=reason)
            assert metrics.total(f"{prefix}discards_total", sink=sink) == count["stale"] + count["superseded"]
            assert count["received"] == count["delivered"] + count["stale"] + count["superseded"], count
        return {name: int(value) for name, value in count.items()}

    def check_undisturbed(self, name, since, until):
        """Never silent at the centre, and never down, between two times."""
        assert not self.pushes(name, "DELETE", since, until)
        for instance in TARGETS:
            seen = [push for push in self.pushes(name) if push.instance == instance]
            assert all(push.up == 1 for push in seen)
            times = [since, *(push.begin for push in seen if since <= push.begin < until), until]
            gap = max(later - before for before, later in zip(times, times[1:]))
            assert gap < MAX_AGE, f"{name} {instance}: nothing for {gap:.1f}s"

    def check(self, what, since, until):
        """All that holds whatever has happened to dc1 from `since` to `until`; prints the counts."""
        local = self.settle()
        self.check_nothing_is_lost(local)
        self.check_order_and_age()
        count = self.check_accounts()
        self.check_undisturbed("dc2", since, until)
        backlog = [at for _, at in local["dc1"][0] if since <= int(at) / 1000 < until]
        pushed = [push for push in self.pushes("dc1") if since <= push.scraped < until]
        print(f"\n{what}: {until - since:.0f}s; scrapes stored at dc1 {local['dc1'][1]} ({len(backlog)} meanwhile), "
              f"dc2 {local['dc2'][1]}; at the hub all of them, once. Receiver: " +
              ", ".join(f"{value} {name}" for name, value in count.items()) +
              f"; of dc1's scrapes meanwhile {len(pushed)} pushed; dc2 pushed meanwhile "
              f"{len(self.pushes('dc2', since=since, until=until))}")
        return count, backlog, pushed


@pytest.fixture
def sites(world, tmp_path):
    made = Sites(world, tmp_path)
    for name in NAMES:
        made.wait_fresh(name, made.began)
    return made


def test_line_cut_and_restored(sites):
    cut = time.time()
    sites.network.lines["dc1"].cut()
    sites.wait_silent("dc1", cut)
    # Of what waits at dc1 some is too old by now, and some is not.
    sites.wait_fresh("dc2", time.time() + MAX_AGE)
    restored = time.time()
    sites.network.lines["dc1"].restore()
    sites.wait_fresh("dc1", restored)
    fresh = time.time()
    with sites.network.hub:
        assert len(sites.gateway.metrics().find("app_requests", publisher="dc1")) == len(TARGETS)
    count, backlog, pushed = sites.check("line cut", cut, restored)
    print(f"fresh again {fresh - restored:.1f}s after the line was back")
    assert len(backlog) > len(TARGETS) * MAX_AGE and count["stale"] > 0
    assert len(pushed) < len(backlog)


def test_server_of_a_data_centre_killed(sites):
    """The poller holds on to its scrapes meanwhile, and the stream to what it had."""
    killed = time.time()
    with sites.at("dc1"):
        sites.dcs["dc1"].kill()
    sites.wait_silent("dc1", killed)
    restarted = time.time()
    with sites.at("dc1"):
        sites.dcs["dc1"].start()
    sites.wait_fresh("dc1", restarted)
    fresh = time.time()
    _, backlog, _ = sites.check("server killed", killed, restarted)
    print(f"fresh again {fresh - restarted:.1f}s after the start of the server")
    assert len(backlog) > len(TARGETS) * MAX_AGE / 2


def test_slow_and_lossy_line(sites):
    """As from one continent to another, on a bad day: nobody is silent, and nothing is missing."""
    since = time.time()
    by = sites.network.lines["dc1"].impair(delay_ms=120, loss=3)
    sites.wait_fresh("dc1", since + 3 * MAX_AGE, 90)
    until = time.time()
    wire = sites.network.lines["dc1"].wire
    assert wire is None or (wire.lost > 0 and wire.carried > wire.lost)
    _, backlog, pushed = sites.check(f"120 ms and 3 % loss each way, by {by}", since, until)
    sites.check_undisturbed("dc1", since + MAX_AGE, until)
    assert len(pushed) > len(backlog) / 2
