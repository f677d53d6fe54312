# SPDX-License-Identifier: Apache-2.0
"""The server configurations of etc/nats, run as they stand: enough for the main job, and not for more.
Wherever nothing else is said, one permission violation fails the test."""

import re

import pytest

from harness import frames, http, sites as harness_sites
from harness.daemons import Receiver
from harness.nats import Nats, NatsError
from harness.pki import Authority
from harness.process import free_port, wait_until
from harness.sites import Site
from harness.stubs import Target

BODY = "# TYPE app_requests counter\napp_requests 7\n"


class Sites(harness_sites.Sites):
    """With our daemons."""

    def poller(self, name, target, **settings):
        return self.world.poller(
            self.dcs[name], {"app": {"targets": [{"name": "a", "url": target.url}]}}, name=f"poller-{name}",
            identity=name, stream={**self.dcs[name].login(f"poller_{name}"), "stream": f"PROM_{name}",
                                   "create": False}, **settings)

    def receiver(self, user, client_id, gateway, **settings):
        return self.world.receiver(self.hub, gateway.url, push={"publisher_label": True}, stream={
            **self.hub.login(user), "stream": "GLOBAL", "client_id": client_id}, **settings)

    def federate(self, user, client_id):
        """(receiver whose only sink is /federate, its URL)"""
        port = free_port()
        receiver = self.world.add(Receiver(self.world.folder, {
            "identity": "hub", "federate": {"listen": f"127.0.0.1:{port}"}, "receiver_stream": {
                **self.hub.login(user), "stream": "GLOBAL", "topic": "prometheus", "client_id": client_id}}))
        return receiver.start(), f"http://127.0.0.1:{port}/federate"

    def check_no_violation(self, *daemons, but=None):
        """`but`: one subject that may be refused, once."""
        found = self.violations()
        if but is not None:
            assert any(but in line for line in found), found
            found.remove(next(line for line in found if but in line))
        assert not found
        for daemon in daemons:
            expected = 1 if but is not None and f"subject={but}" in daemon.log() else 0
            assert daemon.total("nats_permission_violations_total") == expected, daemon.log()[-3000:]


@pytest.fixture
def sites(world, tmp_path):
    made = Sites(world, tmp_path)
    yield made
    made.admin.close()


@pytest.fixture
def target(world):
    return world.add(Target({"/metrics": BODY}))


def refused(client, subject, body=b"", subscribe=False):
    """The server's words, or None if it let it pass."""
    before = len(client.errors)
    if subscribe:
        client.subscribe(subject, lambda _: None)
    else:
        client.publish(subject, body)
    client.flush()
    return client.errors[before] if len(client.errors) > before else None


@pytest.mark.parametrize("user,client_id,but", [
    ("receiver", "hub", None),
    # Whether it may look back it finds out by asking.
    ("receiver_bind", "recv", "$JS.API.CONSUMER.CREATE.GLOBAL"),
])
def test_main_job_without_a_violation(world, sites, target, user, client_id, but):
    gateway = world.gateway()
    sites.make_durable()
    pollers = [sites.poller(name, target) for name in sites.dcs]
    receiver = sites.receiver(user, client_id, gateway)
    for daemon in (*pollers, receiver):
        daemon.wait_ready(40)
    for name in sites.dcs:
        wait_until(lambda publisher=name: gateway.metrics().find("app_requests", publisher=publisher, instance="a"))
    sites.check_no_violation(*pollers, receiver, but=but)


def test_restart_after_a_crash_without_a_violation(world, sites, target):
    """Looking back included."""
    gateway = world.gateway()
    sites.poller("dc1", target)
    receiver = sites.receiver("receiver", "hub", gateway)
    wait_until(lambda: gateway.metrics().find("app_requests", publisher="dc1"), 40)
    receiver.kill()
    receiver.start()
    receiver.wait_ready(40)
    wait_until(lambda: receiver.total("pushes_total") > 0 or receiver.total("received_total") > 0)
    sites.check_no_violation(receiver)


def test_a_poller_speaks_for_its_data_centre_only(sites):
    with sites.dcs["dc1"].connect("poller_dc1") as client:
        for subject in ("prometheus.scrape.dc2.app.a.0", "prometheus.key.dc2.app.a.0.1", "prometheus",
                        "prometheus.scrape2.dc1.app.a.0", "prometheus_rpc.dc1.x",
                        "$JS.API.STREAM.DELETE.PROM_dc1", "$JS.API.STREAM.PURGE.PROM_dc1",
                        "$JS.API.STREAM.UPDATE.PROM_dc1", "$JS.API.STREAM.MSG.GET.PROM_dc1",
                        "$JS.API.CONSUMER.CREATE.PROM_dc1", "$JS.API.STREAM.CREATE.PROM_dc1", "$JS.API.STREAM.NAMES", "_INBOX_admin.x", "$JS.ACK.PROM_dc1.x"):
            assert refused(client, subject), f"{subject} passed"
        for subject in ("prometheus.>", "prometheus.scrape.dc1.>", "_INBOX.>", ">", "_INBOX_admin.>", "$JS.>"):
            assert refused(client, subject, subscribe=True), f"{subject} was subscribed to"
        for subject in ("prometheus.scrape.dc1.app.a.0", "prometheus.key.dc1.app.a.0.1",
                        "$JS.API.STREAM.INFO.PROM_dc1"):
            assert not refused(client, subject), subject


def test_a_data_centre_speaks_for_itself_only(sites):
    """Its own administrator, and its server, cannot bring anything under another's name to the hub."""
    with sites.dcs["dc2"].connect("admin") as local:
        before = local.stream_messages("PROM_dc2")
        in_hub = sites.admin.stream_messages("GLOBAL")
        hostile = Site(sites.world.folder, "hostile", sites.dcs["dc1"].text, Authority(
            sites.world.folder, "own").issue("x"), sites.authority.cert)
        # The same leaf account, by a server whose configuration its owner has opened.
        hostile.text = re.sub(r"permissions: \{.*?\} \}", "}", sites.dcs["dc1"].text, flags=re.S).replace(
            f"127.0.0.1:{sites.dcs['dc1'].port}", f"127.0.0.1:{hostile.port}").replace(
            f"{sites.dcs['dc1'].folder}/store", f"{hostile.folder}/store").replace("server_name: dc1", "server_name: bad")
        sites.dcs["dc1"].stop()
        sites.world.add(hostile.start())
        wait_until(lambda: sites.ask("dc1", "INFO"), 30, what="the hub hears the hostile server")
        with Nats(hostile.port, "admin", "CHANGE-ME-admin", ca=sites.authority.cert) as client:
            for _ in range(20):
                client.publish("prometheus.scrape.dc2.app.a.0", BODY.encode())
                client.publish("$JS.API.STREAM.DELETE.GLOBAL")
                client.publish("$JS.dc2.API.STREAM.DELETE.PROM_dc2")
                client.publish("$JS.hub.API.STREAM.DELETE.GLOBAL")
                client.flush()
                # What it answers the hub comes behind that, over the same connection.
                assert sites.ask("dc1", "INFO")
        assert local.stream_messages("PROM_dc2") == before
        assert sites.admin.stream_messages("GLOBAL") == in_hub


def test_a_leaf_connection_brings_nothing_else(sites):
    """The same without a server, by the protocol that leaf nodes speak."""
    overheard = []
    with sites.dcs["dc2"].connect("admin") as local, sites.hub.connect("receiver", "_INBOX_hub") as receiver, Nats(
            sites.leaf_port, "leaf_dc1", "CHANGE-ME-leaf_dc1", ca=sites.authority.cert, leaf=True) as leaf:
        receiver.subscribe("_INBOX_hub.>", overheard.append)
        receiver.flush()
        before, in_hub = local.stream_messages("PROM_dc2"), sites.admin.stream_messages("GLOBAL")
        for subject in ("prometheus.scrape.dc2.app.a.0", "prometheus.scrape.dc1.app.a.0", "copy.dc2.x",
                        "$JS.API.STREAM.DELETE.GLOBAL", "$JS.dc2.API.STREAM.DELETE.PROM_dc2",
                        "$JS.hub.API.STREAM.DELETE.GLOBAL", "_INBOX_hub.x",
                        "$JS.ACK.GLOBAL.recv_push_gateway.1.1.1.1.0"):
            leaf.send(f"LMSG {subject} 5\r\nhello\r\n".encode())
        leaf.flush()
        receiver.flush()
        # To its own data centre's stream it gets both scrapes, and the hub copies them as they are; into
        # the stream that receivers read comes that of its own name only.
        wait_until(lambda: sites.admin.stream_messages("COPY_dc1") == 2 and
                   sites.admin.stream_messages("GLOBAL") == in_hub + 1)
        frames_of = [sites.admin.stream_message("GLOBAL", in_hub + 1).subject]
        assert frames_of == ["prometheus.scrape.dc1.app.a.0"]
        assert not overheard
        assert local.stream_messages("PROM_dc2") == before
        assert sites.admin.stream_messages("GLOBAL") == in_hub + 1


@pytest.mark.parametrize("user", ["receiver", "receiver_bind", "reader"])
def test_receivers_do_not_publish_nor_listen(sites, user):
    with sites.hub.connect(user) as client:
        for subject in ("prometheus.scrape.dc1.app.a.0", "prometheus.key.dc1.app.a.0.1", "prometheus",
                        "$JS.API.STREAM.DELETE.GLOBAL", "$JS.API.STREAM.PURGE.GLOBAL",
                        "$JS.API.STREAM.UPDATE.GLOBAL", "$JS.API.STREAM.MSG.DELETE.GLOBAL",
                        "$JS.API.CONSUMER.DELETE.GLOBAL.recv_push_gateway", "$JS.dc1.API.STREAM.INFO.PROM",
                        "$JS.dc1.API.STREAM.DELETE.PROM_dc1", "_INBOX_admin.x", "_INBOX_poller_dc1.x"):
            assert refused(client, subject), f"{subject} passed"
        inboxes = {"receiver": "_INBOX_hub", "receiver_bind": "_INBOX_recv", "reader": "_INBOX_reader"}
        for name, inbox in inboxes.items():
            assert bool(refused(client, f"{inbox}.>", subscribe=True)) == (name != user), inbox
        for subject in ("_INBOX.>", "_INBOX_admin.>", ">", "prometheus.>", "$JS.>", "_INBOX*.>", "*.>"):
            assert refused(client, subject, subscribe=True), f"{subject} was subscribed to"


def test_a_reader_acknowledges_nothing(sites):
    with sites.hub.connect("reader") as client:
        for subject in ("$JS.ACK.GLOBAL.recv_push_gateway.1.1.1.1.0",
                        "$JS.API.CONSUMER.DURABLE.CREATE.GLOBAL.recv_push_gateway"):
            assert refused(client, subject), f"{subject} passed"


def test_a_reader_reads_the_newest(sites):
    """As an endpoint that shows the newest scrape of each target does at its start."""
    with sites.dcs["dc1"].connect("poller_dc1") as client:
        for number in range(3):
            frames.publish(client, "dc1", "app", "a", BODY, at_ms=frames.now_ms() + number)
        client.flush()
    wait_until(lambda: sites.admin.stream_messages("GLOBAL") == 3)
    with sites.hub.connect("reader") as reader:
        made = reader.api("CONSUMER.CREATE.GLOBAL", {"stream_name": "GLOBAL", "config": {
            "deliver_policy": "last_per_subject", "ack_policy": "none", "filter_subject": "prometheus.scrape.>",
            "inactive_threshold": 10_000_000_000}})
        message = reader.request(f"$JS.API.CONSUMER.MSG.NEXT.GLOBAL.{made['name']}", b"1")
        assert message.subject.startswith("prometheus.scrape.dc1.app.a.")
        keyed = reader.request("$JS.API.DIRECT.GET.GLOBAL." + message.subject)
        assert keyed.body == message.body
        assert not reader.errors
    sites.check_no_violation()


def test_federate_as_a_reader(sites, target):
    sites.poller("dc1", target)
    receiver, url = sites.federate("reader", "reader")
    receiver.wait_ready(40)
    wait_until(lambda: 'app_requests{job="app",instance="a",publisher="dc1"} 7 ' in http.get(url)[1], 40)
    sites.check_no_violation(receiver)


def without(site, right):
    assert right in site.text
    site.stop()
    site.text = site.text.replace(right, '"nothing.at.all"')
    site.start()


def test_poller_without_stream_info(world, sites, target):
    """Publishes all the same, and says once that it does not check."""
    without(sites.dcs["dc1"], '"$JS.API.STREAM.INFO.PROM_dc1"')
    poller = sites.poller("dc1", target)
    poller.wait_ready(40)
    wait_until(lambda: sites.reaches("dc1") and sites.reaches("dc1")["state"]["messages"] > 2, 40)
    assert "permission" in poller.log() and "STREAM.INFO" in poller.log()


def test_receiver_without_consumer_create(world, sites, target):
    """Delivers, but does not look back after a restart, and says so."""
    without(sites.hub, '"$JS.API.CONSUMER.CREATE.GLOBAL"')
    gateway = world.gateway()
    sites.poller("dc1", target)
    receiver = sites.receiver("receiver", "hub", gateway)
    receiver.wait_ready(40)
    receiver.stop()
    receiver.start()
    receiver.wait_ready(40)
    wait_until(lambda: gateway.metrics().find("app_requests", publisher="dc1"), 40)
    wait_until(lambda: "not looking back" in receiver.log())


def test_federate_without_consumer_create(sites):
    """Is not ready, here and there, and names the right."""
    without(sites.hub, '"$JS.API.CONSUMER.CREATE.GLOBAL"')
    receiver, url = sites.federate("reader", "reader")
    assert "$JS.API.CONSUMER.CREATE.GLOBAL" in receiver.wait_not_ready("permission", 40)
    status, text = http.get(url)
    assert status == 503 and "not ready" in text


def test_receiver_without_durable_create(world, sites):
    """Is not ready and names the right, until somebody has made the durable."""
    receiver = sites.receiver("receiver_bind", "recv", world.gateway())
    assert "CONSUMER.DURABLE.CREATE.GLOBAL.recv_push_gateway" in receiver.wait_not_ready("permission", 40)
    sites.make_durable()
    receiver.wait_ready(60)


def test_wrong_password_of_one_is_of_no_use_to_another(sites):
    with pytest.raises(NatsError, match="Authorization Violation"):
        Nats(sites.hub.port, "admin", "CHANGE-ME-reader", ca=sites.authority.cert, inbox="_INBOX_admin")
