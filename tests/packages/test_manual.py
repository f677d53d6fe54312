# SPDX-License-Identifier: Apache-2.0
"""The manual pages as they are installed."""

import glob
import os
import re
import subprocess

import pytest

from harness.daemons import binary

PAGES = ["man5/prometheus-streams-poller.yaml.5", "man5/prometheus-streams-receiver.yaml.5",
         "man8/prometheus-streams-poller.8", "man8/prometheus-streams-receiver.8"]


def text_of(path):
    shown = subprocess.run(["mandoc", "-Tutf8", "-Owidth=200", path], capture_output=True, text=True, check=True).stdout
    return re.sub(".\b", "", shown)


def test_these_are_all(tree):
    found = glob.glob(f"{tree}/usr/share/man/*/*")
    assert sorted(os.path.relpath(path, f"{tree}/usr/share/man") for path in found) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_well_formed(tree, page):
    path = os.path.join(tree, "usr/share/man", page)
    lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, text=True, check=False).stdout
    # No date: it would be a second thing to change with every release.
    assert [line for line in lint.splitlines() if "missing date" not in line] == []
    name = os.path.basename(page).rsplit(".", 1)[0]
    text = text_of(path)
    assert text.lstrip().startswith(name.upper() + "(")
    assert re.search(rf"NAME\n +{re.escape(name)} - ", text)


@pytest.mark.parametrize("page", PAGES)
def test_see_also_exists(tree, page):
    text = text_of(os.path.join(tree, "usr/share/man", page))
    named = re.findall(r"(prometheus-streams[a-z.-]*)\((\d)\)", text.split("SEE ALSO")[1])
    assert len(named) >= 2
    assert {f"man{section}/{name}.{section}" for name, section in named} <= set(PAGES)


def test_every_option_of_help_is_there(tree):
    for kind in ("poller", "receiver"):
        text = text_of(os.path.join(tree, "usr/share/man/man8", f"prometheus-streams-{kind}.8"))
        shown = subprocess.run([binary(kind), "--help"], capture_output=True, text=True, check=True).stdout
        options = re.findall(r"^  (--\S+(?: [A-Za-z|]+)?) ", shown, re.MULTILINE)
        assert len(options) >= 9
        for option in options:
            assert option in text


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_the_examples_load(tree, tmp_path, kind):
    text = text_of(os.path.join(tree, "usr/share/man/man5", f"prometheus-streams-{kind}.yaml.5"))
    example = text.split(f"A {kind}:\n")[1].split("\n       A ")[0].split("SEE ALSO")[0]
    lines = [line for line in example.splitlines() if line.strip()]
    left = min(len(line) - len(line.lstrip()) for line in lines if ":" in line)
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(line[left:] for line in lines if line.startswith(" " * left)) + "\n")
    result = subprocess.run([binary(kind), "--config", path, "--check-config"], capture_output=True, text=True,
                            check=False)
    assert (result.returncode, result.stderr) == (0, ""), path.read_text()
