# SPDX-License-Identifier: Apache-2.0
"""What the pages refer to is there: files, headings, tests. Nothing is asked of the network."""

import glob
import os
import re
import subprocess
import urllib.parse

import pytest

from harness.daemons import ROOT, binary

PAGES = sorted(os.path.relpath(path, ROOT) for pattern in ("README.md", "docs/**/*.md", "common/*.md")
               for path in glob.glob(os.path.join(ROOT, pattern), recursive=True))
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.M | re.S)
# The text may hold brackets of its own, and an image.
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^\s)>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(\S+)", re.M)
BLOCK = re.compile(r"^```(?:yaml|json|sh) +(\S+)\n(.*?)^```$", re.M | re.S)
TEST = re.compile(r"`(?:(test_\w+\.py)|…)::(test_\w+)`")


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def prose(text):
    return FENCE.sub("", text)


def anchors(text):
    """As GitHub makes them of headings."""
    seen, made = {}, set()
    for heading in re.findall(r"^#{1,6} +(.*?)(?: +#+)?$", prose(text), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = seen[name] = seen.get(name, -1) + 1
        made.add(f"{name}-{count}" if count else name)
    return made | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def links(page):
    text = prose(read(page))
    return [*LINK.findall(re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", text)), *REFERENCE.findall(text)]


def problem(page, link):
    """What is wrong with it, or None."""
    parts = urllib.parse.urlsplit(link)
    if parts.scheme or link.startswith("//"):
        return None if parts.scheme in ("http", "https") and parts.hostname else "not an address"
    path = os.path.join(ROOT, os.path.dirname(page), urllib.parse.unquote(parts.path)) if parts.path else page
    path = os.path.join(ROOT, path)
    if not os.path.exists(path):
        return "no such file"
    if os.path.commonpath([ROOT, os.path.realpath(path)]) != os.path.realpath(ROOT):
        return "outside of the project"
    if parts.fragment and path.endswith(".md") and parts.fragment not in anchors(read(path)):
        return f"no such heading; there are {sorted(anchors(read(path)))}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    wrong = {link: why for link in links(page) if (why := problem(page, link))}
    assert not wrong, "\n".join(f"{page}: {link}: {why}" for link, why in wrong.items())


def test_every_page_is_linked_to():
    """From the README, or from a page that is."""
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        page = waiting.pop()
        for link in links(page):
            path = os.path.normpath(os.path.join(os.path.dirname(page), link.split("#")[0]))
            if path in PAGES and path not in reached:
                reached.add(path)
                waiting.append(path)
    assert set(PAGES) <= reached, f"nobody refers to {sorted(set(PAGES) - reached)}"


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_pages_name(page):
    """`file.py::test`, and `…::test` in the same file as the one named before."""
    wrong, file = [], None
    for name, test in TEST.findall(read(page)):
        file = name or file
        path = f"tests/e2e/{file}"
        if not os.path.exists(os.path.join(ROOT, path)) or not re.search(rf"^def {test}\(", read(path), re.M):
            wrong.append(f"{file}::{test}")
    assert not wrong, f"{page} names tests that are not there: {wrong}"


@pytest.mark.parametrize("link,why", [
    ("README.md", None), ("docs/configuration.md#keys", None), ("docs/configuration.md#top-level", None),
    ("docs/nothing.md", "no such file"), ("docs/configuration.md#no-keys", "no such heading"),
    ("https://example.net/x", None), ("htp://example.net", "not an address"), ("../x", "no such file"),
])
def test_what_a_link_is_worth(link, why):
    found = problem("README.md", link)
    assert found is None if why is None else found.startswith(why), found


def test_what_is_a_link():
    text = "[a](b.md) ![c](d.png \"e\") `[f](g)` [h [i]](j#k)\n```\n[l](m)\n```\n[n]: o.md\n"
    found = [*LINK.findall(re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", prose(text))), *REFERENCE.findall(prose(text))]
    assert found == ["b.md", "d.png", "j#k", "o.md"]


def metrics(kind):
    return set(re.findall(r'^M\(\w+, \w+, "(\w+)"', read(f"{kind}/{kind}_metrics.def"), re.M))


def table_rows(text, heading):
    """Cells of the rows of the table whose first column has that heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M).group(1)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]


ORIGINAL_METRICS = {
    "poller": {"jobs", "targets", "paused", "published_count", "publish_errors", "publish_time", "compress_time",
               "poll_errors", "poll_time", "bytes_polled"},
    "receiver": {"received", "aged_discards", "publish_errors", "paused", "decompress_time", "publish_time",
                 "seen_time"},
}


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_metrics_of_the_original(kind):
    """Each has its row, and what stands beside it is there, with these labels."""
    definitions = dict(re.findall(r'^M\(\w+, \w+, "(\w+)", "([\w,]*)"', read(f"{kind}/{kind}_metrics.def"), re.M))
    rows = table_rows(read("docs/migrate.md"), f"original, {kind}")
    assert {re.match(r"`(\w+)", row[0]).group(1) for row in rows} == ORIGINAL_METRICS[kind]
    for row in rows:
        for name, labels in re.findall(r"`(\w+)(?:\{([\w,]*)\})?`", row[1]):
            assert definitions.get(name) == labels, f"{row[0]}: {name}{{{labels}}}"


def test_keys_of_the_original():
    """Each key that is said to be the same, or to have taken a place, is one of ours."""
    keys = set(re.findall(r"^\| `(\w+)` \|", read("docs/configuration.md"), re.M))
    for row in table_rows(read("docs/migrate.md"), "original"):
        old = re.findall(r"`([\w.<>]+)`", row[0])
        named = re.findall(r"`([\w]+)`", row[1])
        if row[1].startswith("the same"):
            named += [name.split(".")[-1] for name in old]
        assert named or row[1] == "none", row
        assert set(named) <= keys, f"{row[0]}: {set(named) - keys}"


@pytest.mark.parametrize("page", PAGES)
def test_metrics_that_pages_name(page):
    named = set(re.findall(r"\bprometheus_streams_(poller|receiver)_([a-z_]+[a-z])\b", prose(read(page))))
    unknown = {name for kind, name in named
               if re.sub(r"_(bucket|sum|count)$", "", name) not in metrics(kind) and name not in metrics(kind)}
    assert not unknown, f"{page}: {unknown}"


@pytest.mark.parametrize("page,name,text", [
    (page, *block) for page in PAGES for block in BLOCK.findall(read(page)) if block[0].endswith(".yaml")])
def test_configurations_load(page, name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    kind = re.match("poller|receiver", name).group()
    done = subprocess.run([binary(kind), "--config", path, "--check-config"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "warn" not in done.stdout.lower(), f"{page}, {name}: {done.stdout}"
