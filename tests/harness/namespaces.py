# SPDX-License-Identifier: Apache-2.0
"""Sites with networks of their own, and the lines between them, which can be cut, slow and lossy.

A namespace lives as long as the child that holds it, and that ends with the test, whatever ends the
test: nothing is left on the machine. `with namespace:` puts this thread, and all it starts meanwhile
(threads, processes, sockets), into it.
"""

import ctypes
import fcntl
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
PREFIX = "10.77.0"


def _command(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise OSError(f"{name} is not installed: run `make deps`")
    return path


def _run(name, *argv):
    done = subprocess.run([_command(name), *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          text=True, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{name} {' '.join(argv)}: {done.stdout.strip()}")
    return done.stdout


def _enter(file):
    if _libc.setns(file, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


# An /etc to write to, the machine's own with changes that stay in memory, and an empty /var/lib.
_MOUNTS = """
mount -t tmpfs none /mnt
mkdir /mnt/etc /mnt/work /mnt/lib
mount -t overlay none -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work /etc
mount --bind /mnt/lib /var/lib
"""


class Namespace:
    """`mounts`: with files of its own, too, for processes that enter by nsenter; python does not."""

    def __init__(self, name, mounts=False):
        self.name = name
        self.outside = []
        kinds = ["--net", "--mount"] if mounts else ["--net"]
        script = f"set -e\n{_MOUNTS if mounts else ''}echo\nexec cat"
        self.holder = subprocess.Popen([_command("unshare"), *kinds, "sh", "-c", script], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            if not self.holder.stdout.readline():
                raise OSError(self.holder.stderr.read().decode().strip())
            self.file = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)
            self.ip("link", "set", "lo", "up")
        except OSError:
            self.close()
            raise

    @property
    def pid(self):
        return self.holder.pid

    def __enter__(self):
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _enter(self.file)
        self.outside.append(outside)
        return self

    def __exit__(self, *_):
        outside = self.outside.pop()
        _enter(outside)
        os.close(outside)

    def ip(self, *argv):
        with self:
            return _run("ip", *argv)

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(30)
        self.holder.stdout.close()
        self.holder.stderr.close()
        if hasattr(self, "file"):
            os.close(self.file)


# As ethtool -K: frames that a line carries must be whole, with their checksums.
_SIOCETHTOOL = 0x8946
_OFF = (0x17, 0x1F, 0x24, 0x2C)  # transmit checksums, TSO, GSO, GRO


def _no_offload(device):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _OFF:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP8x", device.encode(), ctypes.addressof(value)))


class _Wire(threading.Thread):
    """Carries frames between two devices, each after `delay_ms`, all but `loss` of a hundred."""

    def __init__(self, one, other, delay_ms, loss):
        super().__init__(daemon=True)
        self.delay, self.loss, self.stopping = delay_ms / 1000, loss / 100, False
        self.carried = self.lost = 0
        self.chance = random.Random(5)
        self.ends = []
        for device in (one, other):
            end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            end.bind((device, 0))
            end.setblocking(False)
            self.ends.append(end)
        self.start()

    def _take(self, end, out, waiting):
        while True:
            try:
                frame, address = end.recvfrom(65536)
            except BlockingIOError:
                return
            if address[2] == socket.PACKET_OUTGOING:
                continue
            if self.chance.random() < self.loss:
                self.lost += 1
            else:
                waiting.append((time.monotonic() + self.delay, out, frame))

    def run(self):
        """One list does, since all wait equally long."""
        one, other = self.ends
        waiting = []
        while not self.stopping:
            pause = max(0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            readable, _, _ = select.select(self.ends, [], [], min(pause, 0.05))
            for end in readable:
                self._take(end, other if end is one else one, waiting)
            while waiting and waiting[0][0] <= time.monotonic():
                _, out, frame = waiting.pop(0)
                try:
                    out.send(frame)
                    self.carried += 1
                except OSError:
                    self.lost += 1

    def close(self):
        self.stopping = True
        self.join()
        for end in self.ends:
            end.close()


class Line:
    """From a site to the hub's bridge: wan0 in the site, `name` in the hub."""

    def __init__(self, hub, site, number):
        self.hub, self.site, self.device = hub, site, site.name
        self.address = f"{PREFIX}.{10 + number}"
        self.wire = None
        hub.ip("link", "add", self.device, "type", "veth", "peer", "name", "wan0", "netns", str(site.pid))
        hub.ip("link", "set", self.device, "master", "br0", "up")
        site.ip("addr", "add", f"{self.address}/24", "dev", "wan0")
        site.ip("link", "set", "wan0", "up")

    def cut(self):
        """Silently: what is sent is lost, and nobody is told."""
        self.hub.ip("link", "set", self.device, "nomaster")

    def restore(self):
        self.hub.ip("link", "set", self.device, "master", "br0")

    def impair(self, delay_ms, loss):
        """In both directions, by the kernel's netem where it has that, else by a thread. Returns which."""
        try:
            for namespace, device in ((self.hub, self.device), (self.site, "wan0")):
                with namespace:
                    _run("tc", "qdisc", "replace", "dev", device, "root", "netem", "delay", f"{delay_ms}ms",
                         "loss", f"{loss}%")
            return "netem"
        except OSError as error:
            if "unknown" not in str(error):
                raise
        self._impair_by_thread(delay_ms, loss)
        return "user space, as this kernel has no netem"

    def _impair_by_thread(self, delay_ms, loss):
        inner = f"{self.device}-far"
        with self.site:
            _no_offload("wan0")
        with self.hub:
            _run("ip", "link", "add", f"{self.device}-br", "type", "veth", "peer", "name", inner)
            for device in (f"{self.device}-br", inner, "br0", self.device):
                _no_offload(device)
            self.cut()
            _run("ip", "link", "set", f"{self.device}-br", "master", "br0", "up")
            _run("ip", "link", "set", inner, "up")
            self.wire = _Wire(inner, self.device, delay_ms, loss)

    def close(self):
        if self.wire is not None:
            self.wire.close()


class Network:
    """A hub, at PREFIX.1, and sites, each with a line to it."""

    name = "network"

    def __init__(self, names, mounts=False):
        self.parts = []
        self.lines = {}
        try:
            self.hub = self._add(Namespace("hub", mounts))
            self.hub.ip("link", "add", "br0", "type", "bridge")
            self.hub.ip("addr", "add", f"{PREFIX}.1/24", "dev", "br0")
            self.hub.ip("link", "set", "br0", "up")
            self.sites = {}
            for number, name in enumerate(names):
                self.sites[name] = self._add(Namespace(name, mounts))
                self.lines[name] = self._add(Line(self.hub, self.sites[name], number))
        except BaseException:
            self.stop()
            raise

    def _add(self, part):
        self.parts.append(part)
        return part

    def stop(self):
        for part in reversed(self.parts):
            part.close()
        self.parts = []


def why_not(mounts=False):
    """Why there can be no namespaces here; None if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux'"
    try:
        Network(["probe"], mounts).stop()
    except OSError as error:
        return f"namespaces are not allowed here (root has them, or unshare --user --net): {error}"
    return None
