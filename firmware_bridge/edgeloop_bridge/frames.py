"""Frames on a serial line, without the line: bytes in, frames and what was damaged out (see ../PROTOCOL.md)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from edgeloop.errors import MessageError
from edgeloop_bridge import cobs

__all__ = ["MAX_PAYLOAD_BYTES", "VERSION", "Damaged", "Decoder", "Frame", "encode"]

VERSION = 1
MAX_PAYLOAD_BYTES = 1024

_HEAD = struct.Struct("<BBH")
_CRC = struct.Struct("<I")
_MIN_DECODED = _HEAD.size + _CRC.size
_MAX_DECODED = _MIN_DECODED + MAX_PAYLOAD_BYTES
_MAX_ENCODED = _MAX_DECODED + -(-_MAX_DECODED // 254)


@dataclass(frozen=True)
class Frame:
    """One frame.

    Args:
        type: what the payload is, 0 to 255.
        sequence: 0 to 65,535.
        payload: up to `MAX_PAYLOAD_BYTES`.
        version: of the protocol, 0 to 255; a decoder gives every version whose CRC is right.
    """

    type: int
    sequence: int
    payload: bytes = b""
    version: int = VERSION


@dataclass(frozen=True)
class Damaged:
    """Bytes between two zeros that are no frame: dropped, and counted by `reason`."""

    reason: Literal["cobs", "short", "long", "crc"]


def encode(frame: Frame) -> bytes:
    """The frame as it goes on the line, with a zero before and after it.

    Raises:
        MessageError: a field is out of its range.
    """
    if len(frame.payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(f"a payload of {len(frame.payload)} bytes is past the limit of {MAX_PAYLOAD_BYTES}")
    try:
        body = _HEAD.pack(frame.version, frame.type, frame.sequence) + frame.payload
    except struct.error as error:
        raise MessageError(f"{frame!r} doesn't fit a frame: {error}") from error
    return b"\0" + cobs.encode(body + _CRC.pack(zlib.crc32(body))) + b"\0"


class Decoder:
    """Finds the frames in the bytes that a line gives, however they are cut; keeps no more than one frame of them."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[Frame | Damaged]:
        """What ended within `data`, in the order of the line."""
        *ended, begun = data.split(b"\0")
        found: list[Frame | Damaged] = []
        for piece in ended:
            self._keep(piece)
            if self._too_long:
                found.append(Damaged("long"))
            elif self._begun:
                found.append(_decode(bytes(self._begun)))
            self._begun.clear()
            self._too_long = False
        self._keep(begun)
        return found

    def _keep(self, piece: bytes) -> None:
        self._too_long = self._too_long or len(self._begun) + len(piece) > _MAX_ENCODED
        if self._too_long:
            self._begun.clear()
        else:
            self._begun += piece


def _decode(encoded: bytes) -> Frame | Damaged:
    try:
        decoded = cobs.decode(encoded)
    except MessageError:
        return Damaged("cobs")
    if len(decoded) < _MIN_DECODED:
        return Damaged("short")
    if len(decoded) > _MAX_DECODED:
        return Damaged("long")
    body = decoded[: -_CRC.size]
    if _CRC.unpack(decoded[-_CRC.size :])[0] != zlib.crc32(body):
        return Damaged("crc")
    version, type_, sequence = _HEAD.unpack_from(body)
    return Frame(type_, sequence, body[_HEAD.size :], version)
