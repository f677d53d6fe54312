# SPDX-License-Identifier: Apache-2.0
"""The RPMs. Debian's rpm knows none of this machine's packages: hence --nodeps."""

import glob
import os
import re
import shutil
import subprocess

import pytest

import expected
from conftest import binary_packages, make, paths_in
from harness.daemons import ROOT

UNITS = "/usr/lib/systemd/system"
MACROS = f"--load={ROOT}/packaging/rpm/macros.debian"
TOP = os.path.join(ROOT, "build/rpm")
SPEC = os.path.join(TOP, "SPECS/prometheus-streams.spec")


def rpm(*args):
    return subprocess.run(["rpm", *args], capture_output=True, text=True, check=True).stdout


def script(path, name):
    """One scriptlet's text."""
    return rpm("-qp", "--qf", f"%{{{name}}}", path)


def expand(*args):
    return subprocess.run(["rpmspec", "--define", f"_topdir {TOP}", MACROS, *args, SPEC], capture_output=True,
                          text=True, check=False)


def test_the_spec_is_one(rpm_build, version):
    assert rpm_build
    result = expand("-P")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"Version:        {version}" in result.stdout
    assert "nats.c" not in result.stdout and "pkgconfig(libnats)" in result.stdout


@pytest.mark.parametrize("distribution", ["rhel 9", "fedora 41"])
def test_where_cnats_is_not_packaged_it_is_a_source_with_a_checksum(rpm_build, distribution):
    assert rpm_build
    result = expand("-P", "--define", distribution)
    assert result.returncode == 0, result.stderr
    source, = re.findall(r"^Source2: +(https://\S+/v(3\.\d+\.\d+)/nats\.c-\2\.tar\.gz)$", result.stdout, re.MULTILINE)
    assert re.search(rf'^echo "[0-9a-f]{{64}}  \S+/nats\.c-{re.escape(source[1])}\.tar\.gz" \| sha256sum -c',
                     result.stdout, re.MULTILINE)
    assert "pkgconfig(libnats)" not in result.stdout
    assert result.stdout.count("bundled(cnats)") == 2


def test_rpmlint_finds_no_error_and_no_unexplained_warning(rpms):
    # The package for debuggers is rpm's work, and takes none of its own rules for programs.
    packages = [*rpms.values(), *glob.glob(f"{TOP}/SRPMS/*.rpm")]
    assert len(packages) == 3
    result = subprocess.run(["rpmlint", "-c", os.path.join(ROOT, "packaging/rpm/rpmlint.toml"), SPEC, *packages],
                            capture_output=True, text=True, check=False)
    assert "3 packages and 1 specfiles checked; 0 errors, 0 warnings" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_files(rpms, version, kind):
    rows = [row.split("|") for row in
            rpm("-qp", "--qf", "[%{FILENAMES}|%{FILEMODES:octal}|%{FILEUSERNAME}:%{FILEGROUPNAME}|%{FILEFLAGS:fflags}\n]",
                rpms[kind]).splitlines()]
    found = {name: f"{mode[-4:]} {owners}" for name, mode, owners, flags in rows
             if "/.build-id" not in name and "/usr/share/doc/" not in name and "/usr/share/licenses/" not in name}
    assert found == {**expected.installed_files(kind, UNITS),
                     "/var/lib/prometheus-streams": "0750 prometheus-streams:prometheus-streams",
                     "/var/log/prometheus-streams": "0750 prometheus-streams:prometheus-streams"}
    examples = f"/usr/share/doc/prometheus-streams-{kind}-{version}/examples/"
    assert {name[len(examples):] for name, mode, _, _ in rows if name.startswith(examples) and mode.startswith("10")} \
        == expected.SAMPLES
    flags = {name: flags for name, mode, owners, flags in rows}
    assert {name for name in flags if flags[name] == "cn"} == {
        f"/etc/prometheus-streams/{kind}.yaml", f"/etc/logrotate.d/prometheus-streams-{kind}"}
    assert [name for name in flags if flags[name] == "l"] == [
        f"/usr/share/licenses/prometheus-streams-{kind}-{version}/LICENSE"]


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_scriptlets(rpms, kind):
    name = f"prometheus-streams-{kind}"
    assert "useradd -r -g 'prometheus-streams'" in script(rpms[kind], "PREIN")
    assert f"preset {name}.service" in script(rpms[kind], "POSTIN")
    assert f"disable --now {name}.service" in script(rpms[kind], "PREUN")
    assert f"systemctl stop '{name}@*.service'" in script(rpms[kind], "PREUN")
    assert f"try-restart {name}.service" in script(rpms[kind], "POSTUN")
    assert f"systemctl try-restart '{name}@*.service'" in script(rpms[kind], "POSTUN")
    for part in ("PREIN", "POSTIN", "PREUN", "POSTUN"):
        subprocess.run(["sh", "-n"], input=script(rpms[kind], part), text=True, check=True)


def test_debuginfo_is_for_the_binaries(rpms, tmp_path):
    debuginfo, = glob.glob(f"{TOP}/RPMS/*/prometheus-streams-debuginfo-*.rpm")
    names = rpm("-qpl", debuginfo)
    for kind in ("poller", "receiver"):
        assert re.search(rf"^/usr/lib/debug/usr/bin/prometheus-streams-{kind}\S*\.debug$", names, re.MULTILINE)
        subprocess.run(f"rpm2cpio {rpms[kind]} | cpio -idm --quiet", shell=True, cwd=tmp_path, check=True)
        described = subprocess.run(["file", f"{tmp_path}/usr/bin/prometheus-streams-{kind}"], capture_output=True,
                                   text=True, check=True).stdout
        assert "stripped" in described and "not stripped" not in described
    assert "/common/loop/daemon.c" in names


def test_a_cnats_of_another_checksum_is_refused(rpm_build, tmp_path):
    assert rpm_build
    shutil.copytree(f"{TOP}/SOURCES", tmp_path / "SOURCES")
    (tmp_path / "SOURCES/nats.c-3.4.1.tar.gz").write_bytes(b"something else")
    result = subprocess.run(["rpmbuild", "-bp", "--with", "bundled_cnats", "--nodeps", MACROS, "--define",
                             f"_topdir {tmp_path}", SPEC], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert re.search(r"nats\.c-3\.4\.1\.tar\.gz: FAILED", result.stdout + result.stderr)


@pytest.mark.skipif("CNATS_TARBALL" not in os.environ, reason="CNATS_TARBALL names no source of cnats")
def test_cnats_can_be_linked_statically(tmp_path):
    dist, = paths_in(make("dist"))
    result = subprocess.run([f"{ROOT}/packaging/rpm/build.sh", dist, tmp_path, os.environ["CNATS_TARBALL"]],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for path in binary_packages(result.stdout, ".rpm").values():
        assert "libnats" not in rpm("-qp", "--requires", path)
        assert "bundled(cnats) = 3.4.1" in rpm("-qp", "--provides", path)
        assert "/LICENSE.cnats" in rpm("-qpl", path)


def newer_packages(tmp_path):
    """Release 2, quickly built, whose sample for the receiver is another one."""
    shutil.copytree(f"{TOP}/SOURCES", tmp_path / "SOURCES")
    spec = open(SPEC, encoding="utf-8").read().replace("Release:        1", "Release:        2").replace(
        "\n%check\n", "\necho '# Newer.' >>%{buildroot}/etc/prometheus-streams/receiver.yaml\n\n%check\n")
    path = tmp_path / "prometheus-streams.spec"
    path.write_text(spec)
    env = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    result = subprocess.run(["rpmbuild", "-bb", "--nodeps", MACROS, "--define", f"_topdir {tmp_path}", "--define",
                             "optflags -O0 -g", path], capture_output=True, text=True, env=env, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    return binary_packages("\n".join(glob.glob(f"{tmp_path}/RPMS/*/*.rpm")), ".rpm")


def install(root, packages, how="-i"):
    root.run("rpm", how, "--nodeps", *[root.bring(packages[kind]) for kind in sorted(packages)])


def test_install_upgrade_and_removal(root, rpms, tmp_path):
    install(root, rpms)
    expected.check_installed(root, UNITS)
    kept = expected.change_configurations(root)

    install(root, newer_packages(tmp_path), "-U")
    assert re.findall(r"-2\.x86_64|-2\S*$", root.run("rpm", "-q", "prometheus-streams-poller"), re.MULTILINE)
    expected.check_kept(root, kept)
    # The one whose sample changed comes beside the administrator's, the other not at all.
    assert root.read("/etc/prometheus-streams/receiver.yaml.rpmnew").endswith("# Newer.\n")
    assert not root.exists("/etc/prometheus-streams/poller.yaml.rpmnew")

    root.run("rpm", "-e", "prometheus-streams-poller")
    assert not root.exists("/usr/bin/prometheus-streams-poller")
    assert root.exists("/usr/bin/prometheus-streams-receiver")
    assert root.read("/etc/prometheus-streams/poller.yaml.rpmsave") == kept["/etc/prometheus-streams/poller.yaml"]
    root.run("rpm", "-e", "prometheus-streams-receiver")
    left = root.run("find", "/usr/bin", UNITS, "/usr/lib/sysusers.d", "/usr/share/man", "/etc/logrotate.d",
                    "/var/lib/prometheus-streams", "/var/log/prometheus-streams", "-name", "*prometheus-streams*",
                    check=False)
    assert [line for line in left.splitlines() if "No such file" not in line] == []
