# SPDX-License-Identifier: Apache-2.0
"""Both programs as a person at a shell meets them."""

import os
import subprocess
import time

import pytest
import yaml

from harness.daemons import ROOT, binary

KINDS = ("poller", "receiver")
ORIGINAL = os.path.join(os.environ.get("CONFIGS", os.path.join(ROOT, "..", "shared", "configs")), "original-sample.yaml")


def run(kind, *args, env=None):
    return subprocess.run([binary(kind), *args], capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, **(env or {})})


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return str(path)


MINIMAL = """
identity: dc1
poller_stream: {urls: "nats://user:secret-word@127.0.0.1:4222", stream: S}
receiver_stream: {urls: "nats://127.0.0.1:4222", stream: S, client_id: recv}
push_gateway: {url: "http://127.0.0.1:9091"}
jobs:
  node:
    targets: [{name: web1, url: "http://web1:9100/metrics"}]
"""


@pytest.mark.parametrize("kind", KINDS)
def test_help_and_version(kind):
    assert run(kind, "--help").returncode == 0
    assert "--check-config" in run(kind, "--help").stdout
    version = run(kind, "--version")
    with open(os.path.join(ROOT, "VERSION"), encoding="utf-8") as file:
        assert version.stdout == f"prometheus-streams-{kind} {file.read().strip()}\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("args", [[], ["--config"], ["--nonsense"], ["x"], ["--config", "/nonexistent/x.yaml"],
                                  ["--log-format", "xml", "--config", "x"]])
def test_bad_command_lines_exit_2(kind, args):
    result = run(kind, *args)
    assert result.returncode == 2
    assert result.stderr and not result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_check_config_says_what_was_understood(kind, tmp_path):
    result = run(kind, "--config", write(tmp_path, MINIMAL), "--check-config")
    assert result.returncode == 0, result.stderr
    wanted = ["node", "web1", "prometheus.scrape.dc1"] if kind == "poller" else ["recv_push_gateway", "9091"]
    for word in ["S", *wanted]:
        assert word in result.stdout
    assert "secret-word" not in result.stdout + result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_print_config_loads_again_and_masks_secrets(kind, tmp_path):
    first = run(kind, "--config", write(tmp_path, MINIMAL), "--print-config")
    assert first.returncode == 0, first.stderr
    assert "secret-word" not in first.stdout
    yaml.safe_load(first.stdout)
    again = run(kind, "--config", write(tmp_path, first.stdout), "--print-config")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not os.path.exists(ORIGINAL), reason="the original's sample is absent")
def test_the_originals_sample_loads_unchanged(kind):
    result = run(kind, "--config", ORIGINAL, "--check-config")
    assert result.returncode == 0, result.stderr
    assert ("dc1_stream" if kind == "poller" else "global_stream") in result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_reported_with_its_place(kind, tmp_path):
    text = MINIMAL + "max_agee: 80\nscrape_interval: -5s\nnothing_like_it: 1\n"
    result = run(kind, "--config", write(tmp_path, text), "--check-config")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    at = len(MINIMAL.splitlines())
    assert any(f"config.yaml:{at + 1}:1: " in line and "max_agee" in line and '"max_age"' in line for line in lines)
    assert any(f"config.yaml:{at + 2}:" in line for line in lines)
    assert any(f"config.yaml:{at + 3}:1: " in line for line in lines)


def test_an_interval_above_max_age_is_warned_of(tmp_path):
    result = run("poller", "--config", write(tmp_path, MINIMAL + "scrape_interval: 5m\n"), "--check-config")
    assert result.returncode == 0
    assert "warning" in result.stderr and "max_age" in result.stderr


def test_environment_variables(tmp_path):
    path = write(tmp_path, MINIMAL.replace("identity: dc1", "identity: ${PS_TEST_IDENTITY}"))
    assert "prometheus.scrape.paris" in run("poller", "--config", path, "--check-config",
                                            env={"PS_TEST_IDENTITY": "paris"}).stdout
    missing = run("poller", "--config", path, "--check-config")
    assert missing.returncode == 2 and "PS_TEST_IDENTITY" in missing.stderr


def test_50000_targets(tmp_path):
    targets = "\n".join(f'    - {{name: "t{n}", url: "http://10.0.{n // 250}.{n % 250}:9100/metrics"}}'
                        for n in range(50_000))
    text = MINIMAL + f"  many:\n    targets:\n{targets}\n"
    begin = time.monotonic()
    result = run("poller", "--config", write(tmp_path, text), "--check-config")
    assert result.returncode == 0, result.stderr[:2000]
    assert "50000" in result.stdout
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_samples_load(kind):
    path = os.path.join(ROOT, "etc", f"{kind}.yaml")
    assert run(kind, "--config", path, "--check-config").returncode == 0
