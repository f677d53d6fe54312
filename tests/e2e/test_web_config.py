# SPDX-License-Identifier: Apache-2.0
"""The monitor port secured by a web.config.file of Prometheus' format."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
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


def write_config(tmp_path, certificate=None, users=None, **tls):
    path = tmp_path / "web.yaml"
    lines = []
    if certificate is not None:
        lines += ["tls_server_config:", f"  cert_file: {certificate.cert}", f"  key_file: {certificate.key}"]
        lines += [f"  {key}: {value}" for key, value in tls.items()]
    if users:
        lines += ["basic_auth_users:"] + [f"  {name}: {hash_}" for name, hash_ in users.items()]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def ask(daemon, path="/-/healthy", user=None, password=None, ca=None, client=None, tls=None):
    url = f"{'https' if ca else 'http'}://127.0.0.1:{daemon.port}{path}"
    request = urllib.request.Request(url)
    if user is not None:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {pair}")
    context = ssl.create_default_context(cafile=ca) if ca else None
    if client is not None:
        context.load_cert_chain(client.cert, client.key)
    if tls is not None:
        context.minimum_version = context.maximum_version = tls
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("WWW-Authenticate")
    except OSError as error:
        return 0, str(error)


def poller(world, nats, path, target=None, **settings):
    target = target or world.add(Target({"/metrics": "a 1\n"}))
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
    target = world.add(Target({"/metrics": "a 1\n"}))
    daemon = poller(world, nats, write_config(tmp_path, certificate=authority.issue("server")), target)
    wait_until(lambda: ask(daemon, ca=authority.cert)[0] == 200)
    silent = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(10)]
    begin = time.monotonic()
    for _ in range(10):
        assert ask(daemon, ca=authority.cert)[0] == 200
    assert time.monotonic() - begin < 5
    wait_for_a_scrape(target)
    begin, used = time.monotonic(), process_seconds(daemon)
    wait_for_a_scrape(target)
    assert process_seconds(daemon) - used < (time.monotonic() - begin) / 2, "idle between two scrapes, a second apart"
    for connection in silent:
        connection.close()


def wait_for_a_scrape(target):
    count = len(target.requests)
    wait_until(lambda: len(target.requests) > count)


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
    used = process_seconds(daemon)
    threads = [threading.Thread(target=ask, args=(daemon, "/metrics", "prom", f"guess {number}"))
               for number in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: process_seconds(daemon) - used > 0.2, what="passwords are being checked")
    assert any(thread.is_alive() for thread in threads)
    daemon.stop()
    for thread in threads:
        thread.join()


def test_without_a_port_it_is_said_to_do_nothing(world, nats, tmp_path):
    daemon = poller(world, nats, write_config(tmp_path, users={"prom": bcrypt(PASSWORD)}), monitor_port=0)
    wait_until(lambda: "nothing that the web config file could secure" in daemon.log())


def own_scrapes(nats):
    with nats.connect() as client:
        try:
            count = client.stream_messages("PROM") or 0
            messages = [client.stream_message("PROM", number + 1) for number in range(count)]
        except NatsError:
            return []
    return [m for m in messages if ".prometheus_streams." in m.subject and "Ps-Up" not in m.headers]


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize("kind,with_none,with_any,with_right", [
    ("NoClientCert", True, True, True),
    ("RequestClientCert", True, True, True),
    ("RequireAnyClientCert", False, True, True),
    ("RequireClientCert", False, True, True),
    ("VerifyClientCertIfGiven", True, False, True),
    ("RequireAndVerifyClientCert", False, False, True),
])
def test_client_certificates(world, nats, authority, tmp_path, kind, with_none, with_any, with_right):
    ca = {"client_ca_file": authority.cert} if "Verify" in kind else {}
    path = write_config(tmp_path, certificate=authority.issue("server"), client_auth_type=kind, **ca)
    stranger, right = Authority(tmp_path, "other").issue("client"), authority.issue("client")
    daemon = poller(world, nats, path)
    wait_until(lambda: ask(daemon, ca=authority.cert, client=right)[0] == 200)
    for version in VERSIONS:
        for client, passes in ((None, with_none), (stranger, with_any), (right, with_right)):
            status = ask(daemon, ca=authority.cert, client=client, tls=version)[0]
            assert status == (200 if passes else 0), (kind, version, client)
    late = authority.issue("late", expired=True)
    assert ask(daemon, ca=authority.cert, client=late)[0] == (0 if "Verify" in kind else 200)
    # The poller itself is let in, whatever others must show.
    wait_until(lambda: own_scrapes(nats))
    assert subprocess.run([find_binary("promtool"), "check", "web-config", path], check=False).returncode == 0


def test_changed_users_count_for_the_next_request(world, nats, tmp_path):
    daemon = poller(world, nats, write_config(tmp_path, users={"prom": bcrypt(PASSWORD), "ops": bcrypt("other")}))
    wait_until(lambda: ask(daemon, user="prom", password=PASSWORD)[0] == 200)
    assert ask(daemon, user="ops", password="other")[0] == 200
    write_config(tmp_path, users={"ops": bcrypt("other"), "prom": bcrypt("changed")})
    wait_until(lambda: ask(daemon, user="prom", password=PASSWORD)[0] == 401)
    assert ask(daemon, user="prom", password="changed")[0] == 200
    assert ask(daemon, user="ops", password="other")[0] == 200
    write_config(tmp_path, users={"ops": bcrypt("other")})
    wait_until(lambda: ask(daemon, user="prom", password="changed")[0] == 401)
    assert "the web config file has changed" in daemon.log()


def shown_certificate(daemon):
    try:
        return ssl.get_server_certificate(("127.0.0.1", daemon.port))
    except OSError:
        return None


def pem_of(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def test_changed_certificate_is_shown_to_the_next(world, nats, authority, tmp_path):
    """A connection that stands keeps the old one; half a pair changes nothing."""
    first, second = authority.issue("first"), authority.issue("second")
    path = write_config(tmp_path, certificate=first, client_auth_type="RequestClientCert")
    daemon = poller(world, nats, path)
    wait_until(lambda: shown_certificate(daemon) == pem_of(first.cert))
    context = ssl.create_default_context(cafile=authority.cert)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", daemon.port)),
                             server_hostname="127.0.0.1") as kept:
        shutil.copy(second.cert, first.cert)
        wait_until(lambda: "cannot use the certificate and its key" in daemon.log())
        assert ask(daemon, ca=authority.cert)[0] == 200
        shutil.copy(second.key, first.key)
        wait_until(lambda: shown_certificate(daemon) == pem_of(second.cert))
        kept.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in kept.recv(4096)
    write_config(tmp_path, certificate=second, client_auth_type="RequireAndVerifyClientCert",
                 client_ca_file=authority.cert)
    wait_until(lambda: ask(daemon, ca=authority.cert)[0] == 0)
    assert ask(daemon, ca=authority.cert, client=authority.issue("client"))[0] == 200


def test_a_file_that_became_wrong_leaves_all_as_it_was(world, nats, tmp_path):
    path = tmp_path / "web.yaml"
    write_config(tmp_path, users={"prom": bcrypt(PASSWORD)})
    daemon = poller(world, nats, str(path))
    wait_until(lambda: ask(daemon, user="prom", password=PASSWORD)[0] == 200)
    for text in ("basic_auth_users: {prom: plain}\n", "tls_server_config: {cert_file: a, key_file: b}\n", "{"):
        path.write_text(text)
        before = daemon.log().count("the web config file cannot be used")
        wait_until(lambda: daemon.log().count("the web config file cannot be used") > before)
        assert ask(daemon)[0] == 401
        assert ask(daemon, user="prom", password=PASSWORD)[0] == 200
    path.unlink()
    wait_until(lambda: "cannot read" in daemon.log())
    assert ask(daemon)[0] == 401
    path.write_text("")
    wait_until(lambda: ask(daemon)[0] == 200)


def test_the_flag_goes_before_the_key(world, nats, tmp_path):
    write_config(tmp_path, users={"prom": bcrypt(PASSWORD)})
    daemon = poller(world, nats, "/nonexistent/web.yaml", args=["--web.config.file", str(tmp_path / "web.yaml")])
    wait_until(lambda: ask(daemon, user="prom", password=PASSWORD)[0] == 200)
    assert ask(daemon)[0] == 401


@pytest.mark.parametrize("text,reason", [
    ("tls_server_config: {cert_file: /nonexistent, key_file: /k}\n", "cannot read /nonexistent"),
    ("tls_server_config: {cert_file: web.yaml, key_file: web.yaml}\n", "certificate"),
    ("basic_auth_users: {prom: plain}\n", "is no bcrypt hash"),
    ("basic_auth_users: {prom: '$2b$31$" + "a" * 53 + "'}\n", "cost"),
    ("basic_auth_users: {prom: '$2b$3x$" + "a" * 53 + "'}\n", "is no bcrypt hash"),
    ("basic_auth_users: {prom: '$2b$10$" + "a" * 52 + "!'}\n", "is no bcrypt hash"),
    ("tls_server_confg: {}\n", "tls_server_config"),
    ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: Always}\n", "is none of NoClientCert"),
    ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}\n",
     "needs a client_ca_file"),
    ("tls_server_config: {cert_file: a, key_file: b, client_ca_file: c}\n", "needs a client_auth_type"),
    ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS13}\n", "min_version"),
    ("http_server_config: {http2: false}\n", "http_server_config"),
])
def test_what_is_wrong_is_said_at_the_start(world, nats, tmp_path, text, reason):
    path = tmp_path / "web.yaml"
    path.write_text(text)
    daemon = poller(world, nats, str(path))
    process = daemon.process
    assert process.wait() == 1
    daemon.process = None
    assert reason in process.log()


def test_receiver(world, nats, tmp_path):
    path = write_config(tmp_path, users={"prom": bcrypt(PASSWORD)})
    daemon = world.receiver(nats, "http://127.0.0.1:1", wait=False, web_config_file=path)
    wait_until(lambda: ask(daemon, user="prom", password=PASSWORD)[0] == 200)
    assert ask(daemon, "/metrics")[0] == 401


assert shutil.which("perl"), "perl makes the bcrypt hashes of these tests"
