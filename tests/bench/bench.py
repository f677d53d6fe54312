#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CPU per scrape, side by side in one run: a bare libcurl GET as the floor, our poller in each
compression mode, Prometheus in agent mode; then our receiver, and the exposition parser.

All scrape the same targets: a real node_exporter's body, on as many loopback addresses as there are
targets. CPU is user and system time of all threads of the process, over a window in which every
target is scraped several times.
"""

import argparse
import glob
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.daemons import ROOT, Poller, Receiver  # noqa: E402
from harness.process import free_port, wait_until  # noqa: E402
from harness.servers import NatsServer, NodeExporter, Prometheus  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_megabytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0


class LoadGenerator:
    def __init__(self, build, folder, targets, body):
        plain, packed = os.path.join(folder, "body"), os.path.join(folder, "body.gz")
        for path, data in ((plain, body), (packed, gzip.compress(body, 6))):
            with open(path, "wb") as file:
                file.write(data)
        self.gzip_bytes = os.path.getsize(packed)
        self.port = free_port()
        self.child = subprocess.Popen([os.path.join(build, "bench", "loadgen"), str(self.port), str(targets), plain,
                                       packed], stdout=subprocess.PIPE, text=True)
        assert self.child.stdout.readline() == "ready\n"

    def counts(self):
        self.child.send_signal(signal.SIGUSR1)
        return json.loads(self.child.stdout.readline())

    def stop(self):
        self.child.terminate()
        self.child.wait()


def address(number):
    number += 0x7F010001
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def measure(pid, count, window, settle):
    """CPU seconds and events over `window` seconds, after `settle` events have happened."""
    wait_until(lambda: count() >= settle, 120, what="the load has settled", interval=0.1)
    cpu, events = cpu_seconds(pid), count()
    end = events + window
    wait_until(lambda: count() >= end, 300, what="the window has passed", interval=0.1)
    return cpu_seconds(pid) - cpu, count() - events


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.rows = []
        self.urls = None

    def note(self, name, cpu, events, peak=None, extra=""):
        micros = cpu / events * 1e6
        self.rows.append({"what": name, "microseconds": micros, "scrapes": events, "peak_mb": peak, "note": extra})
        floor = self.rows[0]["microseconds"]
        memory = f"{peak:8.1f}" if peak else "       -"
        print(f"{name:<44}{micros:10.1f}{micros / floor:10.2f}{memory}  {extra}", flush=True)

    def jobs(self):
        return {"node": {"static_configs": [{"targets": [
            f"{address(number)}:{self.load.port}" for number in range(self.options.targets)]}]}}

    def bare_get(self):
        rounds = max(2, self.window // self.options.targets)
        out = subprocess.run([os.path.join(self.options.build, "bench", "bare_get"), str(self.load.port),
                              str(self.options.targets), str(rounds)], capture_output=True, text=True, check=True)
        result = json.loads(out.stdout)
        self.note("bare libcurl GET", result["cpu_seconds"], result["requests"])

    def poller(self, nats, compression):
        before = self.load.counts()["gets"]
        poller = Poller(self.folder, {
            "identity": f"bench-{compression}", "scrape_interval": self.options.interval, "verbose": False,
            "compression": compression, "jobs": self.jobs(), "poller_stream": {
                "urls": nats.url, "stream": "BENCH", "topic": "bench", "create": True, "storage": "memory",
                "max_bytes": 200_000_000}}, name=f"poller-{compression}").start()
        cpu, events = measure(poller.process.pid, lambda: self.load.counts()["gets"] - before, self.window,
                              2 * self.options.targets)
        seen = poller.metrics()
        published = seen.total("prometheus_streams_poller_published_total")
        wire = seen.total("prometheus_streams_poller_published_bytes_total") / max(published, 1)
        peak = peak_megabytes(poller.process.pid)
        poller.stop()
        self.note(f"poller, {compression}", cpu, events, peak, f"{wire:.0f} B a scrape")

    def agent(self):
        before = self.load.counts()["gets"]
        storage = os.path.join(self.folder, "agent")
        agent = Prometheus(self.folder, flags=["--enable-feature=agent", f"--storage.agent.path={storage}"])
        config = {"global": {"scrape_interval": self.options.interval},
                  "scrape_configs": [{"job_name": "node", "static_configs": self.jobs()["node"]["static_configs"]}],
                  "remote_write": [{"url": f"http://127.1.0.1:{self.load.port}/write"}]}
        write_agent_config(agent, config)
        agent.start()
        cpu, events = measure(agent.process.pid, lambda: self.load.counts()["gets"] - before, self.window,
                              2 * self.options.targets)
        counts = self.load.counts()
        peak = peak_megabytes(agent.process.pid)
        agent.stop()
        self.note("Prometheus, agent mode", cpu, events, peak,
                  f"{counts['posted_bytes'] / max(counts['gets'] - before, 1):.0f} B a scrape")

    def receiver(self, nats):
        poller = Poller(self.folder, {
            "identity": "feed", "scrape_interval": self.options.interval, "verbose": False, "jobs": self.jobs(),
            "poller_stream": {"urls": nats.url, "stream": "BENCH", "topic": "bench"}}, name="feed")
        receiver = Receiver(self.folder, {
            "verbose": False, "push_gateway": {"url": f"http://127.1.0.1:{self.load.port}"},
            "receiver_stream": {"urls": nats.url, "stream": "BENCH", "topic": "bench", "client_id": "bench",
                                "filter": ["feed"]}})
        poller.start()
        receiver.start()
        before = self.load.counts()["posts"]
        cpu, events = measure(receiver.process.pid, lambda: self.load.counts()["posts"] - before, self.window,
                              2 * self.options.targets)
        peak = peak_megabytes(receiver.process.pid)
        poller.stop()
        receiver.stop()
        self.note("receiver, to a Push Gateway that swallows", cpu, events, peak)

    def run(self):
        self.window = self.options.rounds * self.options.targets
        with NodeExporter(self.folder) as exporter:
            body = urllib.request.urlopen(f"{exporter.url}/metrics").read()
        self.load = LoadGenerator(self.options.build, self.folder, self.options.targets, body)
        samples = sum(not line.startswith(b"#") for line in body.splitlines())
        print(f"{self.options.targets} targets every {self.options.interval}, a node_exporter body of {len(body)} B "
              f"({self.load.gzip_bytes} B gzip, {samples} samples), {self.window} scrapes measured each\n")
        print(f"{'':<44}{'µs/scrape':>10}{'x bare':>10}{'peak MB':>8}")
        try:
            self.bare_get()
            with NatsServer(self.folder) as nats:
                for compression in ("passthrough", "gzip", "zstd"):
                    self.poller(nats, compression)
                self.agent()
                self.receiver(nats)
        finally:
            self.load.stop()
        self.verdict()

    def verdict(self):
        by_name = {row["what"]: row["microseconds"] for row in self.rows}
        ours = by_name["poller, passthrough"]
        print(f"\npoller, passthrough: {ours / by_name['bare libcurl GET']:.2f} x a bare GET (budget 2.5), "
              f"1/{by_name['Prometheus, agent mode'] / ours:.1f} of Prometheus' agent (budget 1/10)")
        receiver = by_name["receiver, to a Push Gateway that swallows"]
        print(f"receiver: {receiver / 1000:.3f} ms a scrape (budget 0.4)")


def write_agent_config(agent, config):
    """Prometheus' argv() writes its own configuration; this one needs remote_write too."""
    import yaml
    path = os.path.join(agent.folder, "agent.yml")
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump(config, file)
    argv = agent.argv()
    agent.argv = lambda: [f"--config.file={path}" if part.startswith("--config.file=") else part for part in argv]


def bench_parser(build):
    corpus = os.path.join(os.environ.get("CORPUS", os.path.join(ROOT, "..", "shared", "corpus")), "good")
    files = [path for path in glob.glob(f"{corpus}/**/*.prom", recursive=True) if os.path.getsize(path) > 4096]
    if not files:
        print(f"\nexposition parser: no corpus at {corpus}; the scrapes of tests/data instead")
        files = glob.glob(f"{ROOT}/tests/data/exposition/*.prom")
    print("\nexposition parser (budget: 2000 MB/s slicing, 1200 MB/s with values)")
    subprocess.run([os.path.join(build, "bench", "bench_exposition"), *sorted(files)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--interval", default="5s")
    parser.add_argument("--rounds", type=int, default=6, help="scrapes of each target that are measured")
    parser.add_argument("--json", help="also write the rows to this file")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    os.environ["BUILD"] = options.build
    with tempfile.TemporaryDirectory(prefix="prometheus-streams-bench-") as folder:
        bench = Bench(options, folder)
        bench.run()
    bench_parser(options.build)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(bench.rows, file, indent=1)


if __name__ == "__main__":
    main()
