"""Deflate where it pays, and inflate with a bound. A zlib stream starts with 0x78, which no message does by itself.

(MessagePack's maps start with 0x80–0x8f, 0xde or 0xdf, and JSON's objects with 0x7b.)
"""

from __future__ import annotations

import zlib

from edgeloop.errors import MessageError

__all__ = ["deflate", "inflate"]

_WORTH_TRYING_BYTES = 256
_LOOK_BYTES = 128
_NOISE_VALUES = 93  # of 128 bytes of noise about 101 differ, of text or an image much fewer
_MAX_SHARE = 0.9
_ZLIB = 0x78


def deflate(payload: bytes) -> bytes:
    """Give `payload` back deflated where that saves a tenth, and as it is otherwise."""
    if len(payload) < _WORTH_TRYING_BYTES:
        return payload
    begin = (len(payload) - _LOOK_BYTES) // 2
    if len(set(payload[begin : begin + _LOOK_BYTES])) > _NOISE_VALUES:
        return payload
    # The fastest level, and 64 kB of tables less than usual: a Pi Zero has other things to do.
    stream = zlib.compressobj(1, zlib.DEFLATED, 15, 5)
    packed = stream.compress(payload) + stream.flush()
    return packed if len(packed) <= _MAX_SHARE * len(payload) else payload


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """The inverse of `deflate`; never more than `max_bytes` are made of it.

    Raises:
        MessageError: damaged, cut off, with something behind it, or longer than `max_bytes`.
    """
    if not payload or payload[0] != _ZLIB:
        return payload
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(payload, max_bytes + 1)
    except zlib.error as error:
        raise MessageError(f"a deflated payload can't be inflated: {error}") from error
    if len(data) > max_bytes:
        raise MessageError(f"a payload of {len(payload)} bytes inflates to more than {max_bytes}")
    if not stream.eof or stream.unused_data:
        raise MessageError("a deflated payload is cut off, or something follows it")
    return data
