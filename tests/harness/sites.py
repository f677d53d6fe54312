# SPDX-License-Identifier: Apache-2.0
"""Servers with the configurations of etc/nats, of which only ports, folders and files are replaced."""

import os
import re

from . import http
from .daemons import ROOT
from .nats import Nats
from .process import free_port
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

    def violations(self):
        return re.findall(r".*(?:[Vv]iolation|not permitted|not allowed).*", self.process.log())
