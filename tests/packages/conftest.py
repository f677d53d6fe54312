# SPDX-License-Identifier: Apache-2.0
"""Packages built once per run, and scratch roots to install them in."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import scratch  # noqa: E402
from harness.daemons import ROOT  # noqa: E402


def make(target, *variables, cwd=ROOT):
    """A make of its own, whatever this test is run by."""
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    result = subprocess.run(["make", "--no-print-directory", target, *variables], cwd=cwd, env=env,
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"make {target}:\n{result.stdout[-3000:]}\n{result.stderr[-6000:]}"
    return result.stdout


def paths_in(output):
    return [os.path.join(ROOT, line) for line in output.splitlines() if line.endswith((".rpm", ".deb", ".tar.gz"))]


def binary_packages(output, extension):
    """{"poller": path, "receiver": path} of what a build printed."""
    found = {}
    for path in paths_in(output):
        name = os.path.basename(path)
        for kind in ("poller", "receiver"):
            if name.startswith((f"prometheus-streams-{kind}-0", f"prometheus-streams-{kind}_")) and \
                    name.endswith(extension):
                found[kind] = path
    assert sorted(found) == ["poller", "receiver"], output
    return found


@pytest.fixture(scope="session")
def version():
    with open(os.path.join(ROOT, "VERSION"), encoding="utf-8") as file:
        return file.read().strip()


@pytest.fixture(scope="session")
def rpm_build():
    """What `make rpm` printed."""
    return make("rpm")


@pytest.fixture(scope="session")
def rpms(rpm_build):
    return binary_packages(rpm_build, ".rpm")


@pytest.fixture(scope="session")
def debs():
    return binary_packages(make("deb"), ".deb")


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Installed by `make install` alone."""
    folder = tmp_path_factory.mktemp("tree")
    make("install", f"DESTDIR={folder}", "PREFIX=/usr", f"B={os.environ.get('BUILD', 'build/release')}")
    return str(folder)


@pytest.fixture
def root(tmp_path):
    """A writable copy of this machine that nothing remains of."""
    reason = scratch.why_not()
    if reason:
        pytest.skip(reason)
    made = scratch.Scratch(tmp_path)
    yield made
    made.close()
