# SPDX-License-Identifier: Apache-2.0
"""Bodies as a receiver would decode them: common/wire.md followed by hand, on the system's libzstd."""

import ctypes
import ctypes.util
import gzip

from .frames import hash64

_ZSTD = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
for _name, _result, _arguments in (
        ("ZSTD_createDCtx", ctypes.c_void_p, []),
        ("ZSTD_freeDCtx", ctypes.c_size_t, [ctypes.c_void_p]),
        ("ZSTD_isError", ctypes.c_uint, [ctypes.c_size_t]),
        ("ZSTD_getFrameContentSize", ctypes.c_ulonglong, [ctypes.c_char_p, ctypes.c_size_t]),
        ("ZSTD_decompress_usingDict", ctypes.c_size_t,
         [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
          ctypes.c_size_t])):
    _function = getattr(_ZSTD, _name)
    _function.restype, _function.argtypes = _result, _arguments


class Undecodable(Exception):
    pass


def unzstd(body, prefix=b""):
    size = _ZSTD.ZSTD_getFrameContentSize(body, len(body))
    if size >= 1 << 40:
        raise Undecodable("no content size")
    out = ctypes.create_string_buffer(max(size, 1))
    context = _ZSTD.ZSTD_createDCtx()
    made = _ZSTD.ZSTD_decompress_usingDict(context, out, size, body, len(body), prefix, len(prefix))
    _ZSTD.ZSTD_freeDCtx(context)
    if _ZSTD.ZSTD_isError(made) or made != size:
        raise Undecodable(f"{len(body)} bytes, prefix of {len(prefix)}")
    return out.raw[:size]


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
        return unzstd(message.body, decode(key, keyframes))
    return {"identity": bytes, "gzip": gzip.decompress, "zstd": unzstd}[encoding(message)](message.body)


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
