"""Sliding windows over a signal that comes in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError

__all__ = ["sliding_windows", "window_samples"]


def sliding_windows(
    blocks: Iterable[NDArray[np.float32]], window: int, hop: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first sample's number, window) for every whole window of a one-dimensional signal.

    Args:
        blocks: the signal's parts, of any lengths.
        window: samples in a window.
        hop: samples from one window's start to the next one's; more than `window` leaves gaps.
    """
    held = np.empty(0, dtype=np.float32)
    held_at = start = 0
    for block in blocks:
        held = np.concatenate([held, block])
        while start + window <= held_at + len(held):
            yield start, held[start - held_at : start - held_at + window].copy()
            start += hop
        done = min(start - held_at, len(held))
        held, held_at = held[done:], held_at + done


def window_samples(window_s: float, hop_s: float | None, rate_hz: int) -> tuple[int, int]:
    """A window's and a hop's length in samples; no hop is a whole window. Raises `ConfigError` for less than one."""
    window = round(window_s * rate_hz)
    hop = window if hop_s is None else round(hop_s * rate_hz)
    if window < 1 or hop < 1:
        raise ConfigError(f"window_s {window_s:g} and hop_s {hop_s} are less than one sample at {rate_hz} Hz")
    return window, hop
