"""What all messages have in common: a layout on the wire, and the constants of PROTOCOL.md."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from typing import ClassVar, TypeVar

from edgeloop.errors import MessageError
from edgeloop_bridge.frames import MAX_PAYLOAD_BYTES

__all__ = [
    "ANSWER",
    "BUILT_IN",
    "FIRST_BAUD",
    "MODEL_PREFIX_BYTES",
    "NO_SLOT",
    "SHA256_BYTES",
    "ErrorCode",
    "InferStatus",
    "LogLevel",
    "Message",
    "SlotState",
    "ValueFormat",
]

FIRST_BAUD = 115_200
"""At which both sides start."""

ANSWER = 0x80
"""An answer's type is its request's with this bit set."""

NO_SLOT, BUILT_IN = 255, 254
"""Slots that are none: no model at all, and the one that is linked into the firmware."""

SHA256_BYTES, MODEL_PREFIX_BYTES = 32, 8

M = TypeVar("M", bound="Message")


class ErrorCode(IntEnum):
    """Why a request was refused; PROTOCOL.md says what to do then."""

    UNKNOWN_TYPE = 1
    BAD_PAYLOAD = 2
    VERSION = 3
    BUSY = 4
    REFUSED = 5


class LogLevel(IntEnum):
    """As Python's `logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class SlotState(IntEnum):
    """How far a slot's image has come."""

    EMPTY = 0
    RECEIVING = 1
    VERIFIED = 2
    TRIAL = 3
    CONFIRMED = 4


class InferStatus(IntEnum):
    """What became of an inference."""

    DONE = 0
    NO_MODEL = 1
    OTHER_MODEL = 2
    BAD_INPUT = 3


class ValueFormat(IntEnum):
    """How a stream's values are written, little-endian."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    FLOAT32 = 4


@dataclass(frozen=True)
class Message:
    """One message. A subclass's fields stand on the wire in their order.

    Attributes:
        TYPE: the frame's.
        LAYOUT: the fields of fixed size, as `struct` writes them; a `bytes` field has exactly its length.
        TAIL: whether one more field, `bytes` or UTF-8 `str`, takes what remains of the payload.
    """

    TYPE: ClassVar[int]
    LAYOUT: ClassVar[tuple[str, ...]] = ()
    TAIL: ClassVar[type | None] = None

    def encode(self) -> bytes:
        """The payload.

        Raises:
            MessageError: a field is out of its range, or the payload too long for a frame.
        """
        values = list(astuple(self))
        tail = values.pop() if self.TAIL else b""
        for value, code, field in zip(values, self.LAYOUT, fields(self), strict=False):
            if isinstance(value, bytes) and len(value) != int(code[:-1]):
                raise MessageError(f"{type(self).__name__}.{field.name} has {len(value)} bytes, and not {code[:-1]}")
        try:
            head = _struct(type(self)).pack(*values)
        except struct.error as error:
            raise MessageError(f"{self!r} doesn't fit its layout: {error}") from error
        payload = head + (tail.encode() if isinstance(tail, str) else tail)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise MessageError(
                f"a {type(self).__name__} of {len(payload)} bytes is past the limit of {MAX_PAYLOAD_BYTES}"
            )
        return payload

    @classmethod
    def decode(cls: type[M], payload: bytes) -> M:  # noqa: PYI019  # typing.Self needs Python 3.11
        """Read a payload.

        Raises:
            MessageError: it hasn't this message's length, or its text isn't UTF-8.
        """
        head = _struct(cls)
        if len(payload) < head.size or (cls.TAIL is None and len(payload) > head.size):
            least = "at least " if cls.TAIL else ""
            raise MessageError(f"a {cls.__name__} has {least}{head.size} bytes, and this one {len(payload)}")
        values: list[object] = list(head.unpack_from(payload))
        if cls.TAIL is not None:
            tail = payload[head.size :]
            try:
                values.append(tail.decode() if cls.TAIL is str else tail)
            except UnicodeDecodeError as error:
                raise MessageError(f"the text of a {cls.__name__} isn't UTF-8: {error}") from error
        return cls(*values)


def _struct(kind: type[Message]) -> struct.Struct:
    return struct.Struct("<" + "".join(kind.LAYOUT))
