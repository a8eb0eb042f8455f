"""Consistent Overhead Byte Stuffing: bytes without a zero in them, so that a zero can end a frame.

Source: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
"""

from __future__ import annotations

from edgeloop.errors import MessageError

__all__ = ["decode", "encode"]

_FULL = 0xFF  # the code of a group of 254 bytes that no zero follows
_GROUP = 254


def encode(data: bytes) -> bytes:
    """`data` without zeros: one byte longer, and one more for each 254 bytes that hold no zero.

    No empty group follows a full one at the end of `data`.
    """
    out = bytearray()
    runs = data.split(b"\0")
    for number, run in enumerate(runs, start=1):
        full = len(run) // _GROUP * _GROUP
        for start in range(0, full, _GROUP):
            out.append(_FULL)
            out += run[start : start + _GROUP]
        if number < len(runs) or full == 0 or full < len(run):
            out.append(len(run) - full + 1)
            out += run[full:]
    return bytes(out)


def decode(encoded: bytes) -> bytes:
    """The bytes that `encode` was given.

    Raises:
        MessageError: `encoded` holds a zero, or its last group reaches past its end.
    """
    if 0 in encoded:
        raise MessageError(f"COBS: a zero at byte {encoded.index(0)}")
    out = bytearray()
    position = 0
    while position < len(encoded):
        code = encoded[position]
        end = position + code
        if end > len(encoded):
            raise MessageError(f"COBS: the group at byte {position} reaches {end - len(encoded)} bytes past the end")
        out += encoded[position + 1 : end]
        position = end
        if code != _FULL and position < len(encoded):
            out.append(0)
    return bytes(out)
