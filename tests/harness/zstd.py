# SPDX-License-Identifier: Apache-2.0
"""zstd frames of every form, made and read by the library that the daemons are built with, but not by our code."""

import ctypes

_LEVEL, _WINDOW_LOG, _LONG_DISTANCE, _SIZE_FLAG, _CHECKSUM_FLAG = 100, 101, 160, 200, 201
_POINTER, _BYTES, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
_PROTOTYPES = {
    "ZSTD_isError": (ctypes.c_uint, [_SIZE]),
    "ZSTD_createCCtx": (_POINTER, []),
    "ZSTD_freeCCtx": (_SIZE, [_POINTER]),
    "ZSTD_compressBound": (_SIZE, [_SIZE]),
    "ZSTD_CCtx_setParameter": (_SIZE, [_POINTER, ctypes.c_int, ctypes.c_int]),
    "ZSTD_CCtx_refPrefix": (_SIZE, [_POINTER, _BYTES, _SIZE]),
    "ZSTD_compress2": (_SIZE, [_POINTER, _BYTES, _SIZE, _BYTES, _SIZE]),
    "ZSTD_createDCtx": (_POINTER, []),
    "ZSTD_freeDCtx": (_SIZE, [_POINTER]),
    "ZSTD_getFrameContentSize": (ctypes.c_ulonglong, [_BYTES, _SIZE]),
    "ZSTD_decompress_usingDict": (_SIZE, [_POINTER, _BYTES, _SIZE, _BYTES, _SIZE, _BYTES, _SIZE]),
}
_lib = None


class Undecodable(Exception):
    pass


def _library():
    global _lib
    if _lib is None:
        _lib = ctypes.CDLL("libzstd.so.1")
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(_lib, name)
            function.restype, function.argtypes = result, arguments
    return _lib


def _checked(result):
    if _library().ZSTD_isError(result):
        raise ValueError(f"zstd error {ctypes.c_ssize_t(result).value}")
    return result


def compress(data, prefix=None, level=3, checksum=True, size=True):
    """One frame; with `prefix` a delta against it."""
    lib = _library()
    context = lib.ZSTD_createCCtx()
    try:
        for parameter, value in ((_LEVEL, level), (_CHECKSUM_FLAG, int(checksum)), (_SIZE_FLAG, int(size)),
                                 (_LONG_DISTANCE, int(prefix is not None)),
                                 (_WINDOW_LOG, max(17, (len(data) + len(prefix or b"")).bit_length()))):
            _checked(lib.ZSTD_CCtx_setParameter(context, parameter, value))
        if prefix is not None:
            _checked(lib.ZSTD_CCtx_refPrefix(context, prefix, len(prefix)))
        room = lib.ZSTD_compressBound(len(data))
        made = ctypes.create_string_buffer(room)
        length = _checked(lib.ZSTD_compress2(context, made, room, data, len(data)))
        return made.raw[:length]
    finally:
        lib.ZSTD_freeCCtx(context)


def decompress(body, prefix=b""):
    """Of one frame that says its size; with `prefix` a delta against it."""
    lib = _library()
    size = lib.ZSTD_getFrameContentSize(body, len(body))
    if size >= 1 << 40:
        raise Undecodable("no content size")
    out = ctypes.create_string_buffer(max(size, 1))
    context = lib.ZSTD_createDCtx()
    made = lib.ZSTD_decompress_usingDict(context, out, size, body, len(body), prefix, len(prefix))
    lib.ZSTD_freeDCtx(context)
    if lib.ZSTD_isError(made) or made != size:
        raise Undecodable(f"{len(body)} bytes, prefix of {len(prefix)}")
    return out.raw[:size]


def decompress_unsized(body, most):
    """Of one frame that need not say its size, of at most so many bytes."""
    lib = _library()
    out = ctypes.create_string_buffer(most)
    context = lib.ZSTD_createDCtx()
    made = lib.ZSTD_decompress_usingDict(context, out, most, body, len(body), b"", 0)
    lib.ZSTD_freeDCtx(context)
    if lib.ZSTD_isError(made):
        raise Undecodable(f"{len(body)} bytes")
    return out.raw[:made]
