# SPDX-License-Identifier: Apache-2.0
"""Child processes, free ports and waiting."""

import fcntl
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

# Sanitizer builds and valgrind are slower; deadlines (never the things measured) stretch with this.
TIME_SCALE = float(os.environ.get("TIME_SCALE", "1"))


class Timeout(AssertionError):
    pass


def wait_until(condition, timeout=20, what=None, interval=0.02):
    """Returns the condition's first true value; raises Timeout after `timeout` (scaled) seconds."""
    deadline = time.monotonic() + timeout * TIME_SCALE
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"not within {timeout * TIME_SCALE:g}s: {what or condition}")
        pause.wait(interval)


class _Ports:
    """Ports below the ephemeral range, out of a block that no other process of ours uses meanwhile."""

    FIRST, BLOCK, BLOCKS = 18000, 200, 68

    def __init__(self):
        self.count = self.BLOCK
        self.first = self.FIRST + self.BLOCK * self._lock_block()
        self.next = 0

    def _lock_block(self):
        """The lock ends with the process."""
        folder = os.path.join(tempfile.gettempdir(), f"prometheus-streams-ports-{os.getuid()}")
        os.makedirs(folder, exist_ok=True)
        for block in range(self.BLOCKS):
            self.lock = open(os.path.join(folder, str(block)), "w", encoding="ascii")
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return block
            except BlockingIOError:
                self.lock.close()
        raise RuntimeError(f"all blocks of ports are in use: see {folder}")

    def take(self):
        for _ in range(self.count):
            port = self.first + self.next
            self.next = (self.next + 1) % self.count
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise RuntimeError("no free port")


_ports = _Ports()


def free_port():
    return _ports.take()


class Process:
    """One child; its output goes to a file. `stop` ends it and returns its exit status."""

    def __init__(self, name, argv, log_path, env=None, cwd=None):
        self.name = name
        self.log_path = str(log_path)
        self._log = open(self.log_path, "ab")
        self.child = subprocess.Popen(
            argv, stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, cwd=cwd,
            start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, number):
        self.child.send_signal(number)

    def wait(self, timeout=30):
        return self.child.wait(timeout * TIME_SCALE)

    def stop(self, timeout=30):
        if self.is_running():
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
        try:
            status = self.child.wait(timeout * TIME_SCALE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise AssertionError(f"{self.name} did not stop on SIGTERM; its log:\n{self.log()[-4000:]}") from None
        finally:
            self._log.close()
        return status

    def kill(self):
        self.child.kill()
        self.child.wait()
        self._log.close()
