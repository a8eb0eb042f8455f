"""Sliding windows over a signal that comes in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError

__all__ = ["Windows", "sliding_windows", "window_samples"]


class Windows:
    """The windows of one signal, as its blocks come.

    Args:
        window: samples in a window.
        hop: samples from one window's start to the next one's; more than `window` leaves gaps.
    """

    def __init__(self, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._held: NDArray[Any] | None = None
        self._held_at = self._start = 0

    def add(self, block: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Take a block, (samples,) or (samples, channels), and yield (first sample's number, window) pairs."""
        held = block if self._held is None else np.concatenate([self._held, block])
        while self._start + self._window <= self._held_at + len(held):
            at = self._start - self._held_at
            yield self._start, held[at : at + self._window].copy()
            self._start += self._hop
        done = min(self._start - self._held_at, len(held))
        self._held, self._held_at = held[done:], self._held_at + done


def sliding_windows(blocks: Iterable[NDArray[Any]], window: int, hop: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first sample's number, window) for every whole window of a signal's blocks; see `Windows`."""
    windows = Windows(window, hop)
    for block in blocks:
        yield from windows.add(block)


def window_samples(window_s: float, hop_s: float | None, rate_hz: int) -> tuple[int, int]:
    """A window's and a hop's length in samples; no hop is a whole window. Raises `ConfigError` for less than one."""
    window = round(window_s * rate_hz)
    hop = window if hop_s is None else round(hop_s * rate_hz)
    if window < 1 or hop < 1:
        raise ConfigError(f"window_s {window_s:g} and hop_s {hop_s} are less than one sample at {rate_hz} Hz")
    return window, hop
