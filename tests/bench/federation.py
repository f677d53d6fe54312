# SPDX-License-Identifier: Apache-2.0
"""/federate of the receiver and of a Prometheus, both with the same targets: what an answer with everything takes,
and what memory two at once. And the same without a network, from the form in which scrapes are held."""

import os
import re
import statistics
import subprocess
import threading

import bodies
import measure
from harness import http
from harness.daemons import Poller, Receiver
from harness.process import free_port, wait_until
from harness.servers import NatsServer, Prometheus, find_binary

TARGETS, SERIES, PER_FAMILY = 1000, 500, 5
INTERVAL_S = 20
ASKED = 3  # times; the median counts
MATCH = "match[]=%7Bjob=%22node%22%7D"


def write_bodies(folder):
    for turn in range(4):
        lines = []
        for family in range(SERIES // PER_FAMILY):
            name = f"app_some_family_{family}_total"
            lines += [f"# HELP {name} What family {family} counts.", f"# TYPE {name} counter"]
            lines += [f'{name}{{cpu="{cpu}",mode="idle"}} {family * 7919 + cpu * 104729 + turn}.{turn:03}'
                      for cpu in range(PER_FAMILY)]
        bodies.write_body([line.encode() for line in lines], turn, folder)


def without_network(build):
    """{name: MB/s} and the line on memory, of tests/bench/bench_federate.c."""
    out = subprocess.run([os.path.join(build, "bench", "bench_federate"), str(TARGETS), str(SERIES)],
                         capture_output=True, text=True, check=True).stdout
    found = {name: float(speed) for name, speed in re.findall(r"^(.+): (\d+) MB/s, [\d.]+ ms", out, re.MULTILINE)}
    held, more = map(int, re.search(r"at once: (\d+) kB held, (\d+) kB more", out).groups())
    waiting = int(re.search(r"scraped again: (\d+) kB more", out).group(1))
    return {"mb_s": found, "held_kb": held, "two_answers_kb": more, "two_waiting_kb": waiting,
            "bytes_per_series": float(re.search(r"per target, ([\d.]+) per series", out).group(1))}


def ask(url, encoding):
    """(bytes, seconds) of one answer, thrown away as it comes."""
    done = subprocess.run([find_binary("curl"), "-sS", "-o", "/dev/null", "-H", f"Accept-Encoding: {encoding}", "-w",
                           "%{http_code} %{size_download} %{time_total}", url], capture_output=True, text=True, check=True)
    status, size, seconds = done.stdout.split()
    assert status == "200", f"{url} answers {status}"
    return int(size), float(seconds)


def reset_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def ask_two(url, pid):
    """MB that the process takes at its peak while two are answered."""
    reset_peak(pid)
    readers = [threading.Thread(target=ask, args=(url, encoding)) for encoding in ("identity", "gzip")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return measure.peak_megabytes(pid)


def look_at(what, url, pid):
    row = {"what": what}
    for encoding in ("identity", "gzip"):
        before, took = measure.cpu_seconds(pid), [ask(url, encoding) for _ in range(ASKED)]
        row[encoding] = {"bytes": took[0][0], "seconds": statistics.median(seconds for _, seconds in took),
                         "cpu_seconds": (measure.cpu_seconds(pid) - before) / ASKED}
    reset_peak(pid)
    row["peak_mb"], row["peak_two_mb"] = measure.peak_megabytes(pid), ask_two(url, pid)
    return row


def samples_of(url):
    _, text = http.get(url, timeout=60)
    return sum(1 for line in text.splitlines() if line.startswith("app_"))


def address(number):
    return f"127.1.{number // 250}.{number % 250 + 1}"


def side_by_side(folder, build):
    """A row for each, over a network; they are scraped meanwhile, every INTERVAL_S."""
    body_folder = os.path.join(folder, "bodies")
    os.makedirs(body_folder)
    write_bodies(body_folder)
    load = measure.LoadGenerator(build, body_folder)
    jobs = [{"job_name": "node", "static_configs": [
        {"targets": [f"{address(number)}:{load.port}" for number in range(TARGETS)]}]}]
    stream = {"stream": "BENCH", "topic": "bench"}
    port = free_port()
    try:
        with NatsServer(folder) as nats, Prometheus(folder, jobs, interval=f"{INTERVAL_S}s") as prometheus:
            receiver = Receiver(folder, {
                "verbose": False, "federate": {"listen": f"127.0.0.1:{port}"},
                "receiver_stream": {**stream, "urls": nats.url, "client_id": "bench"}})
            poller = Poller(folder, {
                "identity": "bench", "verbose": False, "scrape_interval": f"{INTERVAL_S}s", "scrape_configs": jobs,
                "poller_stream": {**stream, "urls": nats.url, "create": True, "storage": "memory"}})
            asked = {"ours": (f"http://127.0.0.1:{port}/federate?{MATCH}", receiver),
                     "prometheus": (f"{prometheus.url}/federate?{MATCH}", prometheus)}
            with poller, receiver:
                for url, _ in asked.values():
                    wait_until(lambda url=url: http.get(url, timeout=60)[0] == 200 and
                               samples_of(url) == TARGETS * SERIES, 120, what=f"{url} has all", interval=2)
                return [look_at(what, url, server.process.pid) for what, (url, server) in asked.items()]
    finally:
        load.stop()


def lines(found):
    """For people."""
    apart = found["without_network"]
    yield (f"/federate from what is held, {TARGETS} targets of {SERIES} series: {apart['mb_s']['everything']:,.0f} MB/s, "
           f"zstd {apart['mb_s']['everything, zstd']:,.0f}, gzip {apart['mb_s']['everything, gzip']:,.0f}; "
           f"{apart['bytes_per_series']:.0f} B a series; two answers {apart['two_answers_kb']} kB more, "
           f"{apart['two_waiting_kb'] / 1024:.0f} MB more if all is scraped again meanwhile")
    for row in found["rows"]:
        yield f"/federate of {row['what']}: " + ", ".join(
            f"{encoding} {row[encoding]['bytes'] / 1e6:.1f} MB in {row[encoding]['seconds'] * 1e3:.0f} ms "
            f"({row[encoding]['cpu_seconds'] * 1e3:.0f} ms CPU)" for encoding in ("identity", "gzip")) + \
            f"; peak {row['peak_mb']:.0f} MB, with two at once {row['peak_two_mb']:.0f} MB"
