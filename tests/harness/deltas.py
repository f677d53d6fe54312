# SPDX-License-Identifier: Apache-2.0
"""Bodies as a receiver would decode them: common/wire.md followed by hand."""

import gzip

from .frames import hash64
from .zstd import Undecodable, decompress


def encoding(message):
    return message.headers.get("Content-Encoding", "identity")


def key_subject(message):
    """Of the keyframe that a delta refers to."""
    topic, kind, target = message.subject.rpartition(".scrape.")
    assert kind, message.subject
    return f"{topic}.key.{target}.{message.headers['Ps-Key']}"


def decode(message, keyframes):
    """`keyframes`: messages by subject."""
    if encoding(message) == "zstd-delta":
        key = keyframes.get(key_subject(message))
        if key is None:
            raise Undecodable(f"no keyframe {key_subject(message)}")
        return decompress(message.body, decode(key, keyframes))
    return {"identity": bytes, "gzip": gzip.decompress, "zstd": decompress}[encoding(message)](message.body)


def check_keyframe(message):
    time = message.headers["Ps-Time"]
    assert message.subject.endswith("." + time)
    assert message.headers["Nats-Msg-Id"] == f"{hash64(message.subject.encode() + bytes(1) + time.encode()):016x}"
    assert encoding(message) in ("gzip", "zstd")


def split(messages):
    """(scrapes in order, keyframes by subject)."""
    keyframes = {message.subject: message for message in messages if ".key." in message.subject}
    for message in keyframes.values():
        check_keyframe(message)
    return [message for message in messages if ".scrape." in message.subject], keyframes
