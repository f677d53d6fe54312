# SPDX-License-Identifier: Apache-2.0
"""What the figures are read from: CPU clocks, memory, and the load generator's counters and log of requests."""

import collections
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import http  # noqa: E402
from harness.process import free_port  # noqa: E402

import bodies  # noqa: E402


def cpu_seconds(pid):
    """User and system time of all threads of a process, ended ones included, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)


def peak_megabytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))


def free_megabytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("MemAvailable:"))


def percentiles(values):
    """[median, 99th percentile, largest], or None of nothing."""
    if not values:
        return None
    values = sorted(values)
    return [values[len(values) // 2], values[min(len(values) - 1, int(len(values) * 0.99))], values[-1]]


class LoadGenerator:
    """Targets on all addresses of 127.0.0.0/8 that serve the bodies of `folder` one after the other."""

    def __init__(self, build, folder):
        self.port = free_port()
        self.log_path = os.path.join(folder, "requests")
        found = bodies.read_bodies(folder)
        self.plain_bytes = statistics.mean(len(body) for body in found)
        self.samples = statistics.mean(bodies.samples_of(body) for body in found)
        self.child = subprocess.Popen([os.path.join(build, "bench", "loadgen"), str(self.port), folder],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.child.stdout.readline() == "ready\n", "the load generator did not start"
        status, _ = http.get(f"http://127.1.0.1:{self.port}/metrics")
        assert status == 200, "the load generator does not answer"

    def ask(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def begin(self):
        self.ask("begin")

    def counts(self):
        return self.ask("counts")

    def log(self):
        """{(kind, address): [microseconds since begin()]}"""
        self.ask(f"log {self.log_path}")
        found = collections.defaultdict(list)
        with open(self.log_path, encoding="ascii") as file:
            for line in file:
                at_us, kind, address = line.split()
                found[kind, int(address)].append(int(at_us))
        return found

    def cpu(self):
        return cpu_seconds(self.child.pid)

    def stop(self):
        self.child.stdin.close()
        self.child.wait()


def lateness(log, interval_s, first_us, last_us):
    """([ms] of the scrapes within the window, scrapes left out). A target's plan is not known to it: its scrapes are
    compared with the one that came earliest on the grid of the interval."""
    interval_us = interval_s * 1e6
    late, missed = [], 0
    for (kind, _), times in log.items():
        if kind != "get":
            continue
        turns = [round((at - times[0]) / interval_us) for at in times]
        offsets = [at - turn * interval_us for at, turn in zip(times, turns)]
        earliest = min(offsets)
        late += [(offset - earliest) / 1e3 for at, offset in zip(times, offsets) if first_us <= at <= last_us]
        missed += sum(max(0, after - before - 1) for before, after in zip(turns, turns[1:]))
    return late, missed


def delivery(log, first_us, last_us):
    """[ms] from a target's answer to the push that followed it, for the pushes of the window."""
    waits = []
    for (kind, address), times in log.items():
        if kind != "put":
            continue
        gets = log.get(("get", address), [])
        for at in times:
            before = [got for got in gets if got <= at]
            if before and first_us <= at <= last_us:
                waits.append((at - before[-1]) / 1e3)
    return waits


class Moment:
    """Everything that is counted, read at one time; two of them make a window."""

    def __init__(self, load, pid, nats=None):
        self.counts = load.counts()
        self.cpu = cpu_seconds(pid)
        self.load_cpu = load.cpu()
        self.wall = time.monotonic()
        self.nats_bytes = nats_in_bytes(nats) if nats else 0


def nats_in_bytes(nats):
    """What clients sent: headers and bodies of messages, without subjects and the protocol's own lines."""
    return http.get_json(f"http://127.0.0.1:{nats.monitor_port}/varz")["in_bytes"]
