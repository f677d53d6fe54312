# SPDX-License-Identifier: Apache-2.0
"""The container recipe without an engine: read as one, and each stage carried out in a scratch root over
this machine's system in place of the image that it names. What that cannot show: that the images can be
had, and that the packages named suffice on top of theirs; the latter is asked of the linker."""

import json
import os
import re
import subprocess

import pytest
import yaml

import scratch
from conftest import make, paths_in
from harness import http
from harness.daemons import ROOT, binary
from harness.process import Process, free_port, wait_until

FOLDER = os.path.join(ROOT, "packaging/container")
KINDS = ("poller", "receiver")


def read_recipe():
    """[(stage, its base, [(instruction, words)])]"""
    with open(os.path.join(FOLDER, "Containerfile"), encoding="utf-8") as file:
        text = "".join(line for line in file if not line.startswith("#"))
    stages = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        instruction, words = line.split(None, 1)
        if instruction == "FROM":
            base, stage = re.fullmatch(r"(\S+) AS (\S+)", words).groups()
            stages.append((stage, base, []))
        else:
            stages[-1][2].append((instruction, words))
    return stages


def packages_of(stage):
    runs = [words for name, _, steps in read_recipe() if name == stage for instruction, words in steps
            if instruction == "RUN"]
    return set(re.search(r"apt-get install -y --no-install-recommends (.*?) +&&", runs[0]).group(1).split())


def steps_of(stage):
    """Of the stage and of those it is made from, in order."""
    by_name = {name: (base, steps) for name, base, steps in read_recipe()}
    base, steps = by_name[stage]
    return (steps_of(base) if base in by_name else []) + steps


def test_stages():
    stages = read_recipe()
    assert [name for name, _, _ in stages] == ["build", "base", *KINDS]
    assert {base for _, base, _ in stages} == {"docker.io/library/debian:bookworm-slim", "base"}
    for kind in KINDS:
        steps = dict(steps_of(kind))
        assert int(steps["USER"].split(":")[0]) > 0
        assert "CMD curl" in steps["HEALTHCHECK"]
        assert json.loads(steps["ENTRYPOINT"]) == [f"/usr/bin/prometheus-streams-{kind}"]
        assert json.loads(steps["CMD"]) == ["--config", f"/etc/prometheus-streams/{kind}.yaml"]


def test_the_build_stage_has_what_make_deps_installs_to_build():
    with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
        makefile = file.read().replace("\\\n", " ")
    ours = re.search(r"^DEBIAN_PACKAGES := (.*)$", makefile, re.MULTILINE).group(1).split()
    assert packages_of("build") == set(ours[:ours.index("libcmocka-dev")])


def test_the_images_have_every_library():
    """On the release that the recipe names."""
    with open("/etc/os-release", encoding="utf-8") as file:
        if "VERSION_CODENAME=bookworm" not in file.read():
            pytest.skip("not the release that the recipe is for")
    depends = subprocess.run(["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
                              "--no-breaks", "--no-replaces", "--no-enhances", *packages_of("base")],
                             capture_output=True, text=True, check=True).stdout
    there = {line.strip() for line in depends.splitlines() if not line.startswith(" ")}
    linked = "".join(subprocess.run(["ldd", binary(kind)], capture_output=True, text=True, check=True).stdout
                     for kind in KINDS)
    names = sorted({os.path.basename(os.path.realpath(path)) for path in re.findall(r"=> (\S+)", linked)})
    # By its name: dpkg may have it under /lib, which is a link to /usr/lib.
    found = subprocess.run(["dpkg", "-S", *(f"*/{name}" for name in names)], capture_output=True, text=True,
                           check=True).stdout
    assert len(names) > 20
    for name in names:
        owners = {line.split(":")[0] for line in found.splitlines() if line.endswith(f"/{name}")}
        assert owners & there, f"{name} is of {owners}, which the image lacks"


def test_compose(tmp_path):
    with open(os.path.join(FOLDER, "compose.yaml"), encoding="utf-8") as file:
        compose = yaml.safe_load(file)
    services = compose["services"]
    stages = {name for name, _, _ in read_recipe()}
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services)
        if "build" in service:
            build = service["build"]
            assert os.path.samefile(os.path.join(FOLDER, build["context"]), ROOT)
            assert os.path.exists(os.path.join(ROOT, build["dockerfile"]))
            assert build["target"] in stages and build["target"] == name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or os.path.exists(os.path.join(FOLDER, source))
    for kind in KINDS:
        config = os.path.join(FOLDER, f"{kind}.yaml")
        result = subprocess.run([binary(kind), "--config", config, "--check-config"], capture_output=True, text=True,
                                check=False)
        assert (result.returncode, result.stderr) == (0, "")
        with open(config, encoding="utf-8") as file:
            hosts = re.findall(r'(?://|")([a-z-]+):\d+', file.read())
        assert len(hosts) == 2 and set(hosts) <= set(services)
        assert f"MONITOR_PORT={yaml.safe_load(open(config, encoding='utf-8'))['monitor_port']}" in \
            dict(steps_of(kind))["ENV"]


def carry_out(root, steps, built=None):
    """The instructions that change files. What apt would install is here already: no archive is asked."""
    folder = "/"
    for instruction, words in steps:
        if instruction == "WORKDIR":
            folder = words
            root.run("mkdir", "-p", folder)
        elif instruction == "COPY" and words == ". .":
            root.run("tar", "-C", folder, "--strip-components=1", "-xf", root.bring(paths_in(make("dist"))[0]))
        elif instruction == "COPY":
            source, target = re.fullmatch(r"--from=build (\S+) (\S+)", words).groups()
            subprocess.run(["cp", "-p", built.inside(source), root.inside(target)], check=True)
        elif instruction == "RUN":
            words = re.sub(r"apt-get update +&& +apt-get install", "apt-get install --no-download --no-upgrade", words)
            root.run("sh", "-c", f"cd {folder} && {words}")


def test_each_stage_can_be_carried_out_and_the_health_check_works(root, tmp_path):
    carry_out(root, steps_of("build"))
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        image = scratch.Scratch(tmp_path / kind)
        try:
            carry_out(image, steps_of(kind), built=root)
            check_image(image, kind, tmp_path)
        finally:
            image.close()


def check_image(image, kind, folder):
    steps = dict(steps_of(kind))
    port = free_port()
    image.run("mkdir", "-p", "/etc/prometheus-streams")
    with open(os.path.join(FOLDER, f"{kind}.yaml"), encoding="utf-8") as file:
        image.write(f"/etc/prometheus-streams/{kind}.yaml", re.sub(
            r"(?<=//)[a-z-]+(?=:\d)", "127.0.0.1", file.read().replace("monitor_port: 10000", f"monitor_port: {port}")))
    as_user = ["chroot", f"--userspec={steps['USER']}", image.path]
    check = re.search(r"CMD (.*)", steps["HEALTHCHECK"]).group(1)

    def health():
        return subprocess.run([*as_user, "sh", "-c", check], env={"PATH": "/usr/bin:/bin", "MONITOR_PORT": str(port)},
                              capture_output=True, check=False, executable="/usr/sbin/chroot").returncode

    assert health() != 0
    daemon = Process(kind, [*as_user, *json.loads(steps["ENTRYPOINT"]), *json.loads(steps["CMD"])],
                     os.path.join(str(folder), f"{kind}.log"))
    try:
        wait_until(lambda: http.get(f"http://127.0.0.1:{port}/-/healthy")[0] == 200, what=f"{kind} is healthy")
        assert health() == 0
    finally:
        assert daemon.stop() == 0, daemon.log()
