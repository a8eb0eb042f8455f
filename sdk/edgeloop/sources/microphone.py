"""Inputs from a microphone, through miniaudio (which brings its own drivers' side: no system package is needed)."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.bounded import BoundedQueue
from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop.sources.item import Item, SkippedItem, SourceItem
from edgeloop.sources.windows import sliding_windows, window_samples

__all__ = ["Microphone"]

_WAITING_BLOCKS = 64
_SILENT_S = 5.0
_REOPEN_S = 1.0


class Microphone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="microphone"):
    """Sliding windows over what a microphone hears: float32 (samples,), -1 … 1. Needs the extra `microphone`.

    Args:
        window_s: a window's length.
        hop_s: from one window's start to the next one's; None is `window_s`.
        rate_hz: samples a second.
        backend: miniaudio's name for the system's sound ("alsa", "pulseaudio"…, and "null", which hears silence);
            None takes the first that is there.
    """

    window_s: Annotated[float, msgspec.Meta(gt=0)]
    hop_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    rate_hz: Annotated[int, msgspec.Meta(ge=8000, le=192000)] = 16000
    backend: str | None = None

    def open(self) -> Iterator[Item]:
        """Start to record; each window is named by its start in seconds since the microphone was opened.

        One that gives no sound for 5 seconds, as one does that is unplugged, is opened again, for ever.

        Raises:
            ConfigError: no such backend, no microphone, or a window of less than one sample.
            MissingExtraError: miniaudio isn't installed.
        """
        try:
            miniaudio = importlib.import_module("miniaudio")
        except ImportError as error:
            raise MissingExtraError("microphone", "miniaudio") from error
        window, hop = window_samples(self.window_s, self.hop_s, self.rate_hz)
        try:
            backends = None if self.backend is None else [miniaudio.Backend[self.backend.upper()]]
        except KeyError as error:
            known = ", ".join(each.name.lower() for each in miniaudio.Backend)
            raise ConfigError(f"microphone: no backend {self.backend!r}: {known}") from error

        def device() -> Any:
            return miniaudio.CaptureDevice(
                input_format=miniaudio.SampleFormat.FLOAT32, nchannels=1, sample_rate=self.rate_hz, backends=backends
            )

        try:
            first = device()
        except miniaudio.MiniaudioError as error:
            raise ConfigError(f"microphone: {error}") from error
        return self._items(first, device, miniaudio.MiniaudioError, window, hop)

    def _items(
        self, device: Any, reopen: Callable[[], Any], failure: type[Exception], window: int, hop: int
    ) -> Iterator[Item]:
        while True:
            with suppress(failure):
                if device is not None:
                    yield from self._windows(device, window, hop)
            yield SkippedItem("the microphone gives no sound")
            time.sleep(_REOPEN_S)
            device = None
            with suppress(failure):
                device = reopen()

    def _windows(self, device: Any, window: int, hop: int) -> Iterator[Item]:
        # Sound that nobody takes is lost, oldest first: the driver doesn't wait.
        queue: BoundedQueue[bytes] = BoundedQueue(_WAITING_BLOCKS, "drop-oldest")
        recorder = _recorder(queue)
        next(recorder)
        lost = 0
        try:
            device.start(recorder)
            for start, x in sliding_windows(_blocks(queue), window, hop):
                yield SourceItem(x, f"{start / self.rate_hz:.3f} s")
                if queue.dropped > lost:
                    yield SkippedItem("sound that came too fast", detail=f"{queue.dropped - lost} blocks")
                    lost = queue.dropped
        finally:
            queue.close()
            device.close()


def _recorder(queue: BoundedQueue[bytes]) -> Generator[None, bytes, None]:
    """What miniaudio sends its blocks to, on its own thread."""
    while True:
        queue.put(bytes((yield)))


def _blocks(queue: BoundedQueue[bytes]) -> Iterator[NDArray[np.float32]]:
    while raw := queue.take(_SILENT_S):
        yield from (np.frombuffer(block, np.float32) for block in raw)
