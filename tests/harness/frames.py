# SPDX-License-Identifier: Apache-2.0
"""Scrape messages made by hand, following common/wire.md and sharing no code with the daemons."""

import gzip
import json
import time

from . import zstd

_MASK = (1 << 64) - 1


def hash64(data):
    state = 0xCBF29CE484222325
    for byte in data:
        state = ((state ^ byte) * 0x100000001B3) & _MASK
    state ^= state >> 33
    state = (state * 0xFF51AFD7ED558CCD) & _MASK
    state ^= state >> 33
    state = (state * 0xC4CEB9FE1A85EC53) & _MASK
    return state ^ (state >> 33)


def escape(name):
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    return "".join(chr(byte) if byte in plain else f"={byte:02X}" for byte in name.encode())


def labels_token(labels):
    if not labels:
        return "0"
    data = b"".join(name.encode() + b"\0" + labels[name].encode() + b"\0" for name in sorted(labels))
    return f"{hash64(data) or 1:016x}"


def subject(publisher, job, instance, labels=None, topic="prometheus"):
    return f"{topic}.scrape.{escape(publisher)}.{escape(job)}.{escape(instance)}.{labels_token(labels)}"


def key_subject(scrape_subject, at_ms, topic="prometheus"):
    return f"{topic}.key{scrape_subject[len(topic) + len('.scrape'):]}.{at_ms}"


def now_ms():
    return int(time.time() * 1000)


_newest = {}


def _next_ms(where):
    """Now, but no time twice: two scrapes of one target and millisecond would be one message."""
    _newest[where] = max(now_ms(), _newest.get(where, 0) + 1)
    return _newest[where]


def headers(where, at_ms=None, labels=None, **extra):
    at_ms = _next_ms(where) if at_ms is None else at_ms
    made = {"Ps-Time": str(at_ms), "Ps-Interval": "15000", "Ps-Duration": "0.1",
            "Nats-Msg-Id": f"{hash64(where.encode() + str(at_ms).encode()):016x}"}
    if labels:
        made["Ps-Labels"] = json.dumps(labels)
    made.update(extra)
    return made


def publish(client, publisher, job, instance, body, at_ms=None, labels=None, **extra):
    """Stores one scrape; returns the PubAck."""
    where = subject(publisher, job, instance, labels)
    return client.publish_stored(where, body.encode() if isinstance(body, str) else body,
                                 headers(where, at_ms, labels, **extra))


def publish_keyframe(client, publisher, job, instance, body, at_ms, labels=None, encoding="zstd", **extra):
    """Stores one keyframe; `body` is what frames refer to. Returns the PubAck."""
    encoded = {"zstd": zstd.compress, "gzip": gzip.compress, "identity": lambda data: data}[encoding](body.encode())
    where = key_subject(subject(publisher, job, instance, labels), at_ms)
    return client.publish_stored(where, encoded, headers(where, at_ms, None, **{"Content-Encoding": encoding, **extra}))


def publish_delta(client, publisher, job, instance, body, key_body, key_ms, at_ms=None, labels=None, **extra):
    """Stores one scrape that refers to the keyframe of `key_ms`, which holds `key_body`."""
    return publish(client, publisher, job, instance, zstd.compress(body.encode(), key_body.encode()), at_ms, labels,
                   **{"Content-Encoding": "zstd-delta", "Ps-Key": str(key_ms), **extra})


def raw_message(where, body=b"", lines=b"", **headers):
    """For flood(): `headers` have _ for -, and the time if no other is given; further `lines` go as they are."""
    block = b"NATS/1.0\r\n" + b"".join(f"{key.replace('_', '-')}: {value}\r\n".encode()
                                       for key, value in {"Ps_Time": now_ms(), **headers}.items()) + lines + b"\r\n"
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (where.encode(), len(block), len(block) + len(body), block, body)


def flood(client, messages, batch=500):
    """Publishes without waiting for each, as fast as the server reads."""
    held = []
    for message in messages:
        held.append(message)
        if len(held) == batch:
            client.send(b"".join(held))
            client.flush(60)
            held.clear()
    client.send(b"".join(held))
    client.flush(60)
