# SPDX-License-Identifier: Apache-2.0
"""Our two daemons, run from the build folder that BUILD names."""

import os
import re

import yaml

from . import http
from .process import Process, free_port, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:)")


def build_folder():
    return os.path.join(ROOT, os.environ.get("BUILD", "build/release"))


# Whether time and memory of the daemons are their own, not a sanitizer's.
IS_PLAIN = not any(word in build_folder() for word in ("asan", "tsan"))


def binary(kind):
    return os.path.join(build_folder(), f"prometheus-streams-{kind}")


class Daemon:
    """`config` is a dict; identity and the monitor port are filled in."""

    kind = None

    def __init__(self, folder, config, name=None, args=(), env=None):
        self.name = name or self.kind
        self.folder = os.path.join(str(folder), self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.config = {"monitor_port": self.port, **config}
        self.port = self.config["monitor_port"]
        self.args = list(args)
        self.env = env
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, wait=True):
        path = os.path.join(self.folder, "config.yaml")
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(self.config, file, sort_keys=False, allow_unicode=True)
        wrapper = os.environ.get("WRAPPER", "").split()
        env = {**os.environ, "TSAN_OPTIONS": f"suppressions={ROOT}/tests/tsan.supp halt_on_error=0",
               "UBSAN_OPTIONS": "print_stacktrace=1", **(self.env or {})}
        self.process = Process(self.name, [*wrapper, binary(self.kind), "--config", path, *self.args],
                               os.path.join(self.folder, "log"), env=env)
        if wait:
            wait_until(lambda: http.get(f"{self.url}/-/healthy")[0] == 200 or not self.process.is_running(),
                       what=f"{self.name} is healthy")
            assert self.process.is_running(), f"{self.name} did not start:\n{self.log()[-3000:]}"
        return self

    def log(self):
        return self.process.log()

    def ready(self):
        """(True, text) or (False, the reason)."""
        status, text = http.get(f"{self.url}/-/ready")
        return status == 200, text.strip()

    def wait_ready(self, timeout=20):
        wait_until(lambda: self.ready()[0], timeout, what=f"{self.name} is ready; it says {self.ready()[1]!r}")

    def wait_not_ready(self, reason, timeout=20):
        """Until not ready with a reason that contains `reason`; returns it."""
        def refused():
            ready, text = self.ready()
            return text if not ready and reason in text else None
        try:
            return wait_until(refused, timeout)
        except AssertionError:
            raise AssertionError(f"{self.name} should say {reason!r}, says {self.ready()}") from None

    def metrics(self):
        status, text = http.get(f"{self.url}/metrics")
        assert status == 200, f"{self.name}'s /metrics answers {status}: {text}"
        return http.Samples(text)

    def total(self, metric, **labels):
        """Sum over series of prometheus_streams_<kind>_<metric>."""
        return self.metrics().total(f"prometheus_streams_{self.kind}_{metric}", **labels)

    def check_log(self):
        text = self.log()
        assert not _SANITIZER.search(text), f"{self.name}: a sanitizer reports:\n{text[-6000:]}"

    def stop(self):
        """SIGTERM; asserts a clean end."""
        if self.process is None:
            return
        process, self.process = self.process, None
        status = process.stop()
        text = process.log()
        assert not _SANITIZER.search(text), f"{self.name}: a sanitizer reports:\n{text[-6000:]}"
        assert status == 0, f"{self.name} ended with status {status}:\n{text[-4000:]}"

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Poller(Daemon):
    kind = "poller"


class Receiver(Daemon):
    kind = "receiver"
