# SPDX-License-Identifier: Apache-2.0
"""The sink that writes files: every scrape once, in order, whatever is killed or full; names that try to
leave the folder; what is kept and what goes."""

import glob
import os
import random
import re
import shutil
import subprocess
import threading
import time

import pytest

from conftest import STREAM
from harness import frames, zstd
from harness.process import wait_until
from harness.stubs import Target

BODY = "# HELP app_requests Requests.\n# TYPE app_requests counter\napp_requests {}\n"
NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z\.prom(\.zst)?$")


def file_name(at_ms):
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(at_ms // 1000)) + f".{at_ms % 1000:03d}Z.prom"


def read(path):
    with open(path, "rb") as file:
        return file.read().decode()


def scrapes(folder):
    """The names of a target's files, oldest first."""
    return sorted(name for name in os.listdir(folder) if NAME.match(name)) if os.path.isdir(folder) else []


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "scrapes")


def receiver_of(world, nats, folder, start=True, stream=None, name=None, top=None, **keys):
    return world.receiver(nats, None, start=start, stream=stream, name=name, files={"dir": folder, **keys},
                          **(top or {}))


def test_what_a_file_says(world, nats, client, folder):
    receiver = receiver_of(world, nats, folder)
    at_ms = frames.now_ms()
    body = BODY.format(1) + 'app_when 2 1234\n\napp_label{instance="own",x="\\"y\\""}  3 \nup 7\n'
    frames.publish(client, "dc1", "app", "web1:80", body, at_ms, {"env": "prod"})
    frames.publish(client, "dc1", "app", "web1:80", "", at_ms, **{"Ps-Up": "0", "Ps-Error": "no route to host"})
    frames.publish(client, "dc1", "app", "web2:80", "app_requests {\n", at_ms)
    below = f"{folder}/dc1/app/web1=3A80"
    labelled = wait_until(lambda: glob.glob(f"{below}/[0-9a-f]*/latest"), what="the labelled target's file")[0]
    report = ('# TYPE up gauge\nup {} {t}\n# TYPE scrape_duration_seconds gauge\nscrape_duration_seconds 0.1 {t}\n'
              '# TYPE scrape_samples_scraped gauge\nscrape_samples_scraped {} {t}\n')
    assert os.readlink(labelled) == file_name(at_ms)
    assert read(labelled) == (
        '# target {publisher="dc1",job="app",instance="web1:80",env="prod"}\n'
        f"# HELP app_requests Requests.\n# TYPE app_requests counter\napp_requests 1 {at_ms}\n"
        f'app_when 2 1234\n\napp_label{{instance="own",x="\\"y\\""}}  3 {at_ms}\n' + report.format(1, 4, t=at_ms))
    with open(labelled, "rb") as file:
        checked = subprocess.run(["promtool", "check", "metrics"], stdin=file, capture_output=True, check=False)
    assert checked.returncode in (0, 3), checked.stderr  # 3: it would name things otherwise
    wait_until(lambda: os.path.exists(f"{below}/latest"))
    assert read(f"{below}/latest") == ('# target {publisher="dc1",job="app",instance="web1:80"}\n'
                                       "# error no route to host\n" + report.format(0, 0, t=at_ms))
    wait_until(lambda: os.path.exists(f"{folder}/dc1/app/web2=3A80/latest"))
    text = read(f"{folder}/dc1/app/web2=3A80/latest")
    assert "\n# error " in text and "line 1" in text and f"\nup 0 {at_ms}\n" in text
    wait_until(lambda: receiver.total("delivered_total", sink="files") == 3)
    assert receiver.total("files_written_total", sink="files") == 3
    assert receiver.total("parse_errors_total", sink="files") == 1
    wait_until(lambda: client.is_acked(STREAM, "recv_files"), what="all is acknowledged")


def test_a_disk_that_hangs_leaves_threads_to_others(world, nats, client, folder):
    """What is asked with a password is judged on the same threads."""
    receiver = receiver_of(world, nats, folder)
    frames.publish(client, "dc1", "app", "web1:80", BODY.format(1), frames.now_ms())
    wait_until(lambda: receiver.total("files_written_total", sink="files") == 1)
    with open(f"/proc/{receiver.process.pid}/status", encoding="ascii") as file:
        threads = int(re.search(r"^Threads:\s+(\d+)$", file.read(), re.M).group(1))
    # Eight files, a sync and a look at what is there may all hang; libuv has four unless it is told.
    assert threads > 10 + 4


def test_compressed_and_by_a_poller(world, nats, folder):
    target = world.add(Target({"/metrics": BODY.format(5)}))
    world.poller(nats, {"app": {"targets": [{"name": "a", "url": f"{target.url}/metrics"}]}})
    receiver_of(world, nats, folder, compression="zstd")
    below = f"{folder}/dc1/app/a"
    wait_until(lambda: len(scrapes(below)) >= 3, what="three scrapes")
    names = scrapes(below)[:-1]
    for name in names:
        assert name.endswith(".zst")
        with open(f"{below}/{name}", "rb") as file:
            text = zstd.decompress(file.read()).decode()
        assert re.search(r"^app_requests 5 \d{13}$", text, re.M) and re.search(r"^up 1 \d{13}$", text, re.M)


HOSTILE = ["..", ".", "../../etc", "/etc/passwd", "a/../../b", "latest", "=2E=2E", "%2e%2e", "a\\b", "nul=00", "-rf",
           "é", " ", "x" * 255, "=" * 85, ".tmp-latest"]


def test_names_stay_in_the_folder(world, nats, client, folder, tmp_path):
    receiver = receiver_of(world, nats, folder)
    sent = set()
    before = set(os.listdir(tmp_path))
    for name in HOSTILE:
        for names in ((name, "app", "a"), ("dc1", name, "a"), ("dc1", "app", name)):
            frames.publish(client, *names, BODY.format(1))
            sent.add(tuple(map(frames.escape, names)))
    wait_until(lambda: receiver.total("delivered_total", sink="files") == 3 * len(HOSTILE), 30)
    found = {tuple(os.path.relpath(path, folder).split(os.sep)[:3])
             for path, _, names in os.walk(folder) if names}
    assert found == sent
    assert all(re.fullmatch(r"[A-Za-z0-9_=-]+", part) for names in found for part in names)
    assert set(os.listdir(tmp_path)) - before == {"scrapes"}


def test_links_are_not_followed(world, nats, client, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    os.makedirs(f"{folder}/dc1/app/b")
    os.symlink(outside, f"{folder}/dc2")
    os.symlink(outside, f"{folder}/dc1/app/a")
    at_ms = frames.now_ms()
    for name in (file_name(at_ms), f".tmp-{file_name(at_ms)}", "latest", ".tmp-latest"):
        os.symlink(outside / "file", f"{folder}/dc1/app/b/{name}")
    receiver = receiver_of(world, nats, folder, retention_age="1s")
    deleted = receiver.total("files_deleted_total", sink="files")
    frames.publish(client, "dc2", "app", "a", BODY.format(1), at_ms)
    frames.publish(client, "dc1", "app", "a", BODY.format(1), at_ms)
    frames.publish(client, "dc1", "app", "b", BODY.format(1), at_ms)
    wait_until(lambda: receiver.total("discards_total", sink="files", reason="refused") == 2)
    assert receiver.total("publish_errors_total", sink="files", reason="obstructed") == 2
    wait_until(lambda: os.path.islink(f"{folder}/dc1/app/b/latest") and
               os.readlink(f"{folder}/dc1/app/b/latest") == file_name(at_ms))
    assert f"app_requests 1 {at_ms}" in read(f"{folder}/dc1/app/b/latest")
    # Retention has been there, too: of two scrapes of a target the older one goes by its age.
    frames.publish(client, "dc1", "app", "b", BODY.format(2), at_ms + 1)
    wait_until(lambda: receiver.total("files_deleted_total", sink="files") > deleted)
    assert os.listdir(outside) == ["file"] and (outside / "file").read_text() == "precious"
    assert "something is in the way" in receiver.log()


class Publishers(threading.Thread):
    """Publishes scrapes of some targets until told to stop, over any restart of the server."""

    def __init__(self, nats, targets):
        super().__init__(daemon=True)
        self.nats, self.targets = nats, targets
        self.sent = {name: [] for name in targets}
        self.is_over = threading.Event()

    def _publish(self, client, value):
        for name in self.targets:
            at_ms = frames.now_ms()
            if self.sent[name] and self.sent[name][-1] >= at_ms:
                at_ms = self.sent[name][-1] + 1
            # Of one that was not answered nobody knows whether it is stored: the same again is no other.
            while True:
                try:
                    frames.publish(client(), "dc1", "app", name, BODY.format(value), at_ms)
                    break
                except (OSError, AssertionError, EOFError):
                    client(anew=True)
                    time.sleep(0.1)
            self.sent[name].append(at_ms)

    def run(self):
        held = []

        def client(anew=False):
            if anew:
                held.clear()
            if not held:
                held.append(self.nats.connect())
            return held[0] if not anew else None

        def patient(anew=False):
            try:
                return client(anew)
            except (OSError, AssertionError, EOFError):
                if not anew:
                    raise
                return None

        value = 0
        while not self.is_over.is_set():
            value += 1
            self._publish(patient, value)
            time.sleep(0.01)

    def wait_for_more(self, scrapes):
        """Until each target has been published so many times more."""
        before = len(self.sent[self.targets[-1]])
        wait_until(lambda: len(self.sent[self.targets[-1]]) >= before + scrapes, 40)

    def finish(self):
        self.is_over.set()
        self.join(60)
        assert not self.is_alive()


def test_every_scrape_once_and_in_order(world, nats, client, folder):
    """The receiver is killed and the server restarted meanwhile."""
    receiver = receiver_of(world, nats, folder)
    receiver.wait_ready()
    publishers = Publishers(nats, ["a", "b", "c"])
    publishers.start()
    dice = random.Random(1)
    for _ in range(2):
        publishers.wait_for_more(60 + dice.randrange(30))
        receiver.kill()
        publishers.wait_for_more(dice.randrange(30))
        receiver.start()
    publishers.wait_for_more(60)
    nats.stop()
    receiver.wait_not_ready("cannot connect")
    nats.start()
    publishers.wait_for_more(60)
    publishers.finish()

    def is_all_there():
        return all(len(scrapes(f"{folder}/dc1/app/{name}")) == len(sent) for name, sent in publishers.sent.items())
    wait_until(is_all_there, 60, what="all scrapes are there")
    for name, sent in publishers.sent.items():
        below = f"{folder}/dc1/app/{name}"
        assert len(sent) > 100
        assert scrapes(below) == [file_name(at_ms) for at_ms in sent]
        # In the order of their times, and so the latest is the last.
        written = [os.stat(f"{below}/{each}").st_mtime_ns for each in scrapes(below)]
        assert written == sorted(written)
        wait_until(lambda: os.readlink(f"{below}/latest") == file_name(sent[-1]))
        assert not [each for each in os.listdir(below) if not NAME.match(each) and each != "latest"]


def test_a_stop_writes_what_it_has_begun(world, nats, client, folder):
    receiver = receiver_of(world, nats, folder)
    receiver.wait_ready()
    for value in range(300):
        frames.publish(client, "dc1", "app", f"t{value % 7}", BODY.format(value))
    receiver.stop()
    assert client.consumer_info(STREAM, "recv_files")["num_ack_pending"] + \
        client.consumer_info(STREAM, "recv_files")["num_pending"] <= 300
    receiver.start()
    wait_until(lambda: sum(len(scrapes(path)) for path in glob.glob(f"{folder}/dc1/app/*")) == 300, 40)
    wait_until(lambda: client.is_acked(STREAM, "recv_files"))


@pytest.fixture
def small_disk(monkeypatch, tmp_path):
    """Daemons started get a file system of 256 kB at the folder that is given."""
    where = tmp_path / "small"
    where.mkdir()
    if shutil.which("unshare") is None or subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(where)], check=False,
            stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("no mount namespaces for this user: unshare -rm and mount are refused")
    script = tmp_path / "wrap.sh"
    script.write_text(f"#!/bin/sh\nmount -t tmpfs -o size=256k none {where} && exec \"$@\"\n")
    script.chmod(0o755)
    monkeypatch.setenv("WRAPPER", f"unshare -rm {script}")
    return str(where)


def test_a_full_disk(world, nats, client, small_disk):
    receiver = receiver_of(world, nats, f"{small_disk}/scrapes")
    inside = f"/proc/{receiver.process.pid}/root{small_disk}"
    below = f"{inside}/scrapes/dc1/app/a"
    frames.publish(client, "dc1", "app", "a", BODY.format(0))
    wait_until(lambda: len(scrapes(below)) == 1)
    with open(f"{inside}/ballast", "wb", buffering=0) as file:
        with pytest.raises(OSError):
            for _ in range(1000):
                file.write(bytes(4096))
    for value in range(1, 6):
        frames.publish(client, "dc1", "app", "a", BODY.format(value))
    assert "No space left on device" in receiver.wait_not_ready("cannot")
    wait_until(lambda: receiver.total("publish_errors_total", sink="files", reason="full") >= 2)
    assert len(scrapes(below)) == 1 and os.readlink(f"{below}/latest") == scrapes(below)[0]
    assert "app_requests 0 " in read(f"{below}/latest")
    wait_until(lambda: client.consumer_info(STREAM, "recv_files")["num_ack_pending"] == 5)
    os.unlink(f"{inside}/ballast")
    wait_until(lambda: len(scrapes(below)) == 6, 60)
    receiver.wait_ready()
    for value, name in enumerate(scrapes(below)):
        assert f"app_requests {value} " in read(f"{below}/{name}")
    wait_until(lambda: client.is_acked(STREAM, "recv_files"))


def test_no_permission(world, nats, client, folder, tmp_path):
    """As one who may not even look: not ready, tried again, nothing lost."""
    receiver = receiver_of(world, nats, str(tmp_path / "not" / "there"))
    frames.publish(client, "dc1", "app", "a", BODY.format(1))
    assert "No such file or directory" in receiver.wait_not_ready("cannot open dir")
    assert receiver.total("publish_errors_total", sink="files") >= 1
    (tmp_path / "not").mkdir()
    receiver.wait_ready(60)
    wait_until(lambda: len(scrapes(str(tmp_path / "not" / "there" / "dc1" / "app" / "a"))) == 1)


def test_retention_by_age(world, nats, client, folder):
    receiver = receiver_of(world, nats, folder, retention_age="3s")
    for value in range(3):
        frames.publish(client, "dc1", "app", "a", BODY.format(value))
    below = f"{folder}/dc1/app/a"
    wait_until(lambda: len(scrapes(below)) == 3)
    latest = os.readlink(f"{below}/latest")
    with open(f"{below}/notes.txt", "w", encoding="utf-8") as file:
        file.write("somebody's")
    wait_until(lambda: scrapes(below) == [latest], 30, what="only the latest stays")
    wait_until(lambda: receiver.total("files_deleted_total", sink="files", reason="age") == 2)
    assert os.path.exists(f"{below}/notes.txt")
    wait_until(lambda: receiver.total("files_held_bytes", sink="files") == 4096)


def test_retention_by_size(world, nats, client, folder):
    """The oldest of all folders go, though of each target the latest stays."""
    limit = 40 * 4096
    receiver = receiver_of(world, nats, folder, retention_bytes=limit)
    frames.publish(client, "dc1", "app", "quiet", BODY.format(0))
    for value in range(100):
        frames.publish(client, "dc1", "app", f"t{value % 2}", BODY.format(value))
        time.sleep(0.02)

    def held():
        return sum(len(scrapes(path)) for path in glob.glob(f"{folder}/dc1/app/*")) * 4096
    wait_until(lambda: receiver.total("files_written_total", sink="files") == 101)
    wait_until(lambda: held() <= limit, 30, what="the files are few enough")
    wait_until(lambda: receiver.total("files_held_bytes", sink="files") == held(), what="retention is done with them")
    assert limit / 2 <= held() <= limit
    assert len(scrapes(f"{folder}/dc1/app/quiet")) == 1
    for name in ("t0", "t1"):
        kept = scrapes(f"{folder}/dc1/app/{name}")
        assert f"app_requests {98 + int(name[1])} " in read(f"{folder}/dc1/app/{name}/{kept[-1]}")
        values = [int(re.search(r"^app_requests (\d+) ", read(f"{folder}/dc1/app/{name}/{each}"), re.M)[1])
                  for each in kept]
        assert values == list(range(values[0], 100, 2)), "a newer one went before an older one"


def test_keys_change_by_a_reload(world, nats, client, folder):
    receiver = receiver_of(world, nats, folder)
    frames.publish(client, "dc1", "app", "a", BODY.format(1))
    wait_until(lambda: len(scrapes(f"{folder}/dc1/app/a")) == 1)
    receiver.config["files"]["compression"] = "zstd"
    import yaml
    with open(os.path.join(receiver.folder, "config.yaml"), "w", encoding="utf-8") as file:
        yaml.safe_dump(receiver.config, file)
    receiver.process.signal(1)
    wait_until(lambda: "config" in receiver.log() and "reload" in receiver.log())

    def is_compressed():
        frames.publish(client, "dc1", "app", "a", BODY.format(1))
        return any(name.endswith(".zst") for name in scrapes(f"{folder}/dc1/app/a"))
    wait_until(is_compressed, interval=0.5)
