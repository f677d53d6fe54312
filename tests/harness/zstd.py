# SPDX-License-Identifier: Apache-2.0
"""zstd frames of every form, made by the library that the daemons are built with, but not by our code."""

import ctypes

_LEVEL, _WINDOW_LOG, _LONG_DISTANCE, _SIZE_FLAG, _CHECKSUM_FLAG = 100, 101, 160, 200, 201
_lib = None


def _library():
    global _lib
    if _lib is None:
        _lib = ctypes.CDLL("libzstd.so.1")
        _lib.ZSTD_createCCtx.restype = ctypes.c_void_p
        _lib.ZSTD_freeCCtx.argtypes = [ctypes.c_void_p]
        _lib.ZSTD_compressBound.restype = ctypes.c_size_t
        _lib.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
        _lib.ZSTD_CCtx_setParameter.restype = ctypes.c_size_t
        _lib.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        _lib.ZSTD_CCtx_refPrefix.restype = ctypes.c_size_t
        _lib.ZSTD_CCtx_refPrefix.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        _lib.ZSTD_compress2.restype = ctypes.c_size_t
        _lib.ZSTD_compress2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                                        ctypes.c_size_t]
        _lib.ZSTD_isError.argtypes = [ctypes.c_size_t]
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
