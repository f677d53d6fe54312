#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One run, side by side on the same targets: our poller in each compression mode, Prometheus in agent mode, and a
bare libcurl loop as the floor; our receiver with each sink beside a bare libcurl PUT, and passing a stale backlog; the
exposition parser; /federate beside a Prometheus'. Prints tables and the verdict on the budgets, writes them as JSON and as a plot.

Every phase has a NATS server of its own on memory storage, waits until each target was scraped, and then looks at a
window of --seconds. CPU is user and system time of all threads of the process.
"""

import argparse
import glob
import gzip
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import measure  # noqa: I001 - it finds the harness
import backlog
import bodies
import federation
import latency
import remote_write
import report
from harness.daemons import ROOT, Poller, Receiver, binary
from harness.process import wait_until
from harness.servers import NatsServer, NodeExporter, Prometheus, PushGateway

BODIES = 48             # successive ones of a target, more than any phase asks for
BARE_REQUESTS = 20_000
PACED_SECONDS = 8
REPLAY_TARGETS = 200
REPLAY_SCRAPES = 40
REPLAY_LEAST = 10       # fewer recorded scrapes say nothing
RECORD_INTERVAL_S = 15
AGENT_TARGET_MB = 1.3   # the most that an agent was seen to take for each target
WRITE_TARGETS = 2000    # with more, an agent needs more than this machine has
PUBLICATIONS = 20       # watched on their way to the Push Gateway

# What scrapes: name, how it is run, and its configuration beyond what is common.
SCRAPERS = {
    "passthrough": ("poller", {"compression": "passthrough"}),
    "gzip": ("poller", {"compression": "gzip"}),
    "zstd": ("poller", {"compression": "zstd"}),
    "delta": ("poller", {"compression": "delta"}),
    "agent": ("agent", {}),
}

# What the receiver delivers to: its configuration for a stub at `url`, and the requests that deliver a scrape.
SINKS = {
    "push_gateway": (lambda url: {"push_gateway": {"url": url}}, "puts"),
}

PARTS = ("scrapers", "receiver", "remote_write", "worst", "full", "wire", "latency", "parser", "stale",
         "federate")


def interval_of(targets, options):
    """Seconds. At 10,000 targets an agent needs more than a core for 15s, and both cores are shared with the load
    generator: everyone gets a longer interval."""
    return options.interval or (30 if targets > 2000 else 5)


def address(number):
    number += 0x7F010001
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


class Recorder(threading.Thread):
    """Scrapes of a real node_exporter, taken while everything else runs."""

    def __init__(self, exporter, folder):
        super().__init__(daemon=True)
        self.exporter, self.folder = exporter, folder
        self.ended = threading.Event()

    def run(self):
        index, due = 0, time.monotonic()
        while not self.ended.wait(max(0, due - time.monotonic())):
            with urllib.request.urlopen(f"{self.exporter.url}/metrics") as answer:
                bodies.write_body(answer.read().splitlines(), index, self.folder)
            index, due = index + 1, due + RECORD_INTERVAL_S

    def stop(self):
        self.ended.set()
        self.join()


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.rows = []
        self.others = {}        # figures that are no rows: what the budgets ask for
        self.notes = []
        self.loads = {}
        self.phases = 0

    def say(self, text):
        print(f"[{time.monotonic() - self.begun:5.0f}s] {text}", file=sys.stderr, flush=True)

    def note(self, text):
        self.notes.append(text)
        self.say(text)

    def new_folder(self, name):
        self.phases += 1
        path = os.path.join(self.folder, f"{self.phases}-{name}")
        os.makedirs(path)
        return path

    def add(self, row):
        self.rows.append(row)
        self.say(report.one_line(row))

    def attempt(self, phase, *args, **named):
        """One phase that fails leaves its figures out, not the others'."""
        try:
            phase(*args, **named)
        except (AssertionError, OSError, subprocess.CalledProcessError) as error:
            reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            self.note(f"{phase.__name__}{args} failed: {reason[0] if reason else type(error).__name__}")

    # Floors

    def bare(self, kind, targets, interval_s=None):
        """`interval_s`: as slowly as the targets are scraped, for cold caches and a wake-up each."""
        load = self.loads["usual"]
        visited, rounds, pause = targets, max(1, self.options.bare_requests // targets), []
        if interval_s is not None:
            gap_s = interval_s / targets
            visited = min(targets, int(PACED_SECONDS / gap_s))
            rounds, pause = max(1, int(PACED_SECONDS / gap_s / visited)), [str(int(gap_s * 1e6))]
        before = load.cpu()
        out = subprocess.run([os.path.join(self.options.build, "bench", "bare"), kind, str(load.port), str(visited),
                              str(rounds), *pause], capture_output=True, text=True, check=True)
        result = json.loads(out.stdout)
        self.add({"kind": "bare", "what": kind + ("-paced" if pause else ""), "targets": targets, "bodies": "usual",
                  "interval_s": interval_s, "scrapes": result["requests"],
                  "cpu_us": result["cpu_seconds"] / result["requests"] * 1e6,
                  "load_us": (load.cpu() - before) / (result["requests"] + visited) * 1e6})

    # Scrapers

    def jobs(self, load, targets):
        return {"static_configs": [{"targets": [f"{address(number)}:{load.port}" for number in range(targets)]}]}

    def poller(self, folder, nats, load, targets, interval_s, config, name="poller"):
        return Poller(folder, {
            "identity": "bench", "scrape_interval": f"{interval_s}s", "scrape_timeout": f"{min(10, interval_s)}s",
            "verbose": False, "jobs": {"node": self.jobs(load, targets)}, **config, "poller_stream": {
                "urls": nats.url, "stream": "BENCH", "topic": "bench", "create": True, "storage": "memory",
                "max_bytes": 400_000_000}}, name=name)

    def agent(self, folder, load, targets, interval_s):
        return Prometheus(folder, scrape_configs=[{"job_name": "node", **self.jobs(load, targets)}],
                          interval=f"{interval_s}s", remote_write=[{"url": f"http://127.1.0.1:{load.port}/write"}],
                          flags=["--enable-feature=agent", f"--storage.agent.path={os.path.join(folder, 'agent')}"])

    def watch(self, load, pid, counter, targets, interval_s, nats=None, turns=1.2):
        """(the moments that bound the window, the log of requests), once each target had its turn."""
        wait_until(lambda: load.counts()[counter] >= turns * targets, 4 * interval_s + 90,
                   what=f"{targets} targets have had their first {counter}", interval=0.25)
        first = measure.Moment(load, pid, nats)
        time.sleep(self.options.seconds)
        return first, measure.Moment(load, pid, nats), load.log()

    def row(self, load, first, last, counter, **named):
        count = max(1, last.counts[counter] - first.counts[counter])
        cpu = last.cpu - first.cpu
        return {**named, "scrapes": count, "cpu_us": cpu / count * 1e6,
                "cpu_us_sample": cpu / count / load.samples * 1e6, "cores": cpu / (last.wall - first.wall),
                "load_us": (last.load_cpu - first.load_cpu) / count * 1e6}

    def is_known(self, mode):
        """Whether the binary has the compression mode."""
        path = os.path.join(self.folder, "probe.yaml")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"compression": mode, "poller_stream": {"urls": "nats://127.0.0.1:1", "stream": "S"},
                       "jobs": {"a": {"targets": [{"name": "a", "url": "http://a/"}]}}}, file)
        check = subprocess.run([binary("poller"), "--check-config", "--config", path], capture_output=True, text=True,
                               check=False)
        return check.returncode == 0 or "compression" not in check.stdout + check.stderr

    def scraper(self, mode, targets, interval_s, kind_of_bodies="usual", part="scrapers"):
        how, config = SCRAPERS[mode]
        if how == "agent" and measure.free_megabytes() < targets * AGENT_TARGET_MB:
            self.note(f"the agent at {targets} targets is left out: it may need {targets * AGENT_TARGET_MB:,.0f} MB")
            return
        load, folder = self.loads[kind_of_bodies], self.new_folder(mode)
        with NatsServer(folder) as nats:
            load.begin()
            daemon = (self.agent(folder, load, targets, interval_s) if how == "agent" else
                      self.poller(folder, nats, load, targets, interval_s, config))
            with daemon:
                first, last, log = self.watch(load, daemon.process.pid, "gets", targets, interval_s, nats,
                                              turns=2.2 if how == "agent" else 1.2)
                peak = measure.peak_megabytes(daemon.process.pid)
        row = self.row(load, first, last, "gets", part=part, kind=how, what=mode, targets=targets,
                       interval_s=interval_s, bodies=kind_of_bodies)
        wire = (last.counts["post_bytes"] - first.counts["post_bytes"] if how == "agent" else
                last.nats_bytes - first.nats_bytes)
        late, missed = measure.lateness(log, interval_s, first.counts["now_us"], last.counts["now_us"])
        row.update(peak_mb=peak, late_ms=measure.percentiles(late), missed=missed,
                   wire_bytes=wire / row["scrapes"], wire_bytes_sample=wire / row["scrapes"] / load.samples,
                   gzip_asked=last.counts["gzip_gets"] > last.counts["gets"] / 2)
        self.add(row)
        if how == "agent" and not report.has_kept_up(row):
            self.note(f"the agent did not keep up with {targets} targets: its figures there are those of a machine "
                      "that is too small for it, and no ratio is taken")
        shutil.rmtree(folder)

    def receiver(self, sink, targets, interval_s):
        configure, counter = SINKS[sink]
        load, folder = self.loads["usual"], self.new_folder(sink)
        with NatsServer(folder) as nats:
            load.begin()
            receiver = Receiver(folder, {
                "verbose": False, **configure(f"http://127.1.0.1:{load.port}"), "receiver_stream": {
                    "urls": nats.url, "stream": "BENCH", "topic": "bench", "client_id": "bench"}})
            with self.poller(folder, nats, load, targets, interval_s, {"compression": self.options.feed}), receiver:
                first, last, log = self.watch(load, receiver.process.pid, counter, targets, interval_s)
                peak = measure.peak_megabytes(receiver.process.pid)
        row = self.row(load, first, last, counter, part="receiver", kind="receiver", what=sink, targets=targets,
                       interval_s=interval_s, bodies="usual")
        waits = measure.delivery(log, first.counts["now_us"], last.counts["now_us"])
        row.update(peak_mb=peak, late_ms=measure.percentiles(waits))
        self.add(row)
        shutil.rmtree(folder)

    # Figures of the budgets

    def replay(self, mode, every, targets):
        """Bytes into NATS from the first scrape to the last of a series of real ones, keyframe included: recorded
        before, served faster. A keyframe holds for all of them."""
        chosen = bodies.read_bodies(self.recorded)[::every][:REPLAY_SCRAPES]
        apart = RECORD_INTERVAL_S * every
        if len(chosen) < REPLAY_LEAST:
            self.note(f"bytes at {apart}s not measured: only {len(chosen)} scrapes were recorded, see --record-minutes")
            return
        folder = self.new_folder("replay")
        for index, body in enumerate(chosen):
            bodies.write_body(body.splitlines(), index, folder)
        load = measure.LoadGenerator(self.options.build, folder)
        try:
            with NatsServer(folder) as nats:
                config = {**SCRAPERS[mode][1], **({"keyframe_interval": f"{len(chosen)}s"} if mode == "delta" else {})}
                load.begin()
                with self.poller(folder, nats, load, targets, 1, config):
                    wait_until(lambda: load.counts()["gets"] >= len(chosen) * targets, 60 + 3 * len(chosen),
                               what="all recorded scrapes are served", interval=0.05)
                wire, gets = measure.nats_in_bytes(nats), load.counts()["gets"]
        finally:
            load.stop()
        packed = statistics.mean(len(gzip.compress(body, 6)) for body in chosen)
        self.others.setdefault("replay", []).append({
            "what": mode, "apart_s": apart, "scrapes": len(chosen), "wire_bytes": wire / gets, "gzip_bytes": packed})
        self.say(f"{mode}, {len(chosen)} real scrapes {apart}s apart: {wire / gets:.0f} B, gzip {packed:.0f} B")

    def publication(self):
        """From a target's answer to the gateway showing it, nothing else going on."""
        target = latency.StampedTarget(bodies.read_bodies(self.usual)[0])
        folder = self.new_folder("latency")
        with target, NatsServer(folder) as nats, PushGateway(
                folder, flags=["--push.disable-consistency-check"]) as gateway:
            poller = Poller(folder, {
                "identity": "bench", "scrape_interval": "1s", "verbose": False,
                "jobs": {"node": {"static_configs": [{"targets": [f"127.0.0.1:{target.port}"]}]}},
                "poller_stream": {"urls": nats.url, "stream": "BENCH", "topic": "bench", "create": True}})
            receiver = Receiver(folder, {
                "verbose": False, "push_gateway": {"url": gateway.url},
                "receiver_stream": {"urls": nats.url, "stream": "BENCH", "topic": "bench", "client_id": "bench"}})
            with receiver, poller:
                seen = latency.watch_gateway(gateway.port, PUBLICATIONS)
        waits = [(at - target.served[stamp]) * 1e3 for stamp, at in seen.items() if stamp in target.served]
        self.others["publication_ms"] = measure.percentiles(waits[1:])
        self.say("scrape to gateway: " + " / ".join(f"{wait:.1f}" for wait in self.others["publication_ms"]) + " ms")

    def stale(self, size):
        """A receiver that comes back to a backlog, all of which is older than max_age."""
        folder = self.new_folder("stale")
        found = backlog.pass_stale(folder, self.options.build, size)
        self.others.setdefault("stale", []).append(found)
        self.say(backlog.one_line(found))
        shutil.rmtree(folder)

    def federate(self):
        folder = self.new_folder("federate")
        found = {"without_network": federation.without_network(self.options.build),
                 "rows": federation.side_by_side(folder, self.options.build)}
        self.others["federate"] = found
        for line in federation.lines(found):
            self.say(line)
        shutil.rmtree(folder)

    def parser(self):
        corpus = os.path.join(os.environ.get("CORPUS", os.path.join(ROOT, "..", "shared", "corpus")), "good")
        files = [path for path in glob.glob(f"{corpus}/**/*.prom", recursive=True) if os.path.getsize(path) > 4096]
        if not files:
            self.note(f"exposition parser: no corpus at {corpus}; the scrapes of tests/data instead")
            files = glob.glob(f"{ROOT}/tests/data/exposition/*.prom")
        out = subprocess.run([os.path.join(self.options.build, "bench", "bench_exposition"), *sorted(files)],
                             check=True, capture_output=True, text=True).stdout
        words = out.splitlines()[-1].split()
        self.others["parser"] = {"files": len(files), "bytes": int(words[0]), "slicing_mb_s": float(words[2]),
                                 "values_mb_s": float(words[4])}
        self.say(f"exposition parser: {words[2]} and {words[4]} MB/s")

    # The run

    def matrix(self):
        options = self.options
        for targets in options.targets:
            interval_s = interval_of(targets, options)
            if "scrapers" in options.parts:
                for kind in ("get-gzip", "get"):
                    self.attempt(self.bare, kind, targets)
                self.attempt(self.bare, "get-gzip", targets, interval_s)
                for mode in options.modes:
                    self.attempt(self.scraper, mode, targets, interval_s)
            if "receiver" in options.parts:
                self.attempt(self.bare, "put", targets)
                for sink in options.sinks:
                    self.attempt(self.receiver, sink, targets, interval_s)
            if "remote_write" in options.parts and targets <= WRITE_TARGETS:
                if not ("scrapers" in options.parts and "agent" in options.modes):
                    self.attempt(self.scraper, "agent", targets, interval_s)
                self.attempt(remote_write.phase, self, targets, interval_s)

    def extras(self):
        options = self.options
        pollers = [mode for mode in options.modes if SCRAPERS[mode][0] == "poller"]
        largest = max(options.targets)
        if "worst" in options.parts:
            for mode in pollers:
                self.attempt(self.scraper, mode, min(1000, largest), 5, "worst", part="worst")
        if "full" in options.parts:
            for targets in (5000, 10000):
                for mode in (mode for mode in pollers if mode in ("passthrough", "delta") and targets <= largest):
                    self.attempt(self.scraper, mode, targets, 15, part="full")
        if "latency" in options.parts:
            self.attempt(self.publication)
        if "parser" in options.parts:
            self.attempt(self.parser)
        if "federate" in options.parts:
            self.attempt(self.federate)
        if "stale" in options.parts:
            for size in backlog.SIZES:
                self.attempt(self.stale, size)
        if "wire" in options.parts and "delta" in options.modes:
            for every in (1, 4):
                self.attempt(self.replay, "delta", every, min(REPLAY_TARGETS, largest))

    def prepare(self, first_body):
        self.usual = self.new_folder("usual")
        bodies.write_usual(first_body, BODIES, self.usual)
        worst = self.new_folder("worst")
        bodies.write_worst(first_body, BODIES, worst)
        self.loads = {"usual": measure.LoadGenerator(self.options.build, self.usual),
                      "worst": measure.LoadGenerator(self.options.build, worst)}
        for mode in [mode for mode in self.options.modes if SCRAPERS[mode][0] == "poller"]:
            if not self.is_known(mode):
                self.note(f"{mode} is left out: this poller does not know it")
                self.options.modes.remove(mode)

    def run(self):
        self.begun = time.monotonic()
        self.recorded = self.options.recorded or self.new_folder("recorded")
        with NodeExporter(self.folder) as exporter:
            recorder = None if self.options.recorded else Recorder(exporter, self.recorded)
            with urllib.request.urlopen(f"{exporter.url}/metrics") as answer:
                first_body = answer.read()
            try:
                self.prepare(first_body)
                if recorder:
                    recorder.start()
                self.matrix()
                if recorder and self.options.record_minutes:
                    time.sleep(max(0, self.options.record_minutes * 60 - (time.monotonic() - self.begun)))
                self.extras()
            finally:
                for load in self.loads.values():
                    load.stop()
                if recorder:
                    recorder.stop()
        return self.result()

    def result(self):
        body = bodies.read_bodies(self.usual)[0]
        args = os.environ.get("BENCH_ARGS")
        return {"version": subprocess.run([binary("poller"), "--version"], capture_output=True, text=True,
                                          check=True).stdout.strip(),
                "command": "make bench" + (f' BENCH_ARGS="{args}"' if args else ""),
                "machine": machine(), "seconds": round(time.monotonic() - self.begun),
                "body": {"bytes": len(body), "gzip_bytes": len(gzip.compress(body, 6)),
                         "samples": bodies.samples_of(body)},
                "rows": self.rows, "others": self.others, "notes": self.notes}


def machine():
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}"


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])

    def words(known):
        def convert(text):
            chosen = text.split(",")
            for word in chosen:
                if word not in known:
                    raise argparse.ArgumentTypeError(f"{word} is none of {', '.join(known)}")
            return chosen
        return convert
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--targets", type=lambda text: [int(word) for word in text.split(",")],
                        default=[100, 1000, 10000])
    parser.add_argument("--modes", type=words(SCRAPERS), default=list(SCRAPERS))
    parser.add_argument("--sinks", type=words(SINKS), default=list(SINKS))
    parser.add_argument("--parts", type=words(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=25, help="the window of each phase")
    parser.add_argument("--interval", type=int, help="seconds, for every number of targets")
    parser.add_argument("--feed", default="passthrough", help="compression of what the receiver gets")
    parser.add_argument("--bare-requests", type=int, default=BARE_REQUESTS)
    parser.add_argument("--recorded", help="a folder of scrapes of a node_exporter 15s apart, *.prom; else recorded")
    parser.add_argument("--record-minutes", type=float, default=0,
                        help="record for so long; 40 give the bytes at 1m over 40 scrapes")
    parser.add_argument("--json", help="default: bench/bench.json in the build folder")
    parser.add_argument("--write-docs", action="store_true", help="rewrite docs/performance.md's generated part")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.json = options.json or os.path.join(options.build, "bench", "bench.json")
    return options


def main():
    options = read_options()
    os.environ["BUILD"] = options.build
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))   # what was started is stopped on the way out
    with tempfile.TemporaryDirectory(prefix="prometheus-streams-bench-") as folder:
        result = Bench(options, folder).run()
    report.publish(result, options.json, ROOT if options.write_docs else None)


if __name__ == "__main__":
    main()
