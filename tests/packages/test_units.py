# SPDX-License-Identifier: Apache-2.0
"""The systemd units: what they promise, and how little they let the daemons do."""

import glob
import os
import re
import subprocess

import pytest

from conftest import make

MAX_EXPOSURE = 2.0
UNITS = ["prometheus-streams-poller.service", "prometheus-streams-poller@.service",
         "prometheus-streams-receiver.service", "prometheus-streams-receiver@.service"]


def read_unit(tree, unit):
    with open(os.path.join(tree, "usr/lib/systemd/system", unit), encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("=", 1) for line in file if "=" in line and not line.startswith("#")]
    return {key: value for key, value in pairs}


def test_these_are_all(tree):
    assert sorted(map(os.path.basename, glob.glob(f"{tree}/usr/lib/systemd/system/*"))) == sorted(UNITS)


def exposure(root, unit):
    result = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={root}", unit],
                            capture_output=True, text=True, check=True)
    found = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout).group(1))
    print(f"{unit}: exposure {found}\n{result.stdout if found > MAX_EXPOSURE else ''}")
    return found


@pytest.mark.parametrize("unit", UNITS)
def test_exposure(tree, unit):
    assert exposure(tree, unit) <= MAX_EXPOSURE


@pytest.mark.parametrize("unit", UNITS)
def test_life(tree, unit):
    keys = read_unit(tree, unit)
    kind = re.search("poller|receiver", unit).group()
    name = f"{kind}-%i" if "@" in unit else kind
    assert keys["Type"] == "notify"
    assert keys["NotifyAccess"] == "main"
    assert keys["ExecStart"] == \
        f"/usr/bin/prometheus-streams-{kind} --config /etc/prometheus-streams/{name}.yaml"
    assert keys["EnvironmentFile"] == f"-/etc/prometheus-streams/{name}.env"
    assert keys["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(keys["WatchdogSec"]) >= 10
    assert (keys["Restart"], keys["RestartPreventExitStatus"]) == ("on-failure", "2")
    assert keys["User"] == keys["Group"] == "prometheus-streams"
    assert keys["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_it(tree, unit):
    """Beside what a tree without an operating system lacks of course."""
    path = os.path.join(tree, "usr/lib/systemd/system", unit)
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True,
                            check=False)
    ours = [line for line in result.stderr.splitlines() if "prometheus-streams" in line
            and "is not executable" not in line]
    assert ours == []


def test_another_prefix(tmp_path):
    make("install", f"DESTDIR={tmp_path}", f"B={os.environ.get('BUILD', 'build/release')}")
    unit = (tmp_path / "usr/local/lib/systemd/system/prometheus-streams-poller@.service").read_text()
    assert "\nExecStart=/usr/local/bin/prometheus-streams-poller --config " in unit
    assert (tmp_path / "usr/local/bin/prometheus-streams-poller").exists()
    assert (tmp_path / "etc/prometheus-streams/poller.yaml").exists()


def test_an_installation_keeps_a_configuration(tmp_path):
    arguments = ["install", f"DESTDIR={tmp_path}", f"B={os.environ.get('BUILD', 'build/release')}"]
    make(*arguments)
    config = tmp_path / "etc/prometheus-streams/receiver.yaml"
    config.write_text("# mine\n")
    make(*arguments)
    assert config.read_text() == "# mine\n"


def test_sysusers_make_the_user(tree, tmp_path):
    for folder in ("etc", "usr/lib/sysusers.d"):
        os.makedirs(tmp_path / folder, exist_ok=True)
    for kind in ("poller", "receiver"):
        name = f"usr/lib/sysusers.d/prometheus-streams-{kind}.conf"
        (tmp_path / name).write_text(open(os.path.join(tree, name), encoding="utf-8").read())
        subprocess.run(["systemd-sysusers", f"--root={tmp_path}", f"prometheus-streams-{kind}.conf"], check=True,
                       capture_output=True)
    rows = [row.split(":") for row in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert [row[0] for row in rows] == ["prometheus-streams"]
    assert rows[0][5] == "/var/lib/prometheus-streams"
    assert rows[0][6].endswith("nologin")


@pytest.mark.parametrize("kind", ["poller", "receiver"])
def test_logrotate_takes_it(tree, kind):
    result = subprocess.run(["/usr/sbin/logrotate", "--debug", "--state", "/dev/null",
                             os.path.join(tree, "etc/logrotate.d", f"prometheus-streams-{kind}")],
                            capture_output=True, text=True, check=False)
    # The user is not one of this machine: the only thing that may be wrong here.
    errors = [line for line in result.stderr.splitlines() if "error:" in line
              and "unknown user 'prometheus-streams'" not in line and "found error in" not in line]
    assert errors == []
    assert f"/var/log/prometheus-streams/{kind}*.log" in result.stderr
