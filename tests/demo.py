#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole chain with live data, on loopback, free ports and a temporary folder.

                                                                       ┌─> Push Gateway <── Prometheus
    node_exporter, Prometheus ──> poller ──> NATS JetStream ──> receiver ┼─> /federate    <── Prometheus
                                                                       └─> remote write ──> Prometheus

It waits until each of the three shows every target and a real node_load1, compares what came by
the three ways sample by sample, prints where to look and a live line of what flows, and stops
everything on Ctrl-C. With --oneshot it ends there.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import agreement, http  # noqa: E402
from harness.daemons import Poller, Receiver  # noqa: E402
from harness.process import Timeout, free_port, wait_until  # noqa: E402
from harness.servers import NatsServer, NodeExporter, Prometheus, PushGateway  # noqa: E402

INTERVAL = "2s"
STREAM = "DEMO"
LONGEST_WAIT = 90
WRITTEN_WITHIN = 20


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

    def prometheus(self, way, configs=(), flags=()):
        """A central Prometheus that has its data by one way."""
        part = Prometheus(os.path.join(self.folder, way), configs, interval=INTERVAL, flags=flags)
        part.name = f"prometheus ({way})"
        return self.start(part)

    def start_centres(self, federate):
        def scrape(address):
            return {"job_name": "centre", "honor_labels": True, "static_configs": [{"targets": [address]}]}

        by_federate = {**scrape(federate), "metrics_path": "/federate"}
        self.centres = {
            "gateway": self.prometheus("gateway", [scrape(f"127.0.0.1:{self.gateway.port}")]),
            "federate": self.prometheus("federate", [by_federate]),
            "written": self.prometheus("written", flags=["--web.enable-remote-write-receiver"]),
        }

    def start_all(self):
        nats = self.start(NatsServer(self.folder))
        self.gateway = self.start(PushGateway(self.folder))
        exporter = self.start(NodeExporter(self.folder))
        self.federate = f"127.0.0.1:{free_port()}"
        self.start_centres(self.federate)
        self.down = f"127.0.0.1:{free_port()}"
        stream = {"urls": nats.url, "stream": STREAM, "topic": "prometheus"}
        self.poller = self.start(Poller(self.folder, {
            "identity": "demo", "scrape_interval": INTERVAL, "max_age": 80,
            "poller_stream": {**stream, "create": True},
            "jobs": {
                "node": {"targets": [{"name": "this-machine", "url": f"{exporter.url}/metrics"}]},
                "prometheus": {"static_configs": [{"targets": [self.address_of("written")]}]},
                "down": {"static_configs": [{"targets": [self.down]}]},
            }}))
        self.receiver = self.start(Receiver(self.folder, {
            "max_age": 80, "receiver_stream": {**stream, "client_id": "demo"},
            "push_gateway": {"url": self.gateway.url, "publisher_label": True},
            "federate": {"listen": self.federate},
            "remote_write": [{"url": f"{self.centres['written'].url}/api/v1/write",
                              "queue_config": {"batch_send_deadline": "1s"}}]}))

    def address_of(self, way):
        return f"127.0.0.1:{self.centres[way].port}"

    def expected(self):
        """What `up` must show: (job, instance) -> value."""
        return {
            ("node", "this-machine"): 1,
            ("prometheus", self.address_of("written")): 1,
            ("prometheus_streams", "demo"): 1,
            ("down", self.down): 0,
        }

    def seen(self, way):
        return {(row.get("job"), row.get("instance")): value
                for row, value in self.centres[way].query('up{publisher="demo"}')}

    def load(self, way):
        rows = self.centres[way].query('node_load1{job="node",instance="this-machine",publisher="demo"}')
        return rows[0][1] if rows else None

    def has_arrived(self):
        return all(self.seen(way) == self.expected() and self.load(way) is not None for way in self.centres)

    def compare(self):
        """What the gateway and /federate show now, beside what remote write has brought by then."""
        shown = {"Push Gateway": agreement.of_gateway(http.get(f"{self.gateway.url}/metrics")[1], "demo"),
                 "/federate": agreement.of_federate(http.get(f"http://{self.federate}/federate")[1])}

        def compared():
            written = agreement.stored(self.centres["written"], '{publisher="demo"}', LONGEST_WAIT)
            self.agreements = {way: agreement.Agreement(samples, written) for way, samples in shown.items()}
            return not any(result.missing for result in self.agreements.values())

        try:
            wait_until(compared, WRITTEN_WITHIN)
        except Timeout:
            pass  # what is missing then is said
        print("\nSample by sample (series, time, value), beside what remote write brought:")
        for way, result in self.agreements.items():
            print(f"  {way:<14}{result}")
        assert all(self.agreements.values()), "the three ways do not agree"

    def show(self):
        print("\nAll three have it all; `up` as the centre sees it:")
        for (job, instance), value in sorted(self.seen("gateway").items()):
            print(f"  up{{job=\"{job}\", instance=\"{instance}\"}} {value:g}")
        for way in self.centres:
            print(f"  node_load1{{job=\"node\", instance=\"this-machine\"}} {self.load(way):g}   ({way})")

    def show_where(self):
        graph = "/graph?g0.expr=up&g0.tab=1"
        print(f"""
Look around:
  {self.centres["gateway"].url}{graph}    the central Prometheus by way of
  {self.gateway.url}/                          the Push Gateway
  {self.centres["federate"].url}{graph}    another, by way of
  http://{self.federate}/federate                  /federate
  {self.centres["written"].url}{graph}    and one that is written to
  {self.poller.url}/                          the poller: /metrics, /-/ready
  {self.receiver.url}/                          the receiver: /metrics, /-/ready
  {self.folder}   configurations and logs
""")

    def live_line(self):
        poller, receiver = self.poller.metrics(), self.receiver.metrics()
        load = self.load("gateway")
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
    print("\nwaiting for the data to arrive at the centre …", flush=True)
    wait_until(demo.has_arrived, LONGEST_WAIT, what="all of it is seen in Prometheus")
    demo.show()
    demo.compare()
    demo.show_where()
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
