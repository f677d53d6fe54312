# SPDX-License-Identifier: Apache-2.0
"""The run as four plots in one PNG: CPU, memory and lateness over the number of targets, and bytes by mode."""

import os
import shutil
import subprocess

# What is drawn: the rows' name, its title, colour and point type; the same in all plots.
SERIES = (
    ("passthrough", "poller, passthrough", "#1b6ca8", 7),
    ("gzip", "poller, gzip", "#4aa3df", 5),
    ("zstd", "poller, zstd", "#2a9d62", 9),
    ("delta", "poller, delta", "#e08e0b", 13),
    ("agent", "Prometheus, agent mode", "#c0392b", 11),
    ("push_gateway", "receiver, push\\_gateway", "#7d3c98", 15),
    ("get-gzip", "bare libcurl GET", "#555555", 1),
    ("get-gzip-paced", "bare GET, paced", "#555555", 3),
    ("put", "bare libcurl PUT", "#b0a060", 2),
)
DASHED = ("get-gzip-paced",)

HEAD = """
set terminal pngcairo size 1320,1080 font 'DejaVu Sans,11' background '#ffffff'
set output '{path}'
set multiplot title '{title}' font ',14'
set border 3 lc rgb '#666666'
set tics nomirror out textcolor rgb '#333333'
set grid ytics lc rgb '#dddddd' lt 1
"""
LINES = """
set size 0.49,0.43
set origin {origin}
set title '{title}' font ',12'
set xlabel 'targets'
set ylabel '{unit}'
set logscale xy
set xrange [{first}*0.8:{last}*1.25]
set yrange [{lowest}:{highest}]
set xtics ({xtics})
set ytics ({ytics})
unset key
"""
BARS = """
unset logscale
set size 0.49,0.43
set origin 0.505,0.535
set title 'Bytes on the wire a scrape, {targets} targets' font ',12'
unset xlabel
set ylabel 'bytes'
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set boxwidth 0.9
set xrange [-0.6:{bars}-0.4]
set xtics ({xtics})
set ytics autofreq
set format y "%'.0f"
set yrange [0:{highest}]
set key top left Left reverse samplen 1.5 spacing 1.1
"""
LEGEND = """
unset logscale
set origin 0,0
set size 1,0.08
set lmargin 0
set rmargin 0
unset title
unset xlabel
unset ylabel
unset tics
unset border
unset grid
set xrange [0:1]
set yrange [0:1]
set key at screen 0.5,0.04 center center horizontal Left reverse maxrows 2 width 1 samplen 2.5
"""


def points(rows, what, figure):
    """[(targets, value)] of what was measured with the usual bodies."""
    found = [(row["targets"], figure(row)) for row in rows
             if row["what"] == what and row.get("part") in (None, "scrapers", "receiver")]
    return sorted((targets, value) for targets, value in found if value)


def tics(lowest, highest):
    """1, 2 and 5 times powers of ten."""
    steps = [digit * 10 ** power for power in range(-2, 7) for digit in (1, 2, 5)]
    return ", ".join(f"'{step:,g}' {step:g}" if step < 1000 else f"'{step:,}' {step}"
                     for step in steps if lowest <= step <= highest)


def style(what, colour, point):
    return f"with linespoints lw 2 ps 1.3 pt {point} lc rgb '{colour}'" + (" dt 2" if what in DASHED else "")


def line_plot(rows, origin, title, unit, figure):
    drawn = [(series, found) for series in SERIES if (found := points(rows, series[0], figure))]
    if not drawn:
        return ""
    sizes = sorted({targets for _, found in drawn for targets, _ in found})
    values = [value for _, found in drawn for _, value in found]
    script = LINES.format(
        origin=origin, title=title, unit=unit, first=sizes[0], last=sizes[-1],
        lowest=min(values) / 1.6, highest=max(values) * 1.6, ytics=tics(min(values) / 1.6, max(values) * 1.6),
        xtics=", ".join(f"'{size:,}' {size}" for size in sizes))
    script += "plot " + ", ".join(
        f"'-' {style(what, colour, point)} notitle" for (what, _, colour, point), _ in drawn) + "\n"
    return script + "".join("".join(f"{x} {y}\n" for x, y in found) + "e\n" for _, found in drawn)


def wire_plot(rows):
    """Bars by mode: the usual bodies, and those with random values."""
    worst = {row["what"]: row["wire_bytes"] for row in rows if row.get("part") == "worst"}
    sizes = {row["targets"] for row in rows if row.get("part") == "scrapers"}
    shown = next((row["targets"] for row in rows if row.get("part") == "worst"), max(sizes, default=0))
    usual = {row["what"]: row["wire_bytes"] for row in rows
             if row.get("part") == "scrapers" and row["targets"] == shown}
    modes = [series[0] for series in SERIES if series[0] in usual]
    if not modes:
        return ""
    script = BARS.format(
        targets=f"{shown:,}", bars=len(modes), highest=max([*usual.values(), *worst.values()]) * 1.35,
        xtics=", ".join(f"'{mode}' {index}" for index, mode in enumerate(modes)))
    columns = [("values as they usually change", "#1b6ca8", usual)]
    if worst:
        columns.append(("30 % of the values random", "#e08e0b", worst))
    script += "plot " + ", ".join(f"'-' using 1 title '{title}' lc rgb '{colour}'" for title, colour, _ in columns)
    return script + "\n" + "".join(
        "".join(f"{found.get(mode, 0)}\n" for mode in modes) + "e\n" for _, _, found in columns)


def legend(rows):
    known = {row["what"] for row in rows}
    shown = [series for series in SERIES if series[0] in known]
    return LEGEND + "plot " + ", ".join(
        f"NaN {style(what, colour, point)} title '{title}'" for what, title, colour, point in shown
    ) + "\nunset multiplot\n"


def draw(rows, title, path):
    """False where there is nothing to draw a line through, or no gnuplot."""
    if shutil.which("gnuplot") is None or len({row["targets"] for row in rows}) < 2:
        return False
    script = HEAD.format(path=os.path.abspath(path), title=title)
    script += line_plot(rows, "0.005,0.535", "CPU a scrape, or a push", "microseconds", lambda row: row["cpu_us"])
    script += line_plot(rows, "0.005,0.09", "Peak memory", "MB", lambda row: row.get("peak_mb"))
    script += line_plot(rows, "0.505,0.09", "Lateness, 99th percentile (receiver: from scrape to push)", "milliseconds",
                        lambda row: (row.get("late_ms") or (0, 0))[1])
    script += wire_plot(rows) + legend(rows)
    subprocess.run(["gnuplot", "-"], input=script, text=True, check=True)
    return True
