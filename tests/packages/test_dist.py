# SPDX-License-Identifier: Apache-2.0
"""The tarball: the same bytes whenever and wherever it is made."""

import hashlib
import os
import re
import subprocess
import tarfile
import time

import pytest

from conftest import make, paths_in
from harness.daemons import ROOT


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def test_the_same_bytes_from_git_and_from_an_unpacked_tarball(tmp_path, version):
    path, = paths_in(make("dist"))
    assert os.path.basename(path) == f"prometheus-streams-{version}.tar.gz"
    first = digest(path)
    time.sleep(1.1)  # a time stamp of now would differ
    os.remove(path)
    make("dist")
    assert digest(path) == first
    subprocess.run(["tar", "-C", tmp_path, "-xf", path], check=True)
    unpacked = os.path.join(tmp_path, f"prometheus-streams-{version}")
    os.utime(os.path.join(unpacked, "README.md"))
    os.chmod(os.path.join(unpacked, "Makefile"), 0o600)
    make("dist", cwd=unpacked)
    assert digest(os.path.join(unpacked, "build", "dist", os.path.basename(path))) == first


@pytest.mark.skipif(not os.path.exists(os.path.join(ROOT, ".git")), reason="not a git checkout")
def test_it_holds_what_git_has(version):
    path, = paths_in(make("dist"))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with tarfile.open(path) as tarball:
        names = {member.name for member in tarball if not member.isdir()}
        owners = {(member.uid, member.gid, member.mtime) for member in tarball}
    assert names == {f"prometheus-streams-{version}/{name}" for name in [*listed.splitlines(), "MANIFEST"]}
    assert len(owners) == 1


# Remote write has numbers of its own, too.
OF_OTHERS = re.compile(rb"X-Prometheus-Remote-Write-Version: [0-9.]+")


def test_the_version_stands_in_one_place(version):
    """A release is one line: nothing else may have to follow."""
    path, = paths_in(make("dist"))
    with tarfile.open(path) as tarball:
        holding = {member.name.split("/", 1)[1] for member in tarball if member.isfile()
                   and member.name.split("/", 1)[1].startswith(("packaging/", "common/", "poller/", "receiver/",
                                                               "docs/man/", "etc/", "Makefile", "VERSION"))
                   and version.encode() in OF_OTHERS.sub(b"", tarball.extractfile(member).read())}
    # The wire's specification has numbers of its own.
    assert {name for name in holding if not name.startswith("common/wire")} == {"VERSION"}
