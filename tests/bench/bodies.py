# SPDX-License-Identifier: Apache-2.0
"""Successive scrapes of one target, made out of a real one. Of a node_exporter's series a third ever change, which
is two thirds of those whose value is neither 0 nor 1, and of these eight in ten at each scrape: counters grow a
little, gauges wander, the rest stays. Checked against 30 real scrapes: as many lines change, and a zstd delta to the
first has about the real one's size."""

import math
import os
import random
import re

LIVELY = 0.65
CHANGING = 0.8
_NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")


def _types(lines):
    found = {}
    for line in lines:
        if line.startswith(b"# TYPE "):
            _, _, name, kind = line.split()
            found[name] = kind
    return found


def _grows(series, types):
    """Whether its value only grows: counters, and the parts of summaries and histograms."""
    name = _NAME.match(series).group()
    for suffix in (b"_sum", b"_count", b"_bucket"):
        if name.endswith(suffix) and name[:-len(suffix)] in types:
            return True
    return types.get(name) == b"counter"


def spell(value):
    """As Go prints a float64: the shortest digits, with an exponent below 1e-4 and from 1e6."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        text = repr(value)
        return text[:-2] if text.endswith(".0") else text
    return next(text for text in (f"{value:.{digits}e}" for digits in range(18)) if float(text) == value)


def _next(value, grows, dice):
    if grows:
        step = value * dice.uniform(0.0001, 0.004)
        return float(math.ceil(value + step)) if value == int(value) else round(value + step, 2)
    step = value * dice.uniform(-0.05, 0.05)
    if value == int(value):
        unit = 4096 if value % 4096 == 0 else 1
        return float(value + unit * (round(step / unit) or dice.choice((-1, 1))))
    return value + step


def write_usual(body, count, folder):
    """`count` bodies as files of `folder`, in the order of their names."""
    dice = random.Random(1)
    lines = body.splitlines()
    types = _types(lines)
    values = {}
    for number, line in enumerate(lines):
        if line and not line.startswith(b"#") and dice.random() < LIVELY:
            series, _, text = line.rpartition(b" ")
            if math.isfinite(float(text)) and float(text) not in (0, 1):
                values[number] = (series, float(text), _grows(series, types))
    for index in range(count):
        write_body(lines, index, folder)
        for number, (series, value, grows) in values.items():
            if dice.random() < CHANGING:
                value = _next(value, grows, dice)
                values[number] = (series, value, grows)
                lines[number] = series + b" " + spell(value).encode()


def write_worst(body, count, folder):
    """Three values in ten are random at each scrape, to all their digits."""
    dice = random.Random(2)
    lines = body.splitlines()
    samples = [number for number, line in enumerate(lines) if line and not line.startswith(b"#")]
    for index in range(count):
        for number in samples:
            if dice.random() < 0.3:
                series = lines[number].rpartition(b" ")[0]
                lines[number] = series + b" " + spell(dice.random() * 10 ** dice.randrange(0, 12)).encode()
        write_body(lines, index, folder)


def write_body(lines, index, folder):
    with open(os.path.join(folder, f"{index:04}.prom"), "wb") as file:
        file.write(b"\n".join(lines) + b"\n")


def read_bodies(folder):
    """As the load generator takes them."""
    bodies = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".prom"):
            with open(os.path.join(folder, name), "rb") as file:
                bodies.append(file.read())
    return bodies


def samples_of(body):
    return sum(bool(line) and not line.startswith(b"#") for line in body.splitlines())
