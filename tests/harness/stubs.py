# SPDX-License-Identifier: Apache-2.0
"""Servers that misbehave on purpose. Everything that can be real is real; these provoke faults."""

import gzip
import http.server
import ssl
import threading
import time

from .process import free_port


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """Clients that hang up are what these stubs are for."""


class Stub:
    """`handle(request)` runs on a thread of its own per connection."""

    def __init__(self, port=None, certificate=None, client_ca=None):
        """`certificate`: speaks TLS with it; `client_ca`: and wants one signed by it."""
        self.port = port or free_port()
        self.scheme = "https" if certificate else "http"
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def do_GET(self):
                stub.handle(self)

            do_PUT = do_POST = do_DELETE = do_CONNECT = do_GET

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", headers=None):
                if isinstance(body, str):
                    body = body.encode()
                self.send_response(status)
                for key, value in (headers or {}).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = _Server(("127.0.0.1", self.port), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert, certificate.key)
            if client_ca is not None:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self.server_names = []
            context.sni_callback = lambda _, name, __: self.server_names.append(name)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.released = threading.Event()

    def handle(self, request):
        raise NotImplementedError

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Target(Stub):
    """A scrape target. `answers` maps a path to a body, or to a function of (target, request).

    Requests are kept as (path, headers, monotonic time).
    """

    def __init__(self, answers=None, port=None, **settings):
        self.answers = dict(answers or {})
        self.requests = []
        super().__init__(port, **settings)

    def handle(self, request):
        self.requests.append((request.path, dict(request.headers), time.monotonic()))
        answer = self.answers.get(request.path.split("?")[0])
        if answer is None:
            request.answer(404, "not here\n")
        elif callable(answer):
            answer(self, request)
        else:
            text_answer(answer)(self, request)


def text_answer(body, gzipped=True):
    """As exporters answer: gzip when the client takes it."""
    data = body.encode() if isinstance(body, str) else body

    def answer(_, request):
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        content = data
        if gzipped and "gzip" in request.headers.get("Accept-Encoding", ""):
            content = gzip.compress(data)
            headers["Content-Encoding"] = "gzip"
        request.answer(200, content, headers)
    return answer


def status_answer(status, body="", headers=None):
    return lambda _, request: request.answer(status, body, headers)


def hang(target, request):
    """Takes the request and says nothing until the stub stops."""
    target.released.wait()
    request.close_connection = True


class Gateway(Stub):
    """A Push Gateway's front: records pushes as (method, path, body, begin, end) and answers as told.

    `status` may be a number or a function of (method, path, body); `delay` seconds per request;
    `pushes_per_second` lets requests through one after the other at that pace. What it is asked for
    (its /metrics) is empty and not recorded.
    """

    def __init__(self, status=200, port=None, pushes_per_second=None, **settings):
        self.status = status
        self.headers = []
        self.pushes = []
        self.gap = 1 / pushes_per_second if pushes_per_second else 0
        self.turn = threading.Lock()
        super().__init__(port, **settings)

    def handle(self, request):
        self.headers.append(dict(request.headers))
        if request.command == "GET":
            request.answer(200)
            return
        begin = time.time()
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length).decode("utf-8", "replace")
        if self.gap:
            with self.turn:
                self.released.wait(self.gap)
        status = self.status(request.command, request.path, body) if callable(self.status) else self.status
        self.pushes.append((request.command, request.path, body, begin, time.time()))
        text = "" if status < 300 else f"the stub answers {status}\n"
        request.answer(status, text)

    def bodies(self, path=None, method="PUT"):
        return [body for verb, at, body, _, _ in list(self.pushes) if verb == method and path in (None, at)]
