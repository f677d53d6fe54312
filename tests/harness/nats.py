# SPDX-License-Identifier: Apache-2.0
"""A NATS client of a few lines, for setting streams up, looking into them, and sending rubbish."""

import json
import queue
import select
import socket
import ssl
import threading
import uuid


class NatsError(Exception):
    pass


class Message:
    def __init__(self, subject, reply, headers, body):
        self.subject = subject
        self.reply = reply
        self.raw_headers = headers
        self.body = body

    @property
    def status(self):
        line = self.raw_headers.split(b"\r\n", 1)[0].decode("latin-1")
        parts = line.split(" ", 2)
        return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0

    @property
    def headers(self):
        lines = self.raw_headers.decode("utf-8", "replace").split("\r\n")[1:]
        return dict(line.split(": ", 1) if ": " in line else line.split(":", 1) for line in lines if ":" in line)


class _Tls:
    """A TLS connection that one thread reads while others write, which OpenSSL does not allow at once."""

    def __init__(self, connection):
        self.connection, self.lock, self.taken = connection, threading.Lock(), b""
        connection.setblocking(False)

    def sendall(self, data):
        while data:
            with self.lock:
                try:
                    data = data[self.connection.send(data):]
                    continue
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            select.select([], [self.connection], [], 0.05)

    def _take(self):
        while True:
            with self.lock:
                try:
                    chunk = self.connection.recv(65536)
                    break
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
            select.select([self.connection], [], [], 0.2)
        self.taken += chunk
        return len(chunk) > 0

    def readline(self):
        while b"\n" not in self.taken:
            if not self._take():
                return b""
        line, _, self.taken = self.taken.partition(b"\n")
        return line + b"\n"

    def read(self, size):
        while len(self.taken) < size and self._take():
            pass
        taken, self.taken = self.taken[:size], self.taken[size:]
        return taken

    def shutdown(self, how):
        self.connection.shutdown(how)

    def close(self):
        self.connection.close()


class Nats:
    """One connection; thread-safe enough for a test: one reader thread, callers on others."""

    def __init__(self, port, user=None, password=None, host="127.0.0.1", ca=None, inbox="_INBOX",
                 leaf=False):
        """`leaf`: poses as a leaf node, at the port for those."""
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.info = json.loads(self.file.readline().split(b" ", 1)[1])
        if ca is not None:
            self.socket = self.file = _Tls(
                ssl.create_default_context(cafile=ca).wrap_socket(self.socket, server_hostname=host))
        self.subscriptions = {}
        self.errors = []
        self.pongs = queue.Queue()
        self.next_sid = 1
        self.lock = threading.Lock()
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True,
                   "lang": "python", "version": "0", "protocol": 1}
        if leaf:
            options = {"headers": True, "name": "leaf", "server_id": uuid.uuid4().hex}
        if user is not None:
            options.update(user=user, **{"pass": password})
        self.send(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.inbox = f"{inbox}.{uuid.uuid4().hex}"
        self.flush()

    def send(self, data):
        with self.lock:
            self.socket.sendall(data)

    def _read(self):
        try:
            while line := self.file.readline():
                self._take(line.rstrip(b"\r\n"))
        except (OSError, ValueError):
            pass
        self.pongs.put(False)

    def _take(self, line):
        verb, _, rest = line.partition(b" ")
        if verb == b"PING":
            self.send(b"PONG\r\n")
        elif verb == b"PONG":
            self.pongs.put(True)
        elif verb == b"-ERR":
            self.errors.append(rest.decode())
        elif verb in (b"MSG", b"HMSG"):
            self._take_message(verb, rest.decode().split(" "))

    def _take_message(self, verb, words):
        total = int(words[-1])
        header_length = int(words[-2]) if verb == b"HMSG" else 0
        extra = 4 if verb == b"HMSG" else 3
        reply = words[2] if len(words) == extra + (1 if verb == b"MSG" else 1) else None
        payload = self.file.read(total)
        self.file.read(2)
        message = Message(words[0], reply, payload[:header_length], payload[header_length:])
        handler = self.subscriptions.get(int(words[1]))
        if handler is not None:
            handler(message)

    def flush(self, timeout=10):
        self.send(b"PING\r\n")
        if not self.pongs.get(timeout=timeout):
            raise NatsError(f"the connection has ended; errors: {self.errors}")

    def subscribe(self, subject, handler):
        sid = self.next_sid
        self.next_sid += 1
        self.subscriptions[sid] = handler
        self.send(f"SUB {subject} {sid}\r\n".encode())
        return sid

    def unsubscribe(self, sid):
        self.send(f"UNSUB {sid}\r\n".encode())
        self.subscriptions.pop(sid, None)

    def publish(self, subject, body=b"", headers=None, reply=None):
        """`headers`: a dict, or the raw block including its status line and final empty line."""
        where = f"{subject} {reply}" if reply else subject
        if headers is None:
            self.send(f"PUB {where} {len(body)}\r\n".encode() + body + b"\r\n")
            return
        if isinstance(headers, dict):
            headers = b"NATS/1.0\r\n" + b"".join(
                f"{key}: {value}\r\n".encode() for key, value in headers.items()) + b"\r\n"
        self.send(f"HPUB {where} {len(headers)} {len(headers) + len(body)}\r\n".encode() + headers + body + b"\r\n")

    def request(self, subject, body=b"", headers=None, timeout=10):
        answers = queue.Queue()
        reply = f"{self.inbox}.{uuid.uuid4().hex}"
        sid = self.subscribe(reply, answers.put)
        self.publish(subject, body, headers, reply)
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise NatsError(f"no answer on {subject}; errors: {self.errors}") from None
        finally:
            self.unsubscribe(sid)
        if answer.status == 503:
            raise NatsError(f"no responders on {subject}")
        return answer

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # JetStream

    def api(self, what, body=None, domain=None):
        prefix = f"$JS.{domain}.API" if domain else "$JS.API"
        payload = b"" if body is None else json.dumps(body).encode()
        answer = json.loads(self.request(f"{prefix}.{what}", payload).body)
        if "error" in answer:
            raise NatsError(answer["error"])
        return answer

    def make_stream(self, name, subjects=("prometheus", "prometheus.>"), **settings):
        config = {"name": name, "subjects": list(subjects), "retention": "limits", "storage": "file",
                  "num_replicas": 1, "allow_direct": True, "duplicate_window": 120_000_000_000, **settings}
        return self.api(f"STREAM.CREATE.{name}", config)

    def stream_info(self, name):
        return self.api(f"STREAM.INFO.{name}")

    def stream_messages(self, name):
        """How many; None while there is no such stream."""
        try:
            return self.stream_info(name)["state"]["messages"]
        except NatsError:
            return None

    def delete_stream(self, name):
        return self.api(f"STREAM.DELETE.{name}")

    def stream_message(self, name, sequence):
        """One stored message as Message."""
        import base64
        stored = self.api(f"STREAM.MSG.GET.{name}", {"seq": sequence})["message"]
        return Message(stored["subject"], None, base64.b64decode(stored.get("hdrs", "")),
                       base64.b64decode(stored.get("data", "")))

    def all_messages(self, name):
        state = self.stream_info(name)["state"]
        if state["messages"] == 0:
            return []
        found = []
        for sequence in range(state["first_seq"], state["last_seq"] + 1):
            try:
                found.append(self.stream_message(name, sequence))
            except NatsError:
                continue
        return found

    def consumer_info(self, stream, durable):
        return self.api(f"CONSUMER.INFO.{stream}.{durable}")

    def delete_consumer(self, stream, durable):
        """nats-server 2.9 may fail to remove the folder of one in use, though the consumer is gone."""
        try:
            self.api(f"CONSUMER.DELETE.{stream}.{durable}")
        except NatsError as error:
            if "directory not empty" not in str(error):
                raise

    def is_acked(self, stream, durable):
        """Whether the durable is there and has nothing left, neither to deliver nor to be acked."""
        try:
            info = self.consumer_info(stream, durable)
        except NatsError:
            return False
        return info["num_pending"] == 0 and info["num_ack_pending"] == 0

    def publish_stored(self, subject, body=b"", headers=None):
        """Publishes and returns the PubAck."""
        answer = json.loads(self.request(subject, body, headers).body)
        if "error" in answer:
            raise NatsError(answer["error"])
        return answer
