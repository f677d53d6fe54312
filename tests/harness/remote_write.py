# SPDX-License-Identifier: Apache-2.0
"""Endpoints of remote write: a stub that decodes what it gets by protoc's Python code from the published
messages, and queries for what the real ones have stored."""

import ctypes
import importlib
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time

from .daemons import ROOT
from .stubs import Stub

STALE = 0x7FF0000000000002
V2 = "io.prometheus.write.v2.Request"
_modules = {}


def _generated(name):
    """The module that protoc makes of tests/proto/<name>.proto."""
    if name not in _modules:
        folder = tempfile.mkdtemp(prefix="prometheus-streams-proto-")
        source = os.path.join(ROOT, "tests", "proto")
        subprocess.run(["protoc", f"-I{source}", f"--python_out={folder}", f"{name}.proto"], check=True)
        sys.path.insert(0, folder)
        _modules[name] = importlib.import_module(f"{name}_pb2")
        sys.path.remove(folder)
    return _modules[name]


def snappy_uncompress(data):
    """By the library, but not by our code."""
    library = ctypes.CDLL("libsnappy.so.1")
    length = ctypes.c_size_t()
    assert library.snappy_uncompressed_length(data, ctypes.c_size_t(len(data)), ctypes.byref(length)) == 0, "not snappy"
    out = ctypes.create_string_buffer(length.value + 1)
    assert library.snappy_uncompress(data, ctypes.c_size_t(len(data)), out, ctypes.byref(length)) == 0, "not snappy"
    return out.raw[:length.value]


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


class Sample:
    """One sample as an endpoint reads it."""

    def __init__(self, labels, sample, metadata=None):
        names = [name for name, _ in labels]
        assert names == sorted(set(names)), f"labels out of order: {names}"
        assert all(name and value for name, value in labels), f"an empty label: {labels}"
        self.labels = dict(labels)
        self.name = self.labels["__name__"]
        self.series = frozenset(labels)
        self.value, self.time_ms = sample.value, sample.timestamp
        self.is_stale = bits(sample.value) == STALE
        self.metadata = metadata

    def key(self):
        return self.series, self.time_ms, bits(self.value)

    def __repr__(self):
        return f"{dict(self.labels)} {'stale' if self.is_stale else self.value} @{self.time_ms}"


class Request:
    """`metadata`: {family: (type, help)}."""

    def __init__(self, headers, body):
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.at = time.monotonic()
        assert self.headers["content-encoding"] == "snappy"
        self.is_v2 = V2 in self.headers["content-type"]
        message = snappy_uncompress(body)
        self.samples, self.metadata = self._read_v2(message) if self.is_v2 else self._read_v1(message)

    def _read_v1(self, message):
        assert self.headers["content-type"] == "application/x-protobuf"
        assert self.headers["x-prometheus-remote-write-version"] == "0.1.0"
        request = _generated("remote").WriteRequest.FromString(message)
        samples = [Sample([(label.name, label.value) for label in series.labels], sample)
                   for series in request.timeseries for sample in series.samples]
        return samples, {one.metric_family_name: (one.type, one.help) for one in request.metadata}

    def _read_v2(self, message):
        assert self.headers["content-type"] == f"application/x-protobuf;proto={V2}"
        assert self.headers["x-prometheus-remote-write-version"] == "2.0.0"
        request = _generated("remote_v2").Request.FromString(message)
        text = list(request.symbols)
        assert text[0] == "" and len(set(text)) == len(text)
        samples = []
        for series in request.timeseries:
            refs = list(series.labels_refs)
            labels = [(text[name], text[value]) for name, value in zip(refs[::2], refs[1::2])]
            about = (series.metadata.type, text[series.metadata.help_ref], text[series.metadata.unit_ref])
            samples += [Sample(labels, sample, about) for sample in series.samples]
        return samples, {}


class Endpoint(Stub):
    """Takes writes and keeps them, if `status` says so: a number, or a function of (request, number of requests so
    far) that returns a number or (number, headers, text). `requests` are all, `taken` those answered by 2xx."""

    def __init__(self, status=204, port=None, delay=0, knows_v2=True, **settings):
        self.status, self.delay, self.knows_v2 = status, delay, knows_v2
        self.requests, self.taken = [], []
        self.lock = threading.Lock()
        super().__init__(port, **settings)

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        made = Request(dict(request.headers), body)
        with self.lock:
            number = len(self.requests)
            self.requests.append(made)
        if self.delay:
            self.released.wait(self.delay)
        answer = self.status(made, number) if callable(self.status) else self.status
        status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, "")
        if 200 <= status < 300:
            with self.lock:
                self.taken.append(made)
            if made.is_v2 and self.knows_v2:
                headers = {**headers, "X-Prometheus-Remote-Write-Samples-Written": str(len(made.samples))}
        request.answer(status, text, headers)

    def samples(self, name=None, **labels):
        """Those taken, in their order."""
        return [sample for request in list(self.taken) for sample in request.samples
                if name in (None, sample.name) and all(sample.labels.get(key) == want for key, want in labels.items())]

    def values(self, name, **labels):
        return [None if sample.is_stale else sample.value for sample in self.samples(name, **labels)]

    def metadata(self):
        merged = {}
        for request in list(self.taken):
            merged.update(request.metadata)
        return merged
