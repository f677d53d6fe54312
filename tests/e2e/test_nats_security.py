# SPDX-License-Identifier: Apache-2.0
"""How the daemons connect to NATS: TLS, certificates, and the ways to say who they are."""

import os
import shutil
import socket
import subprocess
import threading

import pytest

from harness.daemons import binary
from harness.nkeys import NKey, Operator
from harness.pki import Authority
from harness.process import wait_until
from harness.stubs import Target

SECRET = "s3cret-\"quoted\\pass"


def tls_config(certificate, authority=None, verify=True):
    lines = f'tls {{ cert_file: "{certificate.cert}", key_file: "{certificate.key}"'
    if authority is not None:
        lines += f', ca_file: "{authority.cert}", verify: {"true" if verify else "false"}'
    return lines + " }\n"


def poller(world, server, stream=None, **settings):
    target = world.add(Target({"/metrics": "up_to_now 1\n"}))
    jobs = {"node": {"targets": [{"name": "one", "url": target.url}]}}
    return world.poller(server, jobs, stream={"urls": f"127.0.0.1:{server.port}", **(stream or {})},
                        **{"shutdown_timeout": "100ms", **settings})


def failures(daemon, reason):
    return daemon.total("nats_connect_failures_total", reason=reason)


def check_secret_is_nowhere(daemon, secret):
    printed = subprocess.run([binary(daemon.kind), "--config", os.path.join(daemon.folder, "config.yaml"),
                              "--print-config"], stdout=subprocess.PIPE, check=True,
                             env={**os.environ, **(daemon.env or {})}).stdout.decode()
    assert "xxxxx" in printed
    from harness import http
    with open(f"/proc/{daemon.process.pid}/cmdline", encoding="utf-8") as file:
        command_line = file.read()
    pages = "".join(http.get(daemon.url + path)[1] for path in ("/", "/metrics", "/-/ready"))
    for text in (printed, command_line, pages, daemon.log()):
        assert secret not in text


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def test_tls_with_ca_and_client_certificate(world, authority):
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    client = authority.issue("client")
    ours = {"ca": authority.cert, "cert": client.cert, "key": client.key}
    daemon = poller(world, server, tls=ours)
    daemon.wait_ready()
    wait_until(lambda: daemon.total("published_total") > 0)


def test_own_tls_of_a_stream_and_prometheus_spelling(world, authority):
    """The stream's section replaces the top level's; the key may be the text itself, from the environment."""
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    client = authority.issue("client")
    with open(client.key, encoding="ascii") as file:
        key = file.read()
    daemon = poller(world, server, tls={"ca": "/nonexistent"}, env={"CLIENT_KEY": key},
                    stream={"tls": {"ca_file": authority.cert, "cert_file": client.cert, "key": "${CLIENT_KEY}"}})
    daemon.wait_ready()
    check_secret_is_nowhere(daemon, key.split("\n")[1])


@pytest.mark.parametrize("before", ["\n", "Bag Attributes\n    friendlyName: client\n"])
def test_a_key_given_as_text_shows_nowhere(world, authority, before):
    """Whatever comes before it, as openssl writes it, it is no path: an error would name that."""
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    client = authority.issue("client")
    with open(client.key, encoding="ascii") as file:
        key = file.read()
    daemon = poller(world, server, tls={"ca": authority.cert, "cert": client.cert, "key": before + key})
    daemon.wait_ready()
    check_secret_is_nowhere(daemon, key.split("\n")[1])


def test_puppet_layout(world, authority, tmp_path):
    folder = tmp_path / "ssl"
    for part in ("certs", "private_keys"):
        (folder / part).mkdir(parents=True)
    client = authority.issue("prom.example.net")
    shutil.copy(authority.cert, folder / "certs" / "ca.pem")
    shutil.copy(client.cert, folder / "certs" / "prom.example.net.pem")
    shutil.copy(client.key, folder / "private_keys" / "prom.example.net.pem")
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    poller(world, server, tls={"scheme": "puppet", "identity": "prom.example.net",
                               "ssl_dir": str(folder)}).wait_ready()


def test_server_name(world, authority):
    server = world.nats(config=tls_config(authority.issue("server", alt="DNS:nats.example.org")))
    daemon = poller(world, server, tls={"ca": authority.cert})
    daemon.wait_not_ready("TLS: ")
    poller(world, server, name="named",
           tls={"ca": authority.cert, "server_name": "nats.example.org"}).wait_ready()
    poller(world, server, name="careless", tls={"insecure_skip_verify": True}).wait_ready()
    text = daemon.ready()[1]
    assert "mismatch" in text or "certificate verify failed" in text, text
    assert failures(daemon, "tls") > 0


@pytest.mark.parametrize("url", ["tls://127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_no_unverified_tls_without_a_section(world, authority, url):
    """A server that asks for TLS, or a URL that does, is verified against the system's authorities."""
    server = world.nats(config=tls_config(authority.issue("server", alt="DNS:other.example.org")))
    env = {"SSL_CERT_FILE": authority.cert}
    daemon = poller(world, server, stream={"urls": url.format(port=server.port)}, env=env)
    daemon.wait_not_ready("TLS: ")
    right = world.nats(config=tls_config(authority.issue("right")), name="right")
    poller(world, right, name="system", stream={"urls": url.format(port=right.port)}, env=env).wait_ready()


def test_the_ca_is_the_only_one(world, authority, tmp_path):
    """What the system trusts does not count where a ca is given."""
    other = Authority(tmp_path, "other")
    server = world.nats(config=tls_config(authority.issue("server")))
    daemon = poller(world, server, tls={"ca": other.cert}, env={"SSL_CERT_FILE": authority.cert})
    daemon.wait_not_ready("TLS: ")
    assert failures(daemon, "tls") > 0
    assert "TLS: " in daemon.log()


def test_expired_certificates_are_named(world, authority):
    server = world.nats(config=tls_config(authority.issue("server", expired=True)))
    daemon = poller(world, server, tls={"ca": authority.cert})
    assert "expired" in daemon.wait_not_ready("TLS: ")
    assert "expired" in daemon.log()
    strict = world.nats(config=tls_config(authority.issue("strict"), authority), name="strict")
    client = authority.issue("client", expired=True)
    ours = {"ca": authority.cert, "cert": client.cert, "key": client.key}
    late = poller(world, strict, tls=ours, name="late")
    late.wait_not_ready(f"our certificate {client.cert} has expired")
    assert failures(late, "tls") > 0


def test_missing_client_certificate(world, authority):
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    daemon = poller(world, server, tls={"ca": authority.cert})
    daemon.wait_not_ready("certificate")
    assert failures(daemon, "tls") > 0


def test_missing_file_is_named_and_found_later(world, authority, tmp_path):
    server = world.nats(config=tls_config(authority.issue("server")))
    path = str(tmp_path / "late-ca.pem")
    daemon = poller(world, server, tls={"ca": path})
    daemon.wait_not_ready(f"cannot read {path}: No such file")
    assert failures(daemon, "file") > 0
    shutil.copy(authority.cert, path)
    daemon.wait_ready()


def test_rotation(world, authority, tmp_path):
    """Authority, certificate and key are replaced on disk; the next connection has the new ones."""
    mine = {name: str(tmp_path / name) for name in ("ca", "cert", "key")}

    def put(certificate, ca):
        for source, name in ((ca.cert, "ca"), (certificate.cert, "cert"), (certificate.key, "key")):
            shutil.copy(source, mine[name])
    put(authority.issue("client"), authority)
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    daemon = poller(world, server, tls=dict(mine))
    daemon.wait_ready()
    new = Authority(tmp_path, "new")
    put(new.issue("client"), new)
    server.stop()
    server.config = tls_config(new.issue("server"), new)
    server.start()
    daemon.wait_ready()
    assert daemon.total("nats_connects_total") >= 2


def users(*lines):
    return "authorization { users: [\n" + "\n".join(lines) + "\n] }\n"


def test_user_and_password(world, tmp_path):
    quoted = SECRET.replace("\\", "\\\\").replace('"', '\\"')
    server = world.nats(config=users(f'{{ user: "us\\"er", password: "{quoted}" }}'))
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    for name, settings in (("value", {"password": SECRET}), ("variable", {"password": "${NATS_PASSWORD}"}),
                           ("file", {"password_file": str(path)})):
        daemon = poller(world, server, name=name, stream={"user": 'us"er', **settings}, env={"NATS_PASSWORD": SECRET})
        daemon.wait_ready()
        if name != "file":
            check_secret_is_nowhere(daemon, SECRET)
    path.write_text("wrong\n")
    late = poller(world, server, name="wrong", stream={"user": 'us"er', "password_file": str(path)})
    late.wait_not_ready("authorization violation")
    assert failures(late, "auth") > 0
    path.write_text(SECRET)
    late.wait_ready()


def test_token(world, tmp_path):
    server = world.nats(config='authorization { token: "tok-en" }\n')
    path = tmp_path / "token"
    path.write_text("tok-en\n")
    for name, settings in (("value", {"token": "tok-en"}), ("file", {"token_file": str(path)})):
        poller(world, server, name=name, stream=settings).wait_ready()


def test_nkey(world, tmp_path):
    key, other = NKey(tmp_path, "U"), NKey(tmp_path, "U")
    server = world.nats(config=users(f"{{ nkey: {key.public} }}"))
    path = tmp_path / "user.nk"
    path.write_text(f"{key.seed}\n")
    for name, settings in (("value", {"nkey_seed": "${SEED}"}), ("file", {"nkey_seed_file": str(path)})):
        daemon = poller(world, server, name=name, stream=settings, env={"SEED": key.seed})
        daemon.wait_ready()
        assert key.seed not in daemon.log()
    bad = poller(world, server, name="bad", stream={"nkey_seed_file": str(path)}, start=False)
    path.write_text(other.seed)
    bad.start()
    bad.wait_not_ready("authorization violation")
    path.write_text("SUNOTASEED" + 48 * "A")
    bad.wait_not_ready("is no nkey seed")
    path.write_text(key.seed)
    bad.wait_ready()


class RefusingProxy:
    """Stands before a NATS server, and refuses connections as told; the others pass."""

    def __init__(self, server, refusals):
        self.server, self.refusals, self.refused = server, refusals, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                upstream = socket.create_connection(("127.0.0.1", self.server.port))
                if self.refused < self.refusals:
                    self.refused += 1
                    client.sendall(upstream.recv(65536))
                    client.recv(65536)
                    client.sendall(b"-ERR 'Authorization Violation'\r\n")
                    client.close()
                    upstream.close()
                    continue
                for source, sink in ((client, upstream), (upstream, client)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()
        except OSError:
            pass

    @staticmethod
    def _pass(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self.listener.close()


def test_sporadic_refusals_of_nkeys_are_ridden_out(world, tmp_path):
    """A client library that loses one signature in 256 is no reason to be down, nor a word. Two in a row are ridden
    out; one of them is left to the library."""
    key = NKey(tmp_path, "U")
    server = world.nats(config=users(f"{{ nkey: {key.public} }}"))
    proxy = world.add(RefusingProxy(server, refusals=1))
    daemon = poller(world, server, stream={"nkey_seed": key.seed, "urls": f"127.0.0.1:{proxy.port}"})
    daemon.wait_ready()
    assert proxy.refused == 1
    assert "not connected" not in daemon.log()
    assert failures(daemon, "auth") == 0


def test_credentials(world, tmp_path):
    operator = Operator(tmp_path)
    server = world.nats(config=operator.config)
    path = operator.credentials("poller")
    with open(path, encoding="ascii") as file:
        text = file.read()
    for name, settings in (("file", {"credentials_file": path}), ("value", {"credentials": "${CREDS}"})):
        daemon = poller(world, server, name=name, stream=settings, env={"CREDS": text})
        daemon.wait_ready()
        if name == "value":
            check_secret_is_nowhere(daemon, text.split("SEED-----\n")[1].split("\n")[0])


def test_expired_credentials_and_new_ones(world, tmp_path):
    operator = Operator(tmp_path)
    server = world.nats(config=operator.config)
    path = operator.credentials("poller", exp=1)
    daemon = poller(world, server, stream={"credentials_file": path})
    daemon.wait_not_ready("authorization violation")
    assert "have expired" in daemon.ready()[1]
    assert failures(daemon, "auth") > 0
    operator.credentials("poller", file=path)
    daemon.wait_ready()


def test_receiver_too(world, authority):
    client = authority.issue("client")
    server = world.nats(config=tls_config(authority.issue("server"), authority))
    gateway = world.gateway()
    tls = {"ca": authority.cert, "cert": client.cert, "key": client.key}
    poller(world, server, tls=tls).wait_ready()
    receiver = world.receiver(server, gateway.url, tls=tls)
    receiver.wait_ready()
    wait_until(lambda: gateway.metrics().find("up_to_now", instance="one"))


def test_no_server_at_all(world, nats):
    poller(world, nats, stream={"urls": []}).wait_not_ready("no server is given")
