"""Inputs from a microcontroller's sample stream: windows of successive samples, for an agent or `edgeloop run`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Annotated

import msgspec

from edgeloop.sources.item import Item, SkippedItem, SourceItem
from edgeloop.sources.windows import Windows
from edgeloop_bridge.counters import STATISTICS_S, counters
from edgeloop_bridge.errors import BridgeError, RefusedError, ResetError
from edgeloop_bridge.messages import FIRST_BAUD
from edgeloop_bridge.sharing import Lease, lease_device
from edgeloop_bridge.stream import Block

__all__ = ["Serial", "SerialItems"]

log = logging.getLogger(__name__)

_RETRY_S = 1.0

Whole = Annotated[int, msgspec.Meta(ge=1)]


class Serial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="serial"):
    """Windows over a stream of a microcontroller that runs edgeloop's firmware. Needs the extra `bridge`.

    Args:
        port: `/dev/ttyACM0`, `usb:SERIAL` (its USB device's serial number), `socket://HOST:PORT` or `rfc2217://HOST:PORT`.
        period_us: from one sample to the next, in microseconds.
        window: samples in an input; an input is (window, channels), or (window,) of one channel.
        hop: samples from one window's start to the next one's; None is `window`.
        stream: its number on the device.
        baud: to which the line's rate is raised.

    A backend `board` of the same process may have the same port.
    """

    port: Annotated[str, msgspec.Meta(min_length=1)]
    period_us: Whole
    window: Whole
    hop: Whole | None = None
    stream: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    baud: Whole = FIRST_BAUD

    def open(self) -> SerialItems:
        """Open the port and switch the stream on; each window is named by its first sample's number.

        No window goes over a gap: what the device or the line has lost is told, and the next window begins behind it.
        A device that is reset, unplugged or silent is taken up again, for ever.

        Raises:
            BridgeError: the port can't be opened, no device answers there, or it has no such stream.
            MissingExtraError: pyserial isn't installed.
        """
        lease = lease_device(self.port, baud=self.baud)
        try:
            lease.device.describe_stream(self.stream)
        except BridgeError:
            lease.close()
            raise
        return SerialItems(self, lease)


class SerialItems:
    """An iterator over the windows; `close` ends it from any thread."""

    def __init__(self, source: Serial, lease: Lease) -> None:
        self._source = source
        self._lease = lease
        self._device = lease.device
        self._stop = threading.Event()
        self._statistics: dict[str, int] = {}
        self._lost_on_device = self._lost_on_line = 0
        self._items: Generator[Item, None, None] = self._all()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def close(self) -> None:
        """Switch the stream off and close the port; where another thread waits for an item, it does so at once."""
        self._stop.set()
        with suppress(ValueError):  # its thread is in it, and sees that it is to stop
            self._items.close()

    def statistics(self) -> dict[str, int]:
        """Counters of the device and of the line, as they were some seconds ago; from any thread."""
        return self._statistics

    def _all(self) -> Generator[Item, None, None]:
        try:
            while not self._stop.is_set():
                try:
                    yield from self._windows()
                except BridgeError as error:
                    log.debug("%s", error)
                    yield SkippedItem(_reason(error), self._source.port, str(error))
                    self._stop.wait(0.0 if isinstance(error, ResetError) else _RETRY_S)
        finally:
            self._lease.close()

    def _windows(self) -> Iterator[Item]:
        """Windows until the stream fails or is stopped."""
        source = self._source
        hop = source.hop or source.window
        windows, begun = Windows(source.window, hop), 0
        next_statistics_s = 0.0
        for block in self._device.samples(source.stream, source.period_us, stop=self._stop):
            if gap := self._count_lost(block):
                yield gap
                windows, begun = Windows(source.window, hop), block.first
            values = block.values[:, 0] if block.values.shape[1] == 1 else block.values
            for start, x in windows.add(values):
                yield SourceItem(x, f"sample {begun + start}")
            if time.monotonic() >= next_statistics_s:
                next_statistics_s = time.monotonic() + STATISTICS_S
                self._read_statistics()

    def _count_lost(self, block: Block) -> SkippedItem | None:
        self._lost_on_device += block.lost_on_device
        self._lost_on_line += block.lost_on_line
        lost = block.lost_on_device + block.lost_on_line
        if not lost:
            return None
        where = "the line" if block.lost_on_line else "the device"
        return SkippedItem(f"samples lost on {where}", f"sample {block.first - lost}", f"{lost} samples")

    def _read_statistics(self) -> None:
        with suppress(BridgeError):
            self._statistics = {
                **counters(self._device),
                "samples_lost_on_device": self._lost_on_device,
                "samples_lost_on_line": self._lost_on_line,
            }


def _reason(error: BridgeError) -> str:
    """One of a few phrases: what is counted."""
    if isinstance(error, ResetError):
        return "the device was reset"
    if isinstance(error, RefusedError):
        return "the device refuses the stream"
    return "the device can't be reached"
