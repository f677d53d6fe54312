# SPDX-License-Identifier: Apache-2.0
"""The real servers, each in a folder of its own with explicit data, persistence and port settings."""

import os
import shutil
import signal

from . import http
from .nats import Nats
from .process import Process, free_port, wait_until


def find_binary(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/bin")
    if path is None:
        raise FileNotFoundError(f"{name} is not installed: run `make deps`")
    return path


class Server:
    """start() waits until it answers; stop() is safe to call twice."""

    name = "server"

    def __init__(self, folder):
        self.folder = os.path.join(str(folder), self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.process = None
        self.port = free_port()

    def argv(self):
        raise NotImplementedError

    def answers(self):
        raise NotImplementedError

    def start(self):
        self.process = Process(self.name, self.argv(), os.path.join(self.folder, "log"), cwd=self.folder)
        wait_until(lambda: self.answers() or not self.process.is_running(), what=f"{self.name} answers")
        assert self.process.is_running(), f"{self.name} did not start:\n{self.process.log()[-3000:]}"
        return self

    def stop(self):
        if self.process is not None:
            self.process.stop()
            self.process = None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process = None

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class NatsServer(Server):
    """`config`: further lines of nats-server configuration (authorization, leafnodes, …)."""

    name = "nats-server"

    def __init__(self, folder, config="", jetstream=True, name=None):
        if name is not None:
            self.name = name
        super().__init__(folder)
        self.config = config
        self.jetstream = jetstream
        self.monitor_port = free_port()

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def write_config(self):
        path = os.path.join(self.folder, "nats.conf")
        store = os.path.join(self.folder, "store")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'server_name: "{self.name}"\nlisten: "127.0.0.1:{self.port}"\n'
                       f'http: "127.0.0.1:{self.monitor_port}"\n')
            if self.jetstream:
                file.write(self.jetstream if isinstance(self.jetstream, str)
                           else f'jetstream {{ store_dir: "{store}" }}\n')
            file.write(self.config)
        return path

    def argv(self):
        return [find_binary("nats-server"), "-c", self.write_config()]

    def answers(self):
        return http.get(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=2)[0] == 200

    def reload(self, config):
        """Applies other configuration lines without a restart."""
        self.config = config
        self.write_config()
        self.process.signal(signal.SIGHUP)

    def connect(self, user=None, password=None):
        return Nats(self.port, user, password)


class PushGateway(Server):
    name = "prometheus-pushgateway"

    def __init__(self, folder, flags=()):
        super().__init__(folder)
        self.flags = list(flags)

    def argv(self):
        return [find_binary("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{self.port}",
                "--persistence.file=", *self.flags]

    def answers(self):
        return http.get(f"{self.url}/-/ready", timeout=2)[0] == 200

    def metrics(self):
        """Samples; fails when the gateway cannot be scraped."""
        status, text = http.get(f"{self.url}/metrics")
        assert status == 200, f"the Push Gateway's /metrics answers {status}: {text[:500]}"
        return http.Samples(text)

    def groups(self):
        """The grouping labels of each group."""
        return [group["labels"] for group in http.get_json(f"{self.url}/api/v1/metrics")["data"]]


class NodeExporter(Server):
    name = "prometheus-node-exporter"

    def argv(self):
        return [find_binary("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{self.port}"]

    def answers(self):
        return http.get(f"{self.url}/", timeout=2)[0] == 200


class Prometheus(Server):
    """`scrape_configs`: a list as in prometheus.yml, or a function of this server that returns it."""

    name = "prometheus"

    def __init__(self, folder, scrape_configs=(), interval="1s", flags=(), remote_write=()):
        super().__init__(folder)
        self.scrape_configs = scrape_configs
        self.remote_write = remote_write
        self.interval = interval
        self.flags = list(flags)

    def argv(self):
        import yaml
        path = os.path.join(self.folder, "prometheus.yml")
        configs = self.scrape_configs(self) if callable(self.scrape_configs) else self.scrape_configs
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump({"global": {"scrape_interval": self.interval, "scrape_timeout": self.interval},
                            "scrape_configs": list(configs), "remote_write": list(self.remote_write)}, file)
        storage = [] if any("agent" in flag for flag in self.flags) else [
            f"--storage.tsdb.path={os.path.join(self.folder, 'data')}"]
        return [find_binary("prometheus"), f"--config.file={path}",
                f"--web.listen-address=127.0.0.1:{self.port}", *storage, *self.flags]

    def answers(self):
        return http.get(f"{self.url}/-/ready", timeout=2)[0] == 200

    def rows(self, expression):
        """The rows of an instant query, as they are."""
        from urllib.parse import quote
        answer = http.get_json(f"{self.url}/api/v1/query?query={quote(expression)}")
        return [] if answer is None else answer["data"]["result"]

    def query(self, expression):
        """[(labels, value)] of an instant query for an instant vector."""
        return [(row["metric"], float(row["value"][1])) for row in self.rows(expression)]

    def stored(self, selector, window="1h"):
        """{labels as a frozenset: [(milliseconds, value)]} of the raw samples, markers left out."""
        from urllib.parse import quote
        answer = http.get_json(f"{self.url}/api/v1/query?query={quote(f'{selector}[{window}]')}")
        rows = answer["data"]["result"] if answer else []
        return {frozenset(row["metric"].items()): [(round(at * 1000), float(value)) for at, value in row["values"]]
                for row in rows}


class WriteReceiver(Prometheus):
    """Prometheus that takes remote writes."""

    def __init__(self, folder, **settings):
        super().__init__(folder, flags=["--web.enable-remote-write-receiver"], **settings)

    write_path = "/api/v1/write"


class VictoriaStore(Server):
    """VictoriaMetrics that takes remote writes."""

    name = "victoria-metrics"
    write_path = "/api/v1/write"

    def argv(self):
        return [find_binary("victoria-metrics"), f"-httpListenAddr=127.0.0.1:{self.port}",
                f"-storageDataPath={self.folder}/data", "-search.latencyOffset=0s", "-loggerDisableTimestamps"]

    def answers(self):
        return http.get(f"{self.url}/health", timeout=2)[0] == 200

    def flush(self):
        http.get(f"{self.url}/internal/force_flush")

    def query(self, expression):
        from urllib.parse import quote
        self.flush()
        answer = http.get_json(f"{self.url}/api/v1/query?query={quote(expression)}&nocache=1")
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]] if answer else []

    def stored(self, selector, window="1h"):
        import json
        from urllib.parse import quote
        self.flush()
        status, text = http.get(f"{self.url}/api/v1/export?match[]={quote(selector)}&reduce_mem_usage=1")
        rows = [json.loads(line) for line in text.splitlines()] if status == 200 else []
        found = {}
        for row in rows:  # one for each block of a series
            found.setdefault(frozenset(row["metric"].items()), []).extend(
                (at, value) for at, value in zip(row["timestamps"], row["values"]) if value is not None)
        return {labels: sorted(values) for labels, values in found.items()}
