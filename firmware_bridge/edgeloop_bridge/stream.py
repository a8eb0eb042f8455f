"""A stream's samples, and which are missing: on the device, which had no room, or on the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import MessageError
from edgeloop_bridge.messages import Samples, Stream, ValueFormat

__all__ = ["Block", "StreamReader"]

_DTYPES = {
    ValueFormat.INT8: "i1",
    ValueFormat.INT16: "<i2",
    ValueFormat.INT32: "<i4",
    ValueFormat.FLOAT32: "<f4",
}
_TURN = 1 << 32


@dataclass(frozen=True)
class Block:
    """Successive samples.

    Args:
        first: number of the first one, counted since the stream was switched on.
        time_us: the device's time when it was taken.
        values: (samples, channels), in the stream's format.
        lost_on_device: samples that are missing before it since the device had no room, or was busy.
        lost_on_line: samples that are missing before it since the line damaged them.
    """

    first: int
    time_us: int
    values: NDArray[Any]
    lost_on_device: int
    lost_on_line: int


class StreamReader:
    """Reads the SAMPLES of one stream, from the moment that it was switched on.

    Args:
        about: the device's answer to the request that switched it on.

    Raises:
        MessageError: it has a format that this version doesn't know, or no channel.
    """

    def __init__(self, about: Stream) -> None:
        if about.format not in _DTYPES or about.channels == 0:
            raise MessageError(f"the stream {about.name!r} has format {about.format}, {about.channels} channels")
        self.received = self.lost_on_device = self.lost_on_line = 0
        self._dtype = np.dtype(_DTYPES[ValueFormat(about.format)])
        self._channels = about.channels
        self._next = self._dropped = 0

    def read(self, samples: Samples) -> Block:
        """The samples, and what is missing before them.

        Raises:
            MessageError: its bytes are no whole samples, or its counters went back.
        """
        sample_bytes = self._dtype.itemsize * self._channels
        if not samples.values or len(samples.values) % sample_bytes:
            raise MessageError(f"{len(samples.values)} bytes of SAMPLES aren't whole samples of {sample_bytes} bytes")
        gap = (samples.first - self._next) % _TURN
        on_device = (samples.dropped - self._dropped) % _TURN
        on_line = gap - on_device
        if gap >= _TURN // 2 or on_line < 0:
            raise MessageError(
                f"SAMPLES from number {samples.first} after {self._next}, {on_device} dropped: the stream was restarted"
            )
        values = np.frombuffer(samples.values, self._dtype).reshape(-1, self._channels)
        self._next = (samples.first + len(values)) % _TURN
        self._dropped = samples.dropped
        self.received += len(values)
        self.lost_on_device += on_device
        self.lost_on_line += on_line
        return Block(samples.first, samples.time_us, values, on_device, on_line)
