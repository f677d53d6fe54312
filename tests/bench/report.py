# SPDX-License-Identifier: Apache-2.0
"""What a run found, as tables, as the verdict on the budgets, as JSON, as a plot, and in docs/performance.md."""

import json
import os
import re
import shutil

import plot
import remote_write

BEGIN, END = "<!-- figures of make bench: begin -->", "<!-- figures of make bench: end -->"
NAMES = {
    "get": "bare GET, identity", "get-gzip": "bare GET, gzip", "get-gzip-paced": "bare GET, gzip, same pace",
    "put": "bare PUT", "agent": "Prometheus, agent mode", "push_gateway": "receiver, `push_gateway`",
    "ours": "receiver, `federate`", "prometheus": "Prometheus",
}


def name_of(row):
    return NAMES.get(row["what"]) or f"poller, `{row['what']}`"


def number(value, digits=1):
    return "" if value is None else f"{value:,.{digits}f}"


def late(row):
    return [number(value, 1 if value < 100 else 0) for value in row.get("late_ms") or ()]


def one_line(row):
    parts = [f"{row['kind']} {row['what']}, {row['targets']} targets: {row['cpu_us']:.1f} us a request"]
    if row.get("wire_bytes"):
        parts.append(f"{row['wire_bytes']:.0f} B")
    if row.get("peak_mb"):
        parts.append(f"{row['peak_mb']:.1f} MB")
    if row.get("late_ms"):
        parts.append("late " + "/".join(late(row)) + " ms")
    return ", ".join(parts)


def has_kept_up(row):
    """Whether nearly every turn had its scrape: the CPU of one that is overrun says nothing about a scrape."""
    return row["missed"] <= row["scrapes"] * 0.02


def table(head, rows):
    """In Markdown, columns as wide as their cells; all but the first to the right."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row):
        return "| " + " | ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                                 for column, (cell, width) in enumerate(zip(row, widths))) + " |"
    rule = "|" + "|".join("-" * (width + 2) if column == 0 else "-" * (width + 1) + ":"
                          for column, width in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


class Report:
    def __init__(self, result):
        self.result = result
        self.rows = result["rows"]
        self.others = result["others"]

    def select(self, **wanted):
        return [row for row in self.rows if all(row.get(key) == value for key, value in wanted.items())]

    def floor(self, row):
        """CPU of the bare loop that does what `row` does: of as many targets, in the same encoding."""
        what = "put" if row["kind"] == "receiver" else "get-gzip" if row.get("gzip_asked", True) else "get"
        found = self.select(what=what, targets=row["targets"])
        return found[0]["cpu_us"] if found else None

    def paced(self, row):
        """The same loop as slow as the poller: with a wake-up and cold caches for each request."""
        found = self.select(what="get-gzip-paced", targets=row["targets"], interval_s=row["interval_s"])
        return found[0]["cpu_us"] if found else None

    def ratios(self, row):
        """[to the bare loop, to the paced one]"""
        floors = [self.floor(row), self.paced(row)] if row["kind"] != "bare" else [None, None]
        return ["" if floor is None else f"{row['cpu_us'] / floor:.1f}" for floor in floors]

    # Tables

    def scrapers(self, rows):
        head = ["", "targets", "every s", "CPU µs a scrape", "x bare", "x paced", "ns a sample", "B a scrape",
                "B a sample", "peak MB", "late ms p50", "p99", "max", "left out", "load µs"]
        return table(head, [[
            name_of(row), f"{row['targets']:,}", number(row["interval_s"], 0), number(row["cpu_us"]), *self.ratios(row),
            number(row["cpu_us_sample"] * 1e3, 0) if "cpu_us_sample" in row else "", number(row.get("wire_bytes"), 0),
            number(row.get("wire_bytes_sample"), 1), number(row.get("peak_mb")), *(late(row) or [""] * 3),
            str(row.get("missed", "")), number(row["load_us"])] for row in rows])

    def receivers(self, rows):
        head = ["", "targets", "every s", "CPU µs a scrape", "x bare", "ns a sample", "peak MB",
                "scrape to push ms p50", "p99", "max", "load µs"]
        return table(head, [[
            name_of(row), f"{row['targets']:,}", number(row["interval_s"], 0), number(row["cpu_us"]),
            self.ratios(row)[0], number(row["cpu_us_sample"] * 1e3, 0) if "cpu_us_sample" in row else "",
            number(row.get("peak_mb")), *(late(row) or [""] * 3), number(row["load_us"])] for row in rows])

    def tables(self):
        parts = []
        ours = [row for row in self.rows if row.get("part") == "scrapers" or row["what"].startswith("get")]
        for title, rows, how in (
                ("Scraping", ours, self.scrapers),
                ("Scraping, with three values in ten random at each scrape", self.select(part="worst"), self.scrapers),
                ("Scraping at 15s", self.select(part="full"), self.scrapers),
                ("Receiving", [row for row in self.rows if row["kind"] == "receiver" or row["what"] == "put"],
                 self.receivers)):
            if rows:
                parts.append(f"### {title}\n\n{how(rows)}")
        written = remote_write.table(self.rows)
        if written:
            parts.append(f"### Remote write\n\n{written}")
        if "stale" in self.others:
            parts.append("### Passing a backlog older than max_age\n\n" + table(
                ["", "messages", "B", "a second", "CPU µs a message", "nats-server's", "peak MB"],
                [line for row in self.others["stale"] for line in (
                    ["receiver", f"{row['messages']:,}", f"{row['body_bytes']:,}", number(row["per_s"], 0),
                     number(row["cpu_us"]), number(row["server_us"]), number(row["peak_mb"])],
                    ["acks alone", f"{row['messages']:,}", f"{row['body_bytes']:,}", number(row["floor_per_s"], 0),
                     number(row["floor_us"]), number(row["floor_server_us"]), ""])]))
        if "replay" in self.others:
            parts.append("### Bytes over real scrapes\n\n" + table(
                ["", "apart s", "scrapes", "B a scrape", "gzip body B", "of it"],
                [[f"poller, `{row['what']}`", str(row["apart_s"]), str(row["scrapes"]), number(row["wire_bytes"], 0),
                  number(row["gzip_bytes"], 0), f"1/{row['gzip_bytes'] / row['wire_bytes']:.1f}"]
                 for row in self.others["replay"]]))
        return parts

    # Budgets: (what, measured, verdict)

    def budget_ratio(self, what, mode, most, against):
        """`against`(row) gives the CPU that the row's is divided by; judged at each number of targets."""
        found = [(row["targets"], row["cpu_us"] / base) for row in self.select(part="scrapers", what=mode)
                 if (base := against(row))]
        if not found:
            return what, "", "not measured"
        shown = ", ".join(f"{ratio:.1f} x" if most >= 1 else f"1/{1 / ratio:.1f}" for _, ratio in found)
        sizes = ", ".join(f"{targets:,}" for targets, _ in found)
        return what, f"{shown} at {sizes} targets", self.verdict([ratio <= most for _, ratio in found])

    @staticmethod
    def verdict(met):
        return "met" if all(met) else "partly met" if any(met) else "not met"

    def agent_of(self, row):
        found = [row for row in self.select(part="scrapers", what="agent", targets=row["targets"]) if has_kept_up(row)]
        return found[0]["cpu_us"] if found else None

    def budgets_scrape(self):
        for name, mode, floor, agent in (("gzip passed through", "passthrough", 2.5, 10), ("deltas", "delta", 4, 8)):
            yield self.budget_ratio(
                f"poller CPU a scrape, {name}: at most {floor} x a bare GET", mode, floor, self.floor)
            yield self.budget_ratio(f"the same: at most 1/{agent} of Prometheus' agent", mode, 1 / agent, self.agent_of)

    def budgets_wire(self):
        for apart_s, share in ((15, 4), (60, 3)):
            what = f"deltas, bytes into NATS a scrape at {apart_s}s: at most 1/{share} of the gzip body"
            found = [row for row in self.others.get("replay", []) if row["apart_s"] == apart_s]
            if not found:
                yield what, "", "not measured"
                continue
            row = found[0]
            is_enough = "" if row["scrapes"] >= 40 else " (40 are asked for)"
            yield (what, f"1/{row['gzip_bytes'] / row['wire_bytes']:.1f} over {row['scrapes']} scrapes{is_enough}",
                   self.verdict([row["wire_bytes"] <= row["gzip_bytes"] / share]))

    def budgets_full(self):
        for mode, most in (("passthrough", 150), ("delta", 250)):
            what = f"memory, 5,000 targets at 15s, `{mode}`: at most {most} MB"
            found = self.select(part="full", what=mode, targets=5000)
            yield ((what, f"{found[0]['peak_mb']:.0f} MB", self.verdict([found[0]["peak_mb"] <= most]))
                   if found else (what, "", "not measured"))
        for mode in ("passthrough", "delta"):
            what = f"10,000 targets at 15s, `{mode}`: one core, none later than 1 s"
            found = self.select(part="full", what=mode, targets=10000)
            if not found:
                yield what, "", "not measured"
                continue
            row = found[0]
            yield (what, f"{row['cores'] * 100:.0f} % of a core, at most {row['late_ms'][2]:.0f} ms late, "
                   f"{row['missed']} left out",
                   self.verdict([row["cores"] <= 1 and row["late_ms"][2] <= 1000 and row["missed"] == 0]))

    def budgets_stale(self):
        for body_bytes, budget in ((1600, 100_000), (9500, 35_000)):
            what = f"stale messages of {body_bytes / 1000:.1f} kB passed: at least {budget:,} a second"
            found = [row for row in self.others.get("stale", []) if row["body_bytes"] == body_bytes]
            if not found:
                yield what, "", "not measured"
                continue
            row = found[0]
            both_us = row["cpu_us"] + row["server_us"]
            yield (what, f"{row['per_s']:,.0f} a second; {both_us:.1f} µs CPU with nats-server, {2e6 / both_us:,.0f} a "
                   "second of two cores", self.verdict([row["per_s"] >= budget]))

    def budgets_others(self):
        what = "receiver, fetched to acked, to a Push Gateway stub: at most 0.4 ms a scrape"
        found = self.select(kind="receiver", what="push_gateway")
        yield ((what, ", ".join(f"{row['cpu_us'] / 1e3:.2f}" for row in found) + " ms at " +
                ", ".join(f"{row['targets']:,}" for row in found) + " targets",
                self.verdict([row["cpu_us"] <= 400 for row in found])) if found else (what, "", "not measured"))
        what = "exposition parser: at least 2 GB/s slicing, 1.2 GB/s with values"
        parser = self.others.get("parser")
        yield ((what, f"{parser['slicing_mb_s'] / 1e3:.1f} and {parser['values_mb_s'] / 1e3:.1f} GB/s",
                self.verdict([parser["slicing_mb_s"] >= 2000 and parser["values_mb_s"] >= 1200]))
               if parser else (what, "", "not measured"))
        what = "/federate from what is held, 1,000 targets of 500 series: at least 300 MB/s"
        found = self.others.get("federate")
        yield ((what, f"{found['without_network']['mb_s']['everything']:,.0f} MB/s",
                self.verdict([found["without_network"]["mb_s"]["everything"] >= 300]))
               if found else (what, "", "not measured"))
        what = "scrape finished to visible in the Push Gateway: median at most 20 ms"
        waits = self.others.get("publication_ms")
        yield ((what, f"{waits[0]:.0f} ms (at most {waits[2]:.0f})", self.verdict([waits[0] <= 20]))
               if waits else (what, "", "not measured"))

    def budgets(self):
        return [*self.budgets_scrape(), *self.budgets_wire(), *self.budgets_full(), *self.budgets_stale(),
                *self.budgets_others(), remote_write.budget(self.rows)]

    def federation(self):
        found = self.others.get("federate")
        if not found:
            return
        rows = [[NAMES[row["what"]], *(number(row[encoding][key] * scale, digits) for encoding in ("identity", "gzip")
                                       for key, scale, digits in (("bytes", 1e-6, 1), ("seconds", 1e3, 0),
                                                                  ("cpu_seconds", 1e3, 0))),
                 number(row["peak_mb"], 0), number(row["peak_two_mb"], 0)] for row in found["rows"]]
        yield ("### /federate\n\nEverything of 1,000 targets of 500 series, asked for by curl.\n\n" +
               table(["", "MB", "ms", "CPU ms", "gzip MB", "ms", "CPU ms", "peak MB", "two at once, MB"], rows))

    # The whole

    def text(self):
        result, body = self.result, self.result["body"]
        parts = [f"`{result['command']}`, {result['seconds'] / 60:.0f} minutes; {result['version']}; "
                 f"{result['machine']}, shared with the load generator and the servers. A body of {body['bytes']:,} B, "
                 f"{body['gzip_bytes']:,} B as gzip, {body['samples']} samples.",
                 *(f"Note: {note}." for note in result["notes"]), *self.tables(), *self.federation(),
                 "### Against the budgets\n\n" +
                 table(["budget", "measured", ""], [list(row) for row in self.budgets()])]
        return "\n\n".join(parts)


def publish(result, json_path, root):
    """Prints, writes JSON and, where gnuplot is there, the plot beside it; with `root` the documents too."""
    report = Report(result)
    text = report.text()
    print(text)
    image_path = os.path.splitext(json_path)[0] + ".png"
    with open(json_path, "w", encoding="utf-8") as file:
        json.dump({**result, "budgets": report.budgets()}, file, indent=1)
    is_drawn = plot.draw(
        result["rows"], f"{result['version'].replace('-poller', '')}, {result['machine']}", image_path)
    print(f"\n{json_path}" + (f"\n{image_path}" if is_drawn else "\nno plot: gnuplot is missing, or there is one size"))
    if root is not None:
        write_docs(root, text, json_path, image_path if is_drawn else None)


def write_docs(root, text, json_path, image_path):
    """The part of docs/performance.md between the marks, and what it shows."""
    images = os.path.join(root, "docs", "images")
    os.makedirs(images, exist_ok=True)
    shutil.copy(json_path, os.path.join(images, "performance.json"))
    if image_path:
        shutil.copy(image_path, os.path.join(images, "performance.png"))
    path = os.path.join(root, "docs", "performance.md")
    with open(path, encoding="utf-8") as file:
        page = file.read()
    part = f"{BEGIN}\n\n{text}\n\n![The same as a plot](images/performance.png)\n\n{END}"
    page, count = re.subn(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: part, page, flags=re.DOTALL)
    assert count == 1, f"{path} has no part for the figures"
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)
