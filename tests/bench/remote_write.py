# SPDX-License-Identifier: Apache-2.0
"""What remote write costs: poller and receiver together, beside Prometheus in agent mode, which does the same job on
the same targets for the same sink. All of both that lies between is counted, NATS' server apart."""

import time

import measure
import report
from harness.daemons import Receiver
from harness.process import wait_until
from harness.servers import NatsServer

LEAST_SHARE = 0.9   # of what was scraped in the window: else the two did not keep up


class Moment:
    """CPU and counts at one time; two of them make a window."""

    def __init__(self, load, nats, poller, receiver):
        self.counts, self.load_cpu = load.counts(), load.cpu()
        self.poller_cpu, self.receiver_cpu, self.nats_cpu = (
            measure.cpu_seconds(part.process.pid) for part in (poller, receiver, nats))
        self.samples = receiver.total("remote_write_samples_total")


def phase(bench, targets, interval_s, mode="delta"):
    """Adds a row for the pair; its CPU is that of both."""
    load, folder = bench.loads["usual"], bench.new_folder("remote_write")
    with NatsServer(folder) as nats:
        load.begin()
        receiver = Receiver(folder, {
            "verbose": False, "remote_write": {"url": f"http://127.1.0.1:{load.port}/write"},
            "receiver_stream": {"urls": nats.url, "stream": "BENCH", "topic": "bench", "client_id": "bench"}})
        with bench.poller(folder, nats, load, targets, interval_s, {"compression": mode}) as poller, receiver:
            wait_until(lambda: load.counts()["gets"] >= 2.2 * targets and load.counts()["posts"] > 0,
                       4 * interval_s + 90, what=f"{targets} targets have had their second scrape", interval=0.25)
            first = Moment(load, nats, poller, receiver)
            time.sleep(bench.options.seconds)
            last = Moment(load, nats, poller, receiver)
            peaks = [measure.peak_megabytes(part.process.pid) for part in (poller, receiver)]
    gets = last.counts["gets"] - first.counts["gets"]
    sent = last.samples - first.samples
    assert sent >= LEAST_SHARE * gets * (load.samples + 5), f"{sent:.0f} samples arrived of {gets} scrapes"
    poller_s, receiver_s = last.poller_cpu - first.poller_cpu, last.receiver_cpu - first.receiver_cpu
    bench.add({"part": "remote_write", "kind": "pair", "what": "remote_write", "targets": targets,
               "interval_s": interval_s, "bodies": "usual", "scrapes": gets,
               "cpu_us": (poller_s + receiver_s) / gets * 1e6, "poller_us": poller_s / gets * 1e6,
               "receiver_us": receiver_s / gets * 1e6, "nats_us": (last.nats_cpu - first.nats_cpu) / gets * 1e6,
               "cpu_us_sample": (poller_s + receiver_s) / gets / load.samples * 1e6,
               "wire_bytes": (last.counts["post_bytes"] - first.counts["post_bytes"]) / gets,
               "peak_mb": sum(peaks), "peaks_mb": peaks,
               "load_us": (last.load_cpu - first.load_cpu) / gets * 1e6})


def pairs(rows):
    """[(our row, the agent's at as many targets or None)]"""
    for row in rows:
        if row["what"] == "remote_write":
            agents = [other for other in rows if other["what"] == "agent" and other["targets"] == row["targets"] and
                      other["bodies"] == "usual" and report.has_kept_up(other)]
            yield row, agents[0] if agents else None


def table(rows):
    found = list(pairs(rows))
    if not found:
        return None
    lines = []
    for row, agent in found:
        lines.append(["poller and receiver", f"{row['targets']:,}", report.number(row["interval_s"], 0),
                      report.number(row["cpu_us"]), report.number(row["poller_us"]), report.number(row["receiver_us"]),
                      report.number(row["nats_us"]), report.number(row["cpu_us_sample"] * 1e3, 0),
                      report.number(row["wire_bytes"], 0), report.number(row["peak_mb"]),
                      f"1/{agent['cpu_us'] / row['cpu_us']:.1f}" if agent else ""])
        if agent:
            lines.append(["Prometheus, agent mode", f"{agent['targets']:,}", report.number(agent["interval_s"], 0),
                          report.number(agent["cpu_us"]), "", "", "", report.number(agent["cpu_us_sample"] * 1e3, 0),
                          report.number(agent["wire_bytes"], 0), report.number(agent["peak_mb"]), ""])
    return report.table(["", "targets", "every s", "CPU µs a scrape", "poller's", "receiver's", "nats-server's, apart",
                         "ns a sample", "B sent a scrape", "peak MB", "of the agent's"], lines)


def budget(rows):
    what = "remote write, poller and receiver: at most 1/4 of the CPU of Prometheus' agent a sample"
    ratios = [(row["targets"], row["cpu_us_sample"] / agent["cpu_us_sample"]) for row, agent in pairs(rows) if agent]
    if not ratios:
        return what, "", "not measured"
    shown = ", ".join(f"1/{1 / ratio:.1f}" for _, ratio in ratios)
    return (what, f"{shown} at {', '.join(f'{targets:,}' for targets, _ in ratios)} targets",
            report.Report.verdict([ratio <= 1 / 4 for _, ratio in ratios]))
