"""The messages about the device itself: who it is, how its line is, what its sensors say."""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop_bridge.message import Message

__all__ = [
    "Baud",
    "BaudRequest",
    "Error",
    "Hello",
    "HelloRequest",
    "Log",
    "Ping",
    "PingRequest",
    "Reset",
    "ResetRequest",
    "Samples",
    "Stats",
    "StatsRequest",
    "Stream",
    "StreamRequest",
]


@dataclass(frozen=True)
class HelloRequest(Message):
    """Who are you."""

    TYPE = 0x01


@dataclass(frozen=True)
class Hello(Message):
    """Who the device is.

    Attributes:
        protocol: the highest version that it speaks.
        largest_frame_bytes: decoded, that it takes.
        window_bytes: that it can receive without having worked them off.
        slots: for models; 0: it takes none.
        active: the slot whose model runs; `BUILT_IN`, or `NO_SLOT`.
        arena_bytes: for tensors.
        ticks_hz: of INFER's ticks; 0: they aren't counted.
        model: SHA-256 of the active `.tflite` model, or zeros.
        boot_id: another one after each reset.
        board: its name.
    """

    TYPE = 0x81
    LAYOUT = ("B", "H", "H", "B", "B", "I", "I", "32s", "I")
    TAIL = str

    protocol: int
    largest_frame_bytes: int
    window_bytes: int
    slots: int
    active: int
    arena_bytes: int
    ticks_hz: int
    model: bytes
    boot_id: int
    board: str


@dataclass(frozen=True)
class BaudRequest(Message):
    """Change the line's rate after the answer."""

    TYPE = 0x02
    LAYOUT = ("I",)

    baud: int


@dataclass(frozen=True)
class Baud(Message):
    """The rate from now on; it lasts only if a HELLO comes at it within 1 s."""

    TYPE = 0x82
    LAYOUT = ("I",)

    baud: int


@dataclass(frozen=True)
class Log(Message):
    """Text for a person; `level` is a `LogLevel`."""

    TYPE = 0x03
    LAYOUT = ("B",)
    TAIL = str

    level: int
    text: str


@dataclass(frozen=True)
class PingRequest(Message):
    """What time is it."""

    TYPE = 0x04


@dataclass(frozen=True)
class Ping(Message):
    """The device's time since its boot."""

    TYPE = 0x84
    LAYOUT = ("Q",)

    time_us: int


@dataclass(frozen=True)
class StatsRequest(Message):
    """How is the line."""

    TYPE = 0x05


@dataclass(frozen=True)
class Stats(Message):
    """Counters since the device's boot, modulo 2³².

    Attributes:
        crc_errors: frames whose CRC was wrong.
        damaged: frames that were damaged in another way.
        strays: whole frames that no device expects.
        overruns: bytes lost because the receive buffer was full.
        drops: samples and log lines that found no room.
        resets: since the device got its power.
        arena_high_water_bytes: the largest arena that a model used.
    """

    TYPE = 0x85
    LAYOUT = ("I",) * 7

    crc_errors: int
    damaged: int
    strays: int
    overruns: int
    drops: int
    resets: int
    arena_high_water_bytes: int


@dataclass(frozen=True)
class ResetRequest(Message):
    """Answer, then reset: a model on trial gives way to the confirmed one."""

    TYPE = 0x06


@dataclass(frozen=True)
class Reset(Message):
    """The reset comes now."""

    TYPE = 0x86


@dataclass(frozen=True)
class StreamRequest(Message):
    """Send a stream's samples, one each `period_us`, or stop (`on` = 0)."""

    TYPE = 0x10
    LAYOUT = ("B", "B", "I")

    stream: int
    on: int
    period_us: int


@dataclass(frozen=True)
class Stream(Message):
    """What the stream holds.

    Attributes:
        format: of its values, a `ValueFormat`.
        channels: values in a sample.
        period_us: between two samples, as the device keeps it; 0: it is off.
        name: of what is measured, with its unit.
    """

    TYPE = 0x90
    LAYOUT = ("B", "B", "I")
    TAIL = str

    format: int
    channels: int
    period_us: int
    name: str


@dataclass(frozen=True)
class Samples(Message):
    """Successive samples of one stream.

    Attributes:
        stream: its number.
        first: number of the first sample, counted since the stream was switched on with those that were dropped.
        time_us: when the first was taken.
        dropped: samples of this stream that the device has dropped since it was switched on.
        values: all channels of a sample beside each other.
    """

    TYPE = 0x11
    LAYOUT = ("B", "I", "Q", "I")
    TAIL = bytes

    stream: int
    first: int
    time_us: int
    dropped: int
    values: bytes


@dataclass(frozen=True)
class Error(Message):
    """A request was refused: `code` is an `ErrorCode`, `refused` the request's type."""

    TYPE = 0xFF
    LAYOUT = ("B", "B")
    TAIL = str

    code: int
    refused: int
    text: str
