# SPDX-License-Identifier: Apache-2.0
"""How long a scrape takes from the target's answer until the Push Gateway shows it: a target whose body carries a
number that is another at each scrape, and somebody who keeps looking at the gateway."""

import http.client
import http.server
import re
import threading
import time

_STAMP = re.compile(rb"^bench_stamp\{[^}]*\} (\d+)", re.MULTILINE)


class StampedTarget:
    def __init__(self, body):
        self.served = {}    # stamp: when its answer was sent

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(handler):
                stamp = len(self.served) + 1
                answer = body + b"bench_stamp %d\n" % stamp
                handler.send_response(200)
                handler.send_header("Content-Type", "text/plain; version=0.0.4")
                handler.send_header("Content-Length", str(len(answer)))
                handler.end_headers()
                handler.wfile.write(answer)
                self.served[stamp] = time.monotonic()

            def log_message(handler, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def watch_gateway(port, count, timeout=60):
    """{stamp: when it was first seen}, `count` of them."""
    seen = {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    deadline = time.monotonic() + timeout
    while len(seen) < count and time.monotonic() < deadline:
        connection.request("GET", "/metrics")
        found = _STAMP.search(connection.getresponse().read())
        if found:
            seen.setdefault(int(found.group(1)), time.monotonic())
        time.sleep(0.002)
    connection.close()
    return seen
