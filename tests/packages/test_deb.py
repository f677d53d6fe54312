# SPDX-License-Identifier: Apache-2.0
"""The Debian packages."""

import glob
import os
import re
import subprocess

import pytest

import expected
from harness.daemons import ROOT


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def unit_folder():
    """Debian moved it with the merged /usr."""
    found = subprocess.run(["pkg-config", "--variable=systemdsystemunitdir", "systemd"], capture_output=True, text=True,
                           check=False).stdout.strip()
    return found or "/usr/lib/systemd/system"


def test_lintian_finds_no_error_and_no_unexplained_warning(debs):
    changes, = glob.glob(f"{os.path.dirname(debs['poller'])}/*.changes")
    result = subprocess.run(["lintian", "--fail-on", "error,warning", "--allow-root", changes], capture_output=True,
                            text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_files(debs, kind):
    rows = [re.match(r"(\S+) (\S+) +\S+ \S+ \S+ \.(/\S*)", row).groups()
            for row in run("dpkg-deb", "-c", debs[kind]).splitlines()]
    modes = {name.rstrip("/"): mode for mode, owners, name in rows}
    assert {owners for mode, owners, name in rows} == {"root/root"}, "users are the maintainer scripts' business"
    wanted = expected.installed_files(kind, unit_folder())
    letters = {"0755": "-rwxr-xr-x", "0644": "-rw-r--r--", "0640": "-rw-r-----", "0750": "drwxr-x---"}
    assert {name: modes.get(name) for name in wanted} == {name: letters[mode[:4]] for name, mode in wanted.items()}
    files = {name for name, mode in modes.items() if mode.startswith("-") and not name.startswith("/usr/share/doc/")
             and not name.startswith("/usr/share/lintian/")}
    assert files == {name for name in wanted if name != "/etc/prometheus-streams"}
    docs = f"/usr/share/doc/prometheus-streams-{kind}"
    assert {f"{docs}/copyright", f"{docs}/changelog.Debian.gz", f"{docs}/README.md.gz"} <= set(modes)
    examples = f"{docs}/examples/"
    assert {name[len(examples):] for name, mode in modes.items() if name.startswith(examples) and mode[0] == "-"} == \
        expected.SAMPLES


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_scripts(debs, tmp_path, kind):
    name = f"prometheus-streams-{kind}"
    run("dpkg-deb", "-e", debs[kind], str(tmp_path))
    scripts = {part: (tmp_path / part).read_text() for part in ("postinst", "prerm", "postrm")}
    for text in scripts.values():
        assert text.startswith("#!/bin/sh\n") and "\nset -e\n" in text
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    post = scripts["postinst"]
    assert post.index("systemd-sysusers") < post.index("chgrp"), "the user is there before something is its own"
    assert "deb-systemd-helper enable" in post and "was-enabled" in post
    assert "--quiet was-enabled" in post, "enabled again only where it was"
    assert f"try-restart '{name}@*.service'" in post
    assert f"stop '{name}@*.service'" in scripts["prerm"]
    assert (tmp_path / "conffiles").read_text().split() == [
        f"/etc/logrotate.d/{name}", f"/etc/prometheus-streams/{kind}.yaml"]


def newer_package(deb, tmp_path, change_sample):
    """The same with a higher version, and another sample where asked."""
    tree = str(tmp_path / os.path.basename(deb))
    run("dpkg-deb", "-R", deb, tree)
    control = os.path.join(tree, "DEBIAN/control")
    text = open(control, encoding="utf-8").read()
    changed = re.sub(r"^Version: (.*)$", r"Version: \1.1", text, flags=re.MULTILINE)
    assert changed != text
    with open(control, "w", encoding="utf-8") as file:
        file.write(changed)
    if change_sample:
        sample, = glob.glob(f"{tree}/etc/prometheus-streams/*.yaml")
        with open(sample, "a", encoding="utf-8") as file:
            file.write("# Newer.\n")
    path = f"{tree}.newer.deb"
    run("dpkg-deb", "-b", tree, path)
    return path


def install(root, debs):
    root.run("dpkg", "-i", "--force-confold", *[root.bring(debs[kind]) for kind in sorted(debs)])


def test_install_upgrade_and_removal(root, debs, tmp_path):
    install(root, debs)
    expected.check_installed(root, unit_folder())
    assert not root.exists("/etc/systemd/system/multi-user.target.wants/prometheus-streams-poller.service"), \
        "it is enabled by those who have configured it"
    kept = expected.change_configurations(root)

    install(root, {kind: newer_package(debs[kind], tmp_path, kind == "receiver") for kind in debs})
    assert root.run("dpkg-query", "-W", "-f", "${Version}", "prometheus-streams-poller").endswith(".1")
    expected.check_kept(root, kept)
    assert root.read("/etc/prometheus-streams/receiver.yaml.dpkg-dist").endswith("# Newer.\n")
    assert not root.exists("/etc/prometheus-streams/poller.yaml.dpkg-dist")

    root.run("dpkg", "--remove", "prometheus-streams-poller")
    assert not root.exists("/usr/bin/prometheus-streams-poller")
    expected.check_kept(root, kept)
    root.run("mkdir", "-p", "/var/log/prometheus-streams")
    for name in ("poller.log", "poller.log.1", "receiver.log"):
        root.write(f"/var/log/prometheus-streams/{name}", "x\n")
    root.run("dpkg", "--purge", "prometheus-streams-poller")
    assert not root.exists("/etc/prometheus-streams/poller.yaml")
    assert root.run("ls", "/var/log/prometheus-streams").split() == ["receiver.log"], "not the other's"
    assert root.exists("/usr/bin/prometheus-streams-receiver")
    root.run("dpkg", "--purge", "prometheus-streams-receiver")
    left = root.run("find", "/usr/bin", "/usr/lib/systemd", "/usr/lib/sysusers.d", "/usr/share/man", "/etc", "/var/log",
                    "/var/lib/prometheus-streams", "-name", "*prometheus-streams*", check=False)
    assert [line for line in left.splitlines() if "No such file" not in line] == []


def test_an_overridden_owner_stays(root, debs):
    install(root, debs)
    root.run("dpkg-statoverride", "--update", "--add", "root", "adm", "0640", "/etc/prometheus-streams/poller.yaml")
    root.run("dpkg-reconfigure", "-fnoninteractive", "prometheus-streams-poller")
    assert root.stat("/etc/prometheus-streams/poller.yaml") == "0640 root:adm"


def test_build_dependencies_are_what_make_deps_installs():
    """Two lists of the same libraries."""
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
        makefile = file.read().replace("\\\n", " ")
    ours = set(re.search(r"^DEBIAN_PACKAGES := (.*)$", makefile, re.MULTILINE).group(1).split())
    with open(os.path.join(ROOT, "packaging/debian/control"), encoding="utf-8") as file:
        field = re.search(r"^Build-Depends: (.*?)\n\S", file.read().replace("\n\n", "\nX\n"), re.DOTALL | re.MULTILINE)
    theirs = {re.split(r"[ (|]", entry.strip())[0] for entry in field.group(1).split(",")}
    libraries = {name for name in ours if name.endswith("-dev")}
    assert libraries - {"libc6-dev", "libcmocka-dev", "libclang-rt-dev"} == theirs - {"debhelper-compat", "pkgconf"}
