#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole chain with live data, on loopback, free ports and a temporary folder.

    node_exporter, Prometheus ──> poller ──> NATS JetStream ──> receiver ──> Push Gateway ──> Prometheus

It waits until a query to Prometheus shows every target and a real node_load1, prints where to look
and a live line of what flows, and stops everything on Ctrl-C. With --oneshot it ends there.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.daemons import Poller, Receiver  # noqa: E402
from harness.process import Timeout, free_port, wait_until  # noqa: E402
from harness.servers import NatsServer, NodeExporter, Prometheus, PushGateway  # noqa: E402

INTERVAL = "2s"
STREAM = "DEMO"
LONGEST_WAIT = 90


class Demo:
    def __init__(self, folder):
        self.folder = folder
        self.parts = []

    def start(self, part):
        print(f"  starting {part.name:<26}", end="", flush=True)
        self.parts.append(part)
        part.start()
        print(part.url)
        return part

    def start_all(self):
        nats = self.start(NatsServer(self.folder))
        self.gateway = self.start(PushGateway(self.folder))
        exporter = self.start(NodeExporter(self.folder))
        self.central = self.start(Prometheus(self.folder, [
            {"job_name": "push_gateway", "honor_labels": True,
             "static_configs": [{"targets": [f"127.0.0.1:{self.gateway.port}"]}]}], interval=INTERVAL))
        self.down = f"127.0.0.1:{free_port()}"
        stream = {"urls": nats.url, "stream": STREAM, "topic": "prometheus"}
        self.poller = self.start(Poller(self.folder, {
            "identity": "demo", "scrape_interval": INTERVAL, "max_age": 80,
            "poller_stream": {**stream, "create": True},
            "jobs": {
                "node": {"targets": [{"name": "this-machine", "url": f"{exporter.url}/metrics"}]},
                "prometheus": {"static_configs": [{"targets": [f"127.0.0.1:{self.central.port}"]}]},
                "down": {"static_configs": [{"targets": [self.down]}]},
            }}))
        self.receiver = self.start(Receiver(self.folder, {
            "max_age": 80, "receiver_stream": {**stream, "client_id": "demo"},
            "push_gateway": {"url": self.gateway.url, "publisher_label": True}}))

    def expected(self):
        """What `up` must show: (job, instance) -> value."""
        return {
            ("node", "this-machine"): 1,
            ("prometheus", f"127.0.0.1:{self.central.port}"): 1,
            ("prometheus_streams", "demo"): 1,
            ("down", self.down): 0,
        }

    def seen(self):
        return {(row.get("job"), row.get("instance")): value
                for row, value in self.central.query('up{publisher="demo"}')}

    def load(self):
        rows = self.central.query('node_load1{job="node",instance="this-machine",publisher="demo"}')
        return rows[0][1] if rows else None

    def has_arrived(self):
        return self.seen() == self.expected() and self.load() is not None

    def show(self):
        print("\nPrometheus has it all; `up` as the centre sees it:")
        for (job, instance), value in sorted(self.seen().items()):
            print(f"  up{{job=\"{job}\", instance=\"{instance}\"}} {value:g}")
        print(f"  node_load1{{job=\"node\", instance=\"this-machine\"}} {self.load():g}")
        print(f"""
Look around:
  {self.central.url}/graph?g0.expr=up&g0.tab=1    the central Prometheus
  {self.gateway.url}/                          the Push Gateway
  {self.poller.url}/                          the poller: /metrics, /-/ready
  {self.receiver.url}/                          the receiver: /metrics, /-/ready
  {self.folder}   configurations and logs
""")

    def live_line(self):
        poller, receiver = self.poller.metrics(), self.receiver.metrics()
        load = self.load()
        return (f"published {poller.total('prometheus_streams_poller_published_total'):.0f} scrapes"
                f" ({poller.total('prometheus_streams_poller_published_bytes_total') / 1024:.0f} kB)"
                f" · delivered {receiver.total('prometheus_streams_receiver_delivered_total'):.0f}"
                f" · waiting {receiver.total('prometheus_streams_receiver_waiting_scrapes'):.0f}"
                f" · node_load1 {'?' if load is None else format(load, 'g')}")

    def stop(self):
        for part in reversed(self.parts):
            part.stop()

    def logs(self):
        for part in self.parts:
            path = os.path.join(part.folder, "log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    print(f"--- {part.name}\n{file.read()[-2000:]}", file=sys.stderr)


def watch(demo, stopped):
    print("Live (Ctrl-C stops everything):")
    wide = sys.stdout.isatty()
    while not stopped.wait(2):
        line = demo.live_line()
        print(f"\r\x1b[K{line}" if wide else line, end="" if wide else "\n", flush=True)
    print("\nstopping")


def run(demo, oneshot):
    stopped = threading.Event()
    demo.start_all()
    print("\nwaiting for the data to arrive at the central Prometheus …", flush=True)
    wait_until(demo.has_arrived, LONGEST_WAIT, what="all of it is seen in Prometheus")
    demo.show()
    if not oneshot:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        watch(demo, stopped)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/release", help="the build folder")
    parser.add_argument("--oneshot", action="store_true", help="end once the data has been seen")
    options = parser.parse_args()
    os.environ["BUILD"] = options.build
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="prometheus-streams-demo-") as folder:
        demo = Demo(folder)
        try:
            run(demo, options.oneshot)
        except (Timeout, AssertionError, FileNotFoundError) as problem:
            print(f"\nthe demo failed: {problem}", file=sys.stderr)
            demo.logs()
            return 1
        except KeyboardInterrupt:
            print("\nstopping")
        finally:
            demo.stop()
    print("stopped; nothing is left running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
