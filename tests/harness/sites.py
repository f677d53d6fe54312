# SPDX-License-Identifier: Apache-2.0
"""Servers with the configurations of etc/nats, of which only ports, folders and files are replaced."""

import json
import os
import re

from . import http
from .daemons import ROOT
from .nats import Nats, NatsError
from .pki import Authority
from .process import free_port, wait_until
from .servers import Server, find_binary


def etc(name):
    with open(os.path.join(ROOT, "etc", "nats", name), encoding="utf-8") as file:
        return file.read()


class Site(Server):
    """`text`: a configuration as in etc/nats."""

    def __init__(self, folder, name, text, certificate, ca):
        self.name = name
        super().__init__(folder)
        self.monitor_port = free_port()
        self.ca = ca
        for old, new in (("0.0.0.0:4222", f"127.0.0.1:{self.port}"), ("/var/lib/nats", f"{self.folder}/store"),
                         ("/etc/nats/tls/server.pem", certificate.cert), ("/etc/nats/tls/ca.pem", ca),
                         ("/etc/nats/tls/server.key", certificate.key)):
            text = text.replace(old, new)
        self.text = text

    def argv(self):
        path = os.path.join(self.folder, "nats.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.text + f'\nhttp: "127.0.0.1:{self.monitor_port}"\n')
        return [find_binary("nats-server"), "-c", path]

    def answers(self):
        return http.get(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=2)[0] == 200

    def connect(self, user, inbox=None):
        return Nats(self.port, user, f"CHANGE-ME-{user}", ca=self.ca, inbox=inbox or f"_INBOX_{user}")

    def login(self, user):
        """The same, for the section of a stream in a daemon's configuration."""
        return {"urls": f"127.0.0.1:{self.port}", "user": user, "password": f"CHANGE-ME-{user}", "tls": {"ca": self.ca}}

    def violations(self):
        return re.findall(r".*(?:[Vv]iolation|not permitted|not allowed).*", self.process.log())


class Sites:
    """A hub and two data centres, with their streams. `read`: etc/nats, or files installed from it."""

    def __init__(self, world, folder, read=etc):
        self.world, self.read = world, read
        self.authority = Authority(folder)
        certificate = self.authority.issue("server")
        leaf_port = self.leaf_port = free_port()
        hub = read("hub.conf").replace("0.0.0.0:7422", f"127.0.0.1:{leaf_port}")
        self.hub = world.add(Site(folder, "hub", hub, certificate, self.authority.cert).start())
        self.dcs = {}
        for name in ("dc1", "dc2"):
            text = read("dc1.conf").replace("nats.hub.example.net:7422", f"127.0.0.1:{leaf_port}").replace("dc1", name)
            self.dcs[name] = world.add(Site(folder, name, text, certificate, self.authority.cert).start())
            with self.dcs[name].connect("admin") as admin:
                admin.api(f"STREAM.CREATE.PROM_{name}", json.loads(read("PROM_dc1.json").replace("dc1", name)))
        self.admin = self.hub.connect("admin")
        for name in self.dcs:
            wait_until(lambda domain=name: self.reaches(domain), 30, what=f"the hub reaches {name}")
        for name in self.dcs:
            self.admin.api(f"STREAM.CREATE.COPY_{name}", json.loads(read("COPY_dc1.json").replace("dc1", name)))
        self.admin.api("STREAM.CREATE.GLOBAL", json.loads(read("GLOBAL.json")))

    def ask(self, domain, what):
        """A data centre's JetStream, over its leaf node; None while it does not answer."""
        try:
            return self.admin.api(what, domain=domain)
        except NatsError:
            return None

    def reaches(self, domain):
        return self.ask(domain, f"STREAM.INFO.PROM_{domain}")

    def make_durable(self):
        """That of a receiver that may only bind."""
        self.admin.api("CONSUMER.DURABLE.CREATE.GLOBAL.recv_push_gateway", {
            "stream_name": "GLOBAL", "config": json.loads(self.read("recv_push_gateway.json"))})

    def violations(self):
        return [line for site in (self.hub, *self.dcs.values()) for line in site.violations()]
