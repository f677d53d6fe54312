# SPDX-License-Identifier: Apache-2.0
"""How requests to targets and sinks are secured: TLS, passwords, tokens, headers, proxies."""

import base64
import os
import shutil

import pytest

from harness.pki import Authority
from harness.process import wait_until
from harness.stubs import Gateway, Stub, Target, status_answer

BODY = {"/metrics": "up_to_now 1\n"}
SECRET = "p\u00e4ss:w\"ord"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def poller(world, nats, url, **job):
    return world.poller(nats, {"node": {"targets": [{"name": "one", "url": url}], **job}}, monitor_port=0, wait=False,
                        name=f"poller-{len(world.parts)}")


def outcomes(daemon_nats):
    """(up, error) of each scrape of the target in the stream."""
    with daemon_nats.connect() as client:
        found = []
        for sequence in range(1, (client.stream_messages("PROM") or 0) + 1):
            message = client.stream_message("PROM", sequence)
            if ".node.one." in message.subject:
                found.append((message.headers.get("Ps-Up", "1") == "1", message.headers.get("Ps-Error", "")))
        return found


def wait_up(nats):
    wait_until(lambda: any(up for up, _ in outcomes(nats)), what=f"a scrape succeeds: {outcomes(nats)}")


def wait_error(nats, text):
    try:
        wait_until(lambda: any(text in error for _, error in outcomes(nats)))
    except AssertionError:
        raise AssertionError(f"no scrape says {text!r}: {outcomes(nats)}") from None


def test_tls_and_client_certificate(world, nats, authority):
    client = authority.issue("client")
    target = world.add(Target(BODY, certificate=authority.issue("server"), client_ca=authority.cert))
    poller(world, nats, target.url, tls_config={"ca_file": authority.cert, "cert_file": client.cert,
                                                "key_file": client.key})
    wait_up(nats)


def test_inline_certificates(world, nats, authority):
    client = authority.issue("client")
    texts = [open(path, encoding="ascii").read() for path in (authority.cert, client.cert, client.key)]
    target = world.add(Target(BODY, certificate=authority.issue("server"), client_ca=authority.cert))
    poller(world, nats, target.url, tls_config=dict(zip(("ca", "cert", "key"), texts)))
    wait_up(nats)


@pytest.mark.parametrize("job,error", [
    ({}, "TLS: SSL certificate problem"),
    ({"tls_config": {"ca_file": "/nonexistent/ca.pem"}}, "cannot read /nonexistent/ca.pem: No such file"),
    ({"tls_config": {"insecure_skip_verify": True}}, None),
])
def test_verification(world, nats, authority, job, error):
    target = world.add(Target(BODY, certificate=authority.issue("server")))
    poller(world, nats, target.url, **job)
    if error is None:
        wait_up(nats)
    else:
        wait_error(nats, error)
        assert not any(up for up, _ in outcomes(nats))


def test_server_name(world, nats, authority):
    """It is asked for and verified; what is connected to, and the Host header, stay."""
    target = world.add(Target(BODY, certificate=authority.issue("server", alt="DNS:web.example.net")))
    poller(world, nats, target.url, tls_config={"ca_file": authority.cert, "server_name": "web.example.net"})
    wait_up(nats)
    assert set(target.server_names) == {"web.example.net"}
    assert target.requests[0][1]["Host"] == f"127.0.0.1:{target.port}"


def test_one_job_does_not_use_the_connections_of_another(world, nats, authority, tmp_path):
    """What is kept open was made unverified, or by a certificate that the other jobs do not have."""
    client = authority.issue("client")
    target = world.add(Target(BODY, certificate=authority.issue("server"), client_ca=authority.cert))
    own = {"cert_file": client.cert, "key_file": client.key}
    jobs = {"careless": {**own, "insecure_skip_verify": True}, "careful": {**own, "ca_file": authority.cert},
            "elsewhere": {**own, "ca_file": Authority(tmp_path, "other").cert},
            "named": {**own, "ca_file": authority.cert, "server_name": "web.example.net"},
            "nobody": {"ca_file": authority.cert}}
    daemon = world.poller(nats, {name: {"targets": [{"name": "one", "url": target.url}], "tls_config": tls}
                                 for name, tls in jobs.items()})

    def scrapes(job):
        return daemon.total("scrapes_total", poller_job=job, outcome="success"), daemon.total("scrapes_total", poller_job=job)
    wait_until(lambda: all(scrapes(job)[1] >= 5 for job in jobs))
    passed = {job: scrapes(job)[0] for job in jobs}
    assert passed["careless"] >= 4 and passed["careful"] >= 4, passed
    assert passed["elsewhere"] == passed["named"] == passed["nobody"] == 0, passed


def test_wrong_name_and_expired(world, nats, authority):
    wrong = world.add(Target(BODY, certificate=authority.issue("wrong", alt="DNS:other.example.net")))
    poller(world, nats, wrong.url, tls_config={"ca_file": authority.cert})
    wait_error(nats, "TLS: SSL: no alternative certificate subject name matches")
    late = world.add(Target(BODY, certificate=authority.issue("late", expired=True)))
    poller(world, nats, late.url, tls_config={"ca_file": authority.cert})
    wait_error(nats, "expired")


def expect(name, value):
    def answer(target, request):
        right = request.headers.get(name) == value
        (lambda _, r: r.answer(200, "up_to_now 1\n"))(target, request) if right else request.answer(401)
    return {"/metrics": answer}


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("way", ["value", "variable", "file"])
def test_basic_auth(world, nats, tmp_path, way):
    path = tmp_path / "password"
    path.write_text(SECRET + "\n", encoding="utf-8")
    target = world.add(Target(expect("Authorization", basic("me", SECRET))))
    os.environ["SCRAPE_PASSWORD"] = SECRET
    auth = {"value": {"password": SECRET}, "variable": {"password": "${SCRAPE_PASSWORD}"},
            "file": {"password_file": str(path)}}[way]
    poller(world, nats, target.url, basic_auth={"username": "me", **auth})
    wait_up(nats)


def test_changed_password_file_is_used(world, nats, tmp_path):
    path = tmp_path / "password"
    path.write_text("old")
    target = world.add(Target(expect("Authorization", basic("me", "new"))))
    poller(world, nats, target.url, basic_auth={"username": "me", "password_file": str(path)})
    wait_error(nats, "HTTP 401")
    path.unlink()
    wait_error(nats, "cannot read")
    path.write_text("new")
    wait_up(nats)


def test_a_file_changed_in_place_is_used(world, nats, tmp_path):
    """Its inode, size and time of modification stay, as with rsync --inplace --times."""
    path = tmp_path / "password"
    path.write_text("old")
    before = path.stat()
    target = world.add(Target(expect("Authorization", basic("me", "new"))))
    poller(world, nats, target.url, basic_auth={"username": "me", "password_file": str(path)})
    wait_error(nats, "HTTP 401")
    path.write_text("new")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_ino == before.st_ino
    wait_up(nats)


def test_changed_authority_is_used(world, nats, authority, tmp_path):
    other, path = Authority(tmp_path, "other"), tmp_path / "ca.pem"
    shutil.copy(other.cert, path)
    target = world.add(Target(BODY, certificate=authority.issue("server")))
    poller(world, nats, target.url, tls_config={"ca_file": str(path)})
    wait_error(nats, "TLS: ")
    shutil.copy(authority.cert, path)
    wait_up(nats)


def test_changed_client_certificate_is_used(world, nats, authority, tmp_path):
    """Though a connection is open that was made with the old one."""
    mine = {name: str(tmp_path / name) for name in ("cert", "key")}

    def put(certificate):
        for source, name in ((certificate.cert, "cert"), (certificate.key, "key")):
            shutil.copy(source, mine[name])
    right = authority.issue("right")
    put(right)
    target = world.add(Target(BODY, certificate=authority.issue("server"), client_ca=authority.cert))
    poller(world, nats, target.url, tls_config={"ca_file": authority.cert, "cert_file": mine["cert"],
                                                "key_file": mine["key"]})
    wait_up(nats)
    put(Authority(tmp_path, "other").issue("wrong"))
    wait_until(lambda: not outcomes(nats)[-1][0])
    put(right)
    wait_until(lambda: outcomes(nats)[-1][0])


def test_authorization_and_headers(world, nats, tmp_path):
    path = tmp_path / "value"
    path.write_text("three\n")
    target = world.add(Target(expect("Authorization", "Token abc")))
    poller(world, nats, target.url, authorization={"type": "Token", "credentials": "abc"},
           http_headers={"X-One": {"values": ["one"], "secrets": ["two"], "files": [str(path)]}})
    wait_up(nats)
    raw = target.requests[-1][1]
    assert raw["X-One"] in ("one", "two", "three")


def test_credentials_do_not_follow_to_another_host(world, nats):
    stranger = world.add(Target(BODY))
    target = world.add(Target({"/metrics": status_answer(302, "", {
        "Location": f"http://localhost:{stranger.port}/metrics"})}))
    poller(world, nats, target.url, authorization={"credentials": "abc"})
    wait_up(nats)
    assert target.requests[0][1]["Authorization"] == "Bearer abc"
    assert all("Authorization" not in headers for _, headers, _ in stranger.requests)


@pytest.mark.parametrize("way", ["secrets", "files"])
def test_secret_headers_do_not_follow_to_another_host(world, nats, tmp_path, way):
    path = tmp_path / "value"
    path.write_text("abc")
    stranger = world.add(Target(BODY))
    target = world.add(Target({"/metrics": status_answer(302, "", {
        "Location": f"http://localhost:{stranger.port}/metrics"})}))
    poller(world, nats, target.url, http_headers={"X-Key": {way: ["abc" if way == "secrets" else str(path)]}})
    wait_error(nats, "redirected to another host, which is not for the secrets of http_headers")
    assert target.requests[0][1]["X-Key"] == "abc"
    assert not stranger.requests


def test_secret_headers_follow_on_the_same_host(world, nats):
    answer = expect("X-Key", "abc")["/metrics"]
    target = world.add(Target({"/metrics": status_answer(302, "", {"Location": "/moved?a=b"}), "/moved?a=b": answer,
                               "/moved": answer}))
    poller(world, nats, target.url, http_headers={"X-Key": {"secrets": ["abc"]}})
    wait_up(nats)


class Proxy(Stub):
    def handle(self, request):
        self.seen = (request.path, dict(request.headers))
        request.answer(200, "up_to_now 1\n")


def test_proxy(world, nats):
    proxy = world.add(Proxy())
    poller(world, nats, "http://far.example.net/metrics", proxy_url=f"http://u:p@127.0.0.1:{proxy.port}")
    wait_up(nats)
    path, headers = proxy.seen
    assert path == "http://far.example.net/metrics"
    assert headers["Proxy-Authorization"] == basic("u", "p")


def test_a_proxy_of_https_sees_no_secret(world, nats):
    """It is asked to connect, and told nothing of what goes through."""
    proxy = world.add(Proxy())
    poller(world, nats, "https://far.example.net/metrics", proxy_url=f"http://127.0.0.1:{proxy.port}",
           authorization={"credentials": "s3cret"}, http_headers={"X-Key": {"secrets": ["s3cret"]}})
    wait_until(lambda: hasattr(proxy, "seen"))
    path, headers = proxy.seen
    assert path == "far.example.net:443"
    assert "s3cret" not in str(headers) and "Authorization" not in headers


def test_proxy_whatever_the_environment_says(world, nats):
    proxy = world.add(Proxy())
    os.environ["no_proxy"] = "far.example.net"
    try:
        poller(world, nats, "http://far.example.net/metrics", proxy_url=f"http://127.0.0.1:{proxy.port}")
    finally:
        del os.environ["no_proxy"]
    wait_up(nats)


def test_sink(world, nats, authority):
    target = world.add(Target(BODY))
    gateway = world.add(Gateway(certificate=authority.issue("server", alt="DNS:gateway")))
    poller(world, nats, target.url)
    world.receiver(nats, gateway.url, push={
        "tls_config": {"ca_file": authority.cert, "server_name": "gateway"},
        "basic_auth": {"username": "me", "password": SECRET}, "http_headers": {"X-Scope": {"values": ["a"]}}})
    wait_until(lambda: gateway.bodies("/metrics/job/node/instance/one"))
    assert all(headers["Authorization"] == basic("me", SECRET) and headers["X-Scope"] == "a"
               for headers in gateway.headers)


def test_secrets_do_not_show(world, nats, tmp_path):
    path = tmp_path / "password"
    path.write_text("s3cret-in-file")
    target = world.add(Target({"/metrics": status_answer(401)}))
    daemon = world.poller(nats, {"node": {"targets": [{"name": "one", "url": target.url}],
                                          "basic_auth": {"username": "me", "password_file": str(path)},
                                          "http_headers": {"X-A": {"secrets": ["s3cret-header"]}}}})
    wait_error(nats, "HTTP 401")
    import subprocess
    from harness import http
    from harness.daemons import binary
    printed = subprocess.run([binary("poller"), "--config", os.path.join(daemon.folder, "config.yaml"),
                              "--print-config"], stdout=subprocess.PIPE, check=True).stdout.decode()
    pages = "".join(http.get(daemon.url + path)[1] for path in ("/", "/metrics", "/-/ready"))
    for text in (printed, pages, daemon.log(), str(outcomes(nats))):
        assert "s3cret" not in text
