# SPDX-License-Identifier: Apache-2.0
"""The monitor port secured by a web.config.file of Prometheus' format."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from harness.nats import NatsError
from harness.pki import Authority
from harness.process import wait_until
from harness.servers import Prometheus, find_binary
from harness.stubs import Target

PASSWORD = "correct horse"
# Of PASSWORD, and of "other", cost 10.
HASHES = {}


def bcrypt(password):
    """By perl's crypt(), which is libcrypt's, like the daemon's; openssl has no bcrypt."""
    if password not in HASHES:
        HASHES[password] = subprocess.run(
            ["perl", "-e", 'print crypt($ARGV[0], q($2b$10$abcdefghijklmnopqrstuu))', password],
            stdout=subprocess.PIPE, check=True).stdout.decode()
    return HASHES[password]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def write_config(tmp_path, certificate=None, users=None):
    path = tmp_path / "web.yaml"
    lines = []
    if certificate is not None:
        lines += ["tls_server_config:", f"  cert_file: {certificate.cert}", f"  key_file: {certificate.key}"]
    if users:
        lines += ["basic_auth_users:"] + [f"  {name}: {hash_}" for name, hash_ in users.items()]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def ask(daemon, path="/-/healthy", user=None, password=None, ca=None):
    url = f"{'https' if ca else 'http'}://127.0.0.1:{daemon.port}{path}"
    request = urllib.request.Request(url)
    if user is not None:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    context = ssl.create_default_context(cafile=ca) if ca else None
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("WWW-Authenticate")
    except OSError as error:
        return 0, str(error)


def poller(world, nats, path, **settings):
    target = world.add(Target({"/metrics": "a 1\n"}))
    return world.poller(nats, {"app": {"targets": [{"name": "a", "url": target.url}]}}, wait=False,
                        web_config_file=path, **settings)


def test_tls(world, nats, authority, tmp_path):
    daemon = poller(world, nats, write_config(tmp_path, certificate=authority.issue("server")))
    wait_until(lambda: ask(daemon, ca=authority.cert)[0] == 200)
    assert ask(daemon)[0] == 0
    assert "prometheus_streams_poller_build_info" in ask(daemon, "/metrics", ca=authority.cert)[1]
    big = [ask(daemon, "/metrics", ca=authority.cert)[0] for _ in range(20)]
    assert big == [200] * 20


def test_silent_clients_hold_up_nobody(world, nats, authority, tmp_path):
    """Connected, but in no hurry to shake hands."""
    daemon = poller(world, nats, write_config(tmp_path, certificate=authority.issue("server")))
    wait_until(lambda: ask(daemon, ca=authority.cert)[0] == 200)
    silent = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(10)]
    begin = time.monotonic()
    for _ in range(10):
        assert ask(daemon, ca=authority.cert)[0] == 200
    assert time.monotonic() - begin < 5
    used = process_seconds(daemon)
    time.sleep(1)
    assert process_seconds(daemon) - used < 0.5
    for connection in silent:
        connection.close()


def process_seconds(daemon):
    with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_users(world, nats, tmp_path):
    daemon = poller(world, nats, write_config(tmp_path, users={"prom": bcrypt(PASSWORD), "ops": bcrypt("other")}))
    wait_until(lambda: ask(daemon)[0] == 401)
    assert ask(daemon) == (401, "Basic")
    for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/nowhere"):
        assert ask(daemon, path)[0] == 401
    for user, password, status in (("prom", PASSWORD, 200), ("ops", "other", 200), ("prom", "other", 401),
                                   ("ops", PASSWORD, 401), ("nobody", PASSWORD, 401), ("", "", 401),
                                   ("prom", "", 401), ("prom", "x" * 100, 401)):
        for _ in range(2):
            assert ask(daemon, user=user, password=password)[0] == status, (user, password)
    log = daemon.log()
    assert PASSWORD not in log and bcrypt(PASSWORD) not in log


def test_checked_passwords_are_remembered(world, nats, tmp_path):
    expensive = subprocess.run(["perl", "-e", 'print crypt($ARGV[0], q($2b$13$abcdefghijklmnopqrstuu))', PASSWORD],
                               stdout=subprocess.PIPE, check=True).stdout.decode()
    daemon = poller(world, nats, write_config(tmp_path, users={"prom": expensive}))
    wait_until(lambda: ask(daemon)[0] == 401)
    begin = time.monotonic()
    assert ask(daemon, user="prom", password=PASSWORD)[0] == 200
    first = time.monotonic() - begin
    begin = time.monotonic()
    for _ in range(5):
        assert ask(daemon, user="prom", password=PASSWORD)[0] == 200
    assert (time.monotonic() - begin) / 5 < first / 3


def test_it_scrapes_itself_all_the_same(world, nats, authority, tmp_path):
    poller(world, nats, write_config(tmp_path, certificate=authority.issue("server", alt="DNS:elsewhere"),
                                     users={"prom": bcrypt(PASSWORD)}))

    def own_scrapes():
        with nats.connect() as client:
            try:
                count = client.stream_messages("PROM") or 0
                messages = [client.stream_message("PROM", number + 1) for number in range(count)]
            except NatsError:
                return []
        return [m for m in messages if ".prometheus_streams." in m.subject]
    wait_until(lambda: any("Ps-Up" not in message.headers for message in own_scrapes()))


def test_prometheus_scrapes_it(world, nats, authority, tmp_path):
    """The real client, with TLS and password; and the same file serves a real Prometheus."""
    path = write_config(tmp_path, certificate=authority.issue("server"), users={"prom": bcrypt(PASSWORD)})
    daemon = poller(world, nats, path)
    prometheus = world.add(Prometheus(world.folder, scrape_configs=[{
        "job_name": "ps", "scheme": "https", "basic_auth": {"username": "prom", "password": PASSWORD},
        "tls_config": {"ca_file": authority.cert}, "static_configs": [{"targets": [f"127.0.0.1:{daemon.port}"]}]}]))
    prometheus.start()
    wait_until(lambda: [value for _, value in prometheus.query('up{job="ps"}')] == [1], 30)
    checked = subprocess.run([find_binary("promtool"), "check", "web-config", path], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, check=False)
    assert checked.returncode == 0, checked.stdout.decode()


def test_stops_while_a_password_is_checked(world, nats, tmp_path):
    expensive = subprocess.run(["perl", "-e", 'print crypt($ARGV[0], q($2b$14$abcdefghijklmnopqrstuu))', PASSWORD],
                               stdout=subprocess.PIPE, check=True).stdout.decode()
    daemon = poller(world, nats, write_config(tmp_path, users={"prom": expensive}))
    wait_until(lambda: ask(daemon)[0] == 401)
    import threading
    threads = [threading.Thread(target=ask, args=(daemon, "/metrics", "prom", f"guess {number}"))
               for number in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    daemon.stop()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("text,reason", [
    ("tls_server_config: {cert_file: /nonexistent, key_file: /k}\n", "cannot read /nonexistent"),
    ("tls_server_config: {cert_file: web.yaml, key_file: web.yaml}\n", "certificate"),
    ("basic_auth_users: {prom: plain}\n", "is no bcrypt hash"),
    ("basic_auth_users: {prom: '$2b$31$" + "a" * 53 + "'}\n", "cost"),
    ("basic_auth_users: {prom: '$2b$3x$" + "a" * 53 + "'}\n", "is no bcrypt hash"),
    ("basic_auth_users: {prom: '$2b$10$" + "a" * 52 + "!'}\n", "is no bcrypt hash"),
    ("tls_server_confg: {}\n", "tls_server_config"),
    ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}\n", "unknown key"),
])
def test_what_is_wrong_is_said_at_the_start(world, nats, tmp_path, text, reason):
    path = tmp_path / "web.yaml"
    path.write_text(text)
    daemon = poller(world, nats, str(path))
    process, daemon.process = daemon.process, None
    assert process.wait() == 1
    assert reason in process.log()


def test_receiver(world, nats, tmp_path):
    path = write_config(tmp_path, users={"prom": bcrypt(PASSWORD)})
    daemon = world.receiver(nats, "http://127.0.0.1:1", wait=False, web_config_file=path)
    wait_until(lambda: ask(daemon, user="prom", password=PASSWORD)[0] == 200)
    assert ask(daemon, "/metrics")[0] == 401


assert shutil.which("perl"), "perl makes the bcrypt hashes of these tests"
