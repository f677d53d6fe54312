# SPDX-License-Identifier: Apache-2.0
"""A service manager's end of sd_notify's protocol."""

import socket
import threading
import uuid

from .process import wait_until


class Manager:
    """Hears what systemd would be told, and at once: a few datagrams fill a socket."""

    def __init__(self):
        self.address = f"@prometheus-streams-{uuid.uuid4().hex}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + self.address[1:])
        self.told = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            self.told += self.socket.recv(4096).decode().splitlines()

    def wait(self, message, timeout=30):
        wait_until(lambda: message in self.told, timeout, what=f"{message!r} is heard; so far: {self.told}")

    def wait_for_line(self, beginning, part=""):
        wait_until(lambda: any(line.startswith(beginning) and part in line for line in self.told),
                   what=f"a line {beginning!r} with {part!r} is heard; so far: {self.told}")
