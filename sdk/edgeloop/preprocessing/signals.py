"""Steps on signals (n, samples): frames, and log-mel spectra."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import InputError
from edgeloop.preprocessing.exact import log, power_spectrum

__all__ = ["Frames", "LogMel"]

Floats = NDArray[np.float32]
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
_MAX_FFT = 1 << 15


class Frames(msgspec.Struct, frozen=True, tag="frames", tag_field="step", forbid_unknown_fields=True):
    """Overlapping windows of a signal: `length` samples each, one every `hop` samples, whole ones only."""

    length: Count
    hop: Count

    def __call__(self, x: Floats) -> Floats:
        """(n, samples, …) to (n, frames, length, …). Raises `InputError` where not even one frame fits."""
        return np.ascontiguousarray(x[:, _frame_indices(x, self.length, self.hop)])


class LogMel(msgspec.Struct, frozen=True, tag="log_mel", tag_field="step", forbid_unknown_fields=True):
    """Logarithms of the energies in mel bands, per frame: (n, samples) to (n, frames, bands), float32.

    A frame is multiplied by a periodic Hann window and padded with zeros to `fft_size`; its power spectrum `|X|²` is
    weighted by `bands` triangles of height 1, straight in Hz, whose corners lie evenly in mels between `low_hz` and
    `high_hz`; the result is `ln(max(energy, floor))`. For decibels, a `Scale` by 10 / ln 10 follows.

    *htk*: mel = 2595 log₁₀(1 + f / 700) (Young et al., "The HTK Book", 2006). *slaney*: f·3/200 below 1 kHz, and 27
    steps for each factor of 6.4 above (Slaney, "Auditory Toolbox", 1998).

    The transform is `edgeloop.preprocessing.exact`'s, not numpy's; window, sines and triangles are float32 numbers, and
    sums run from low to high frequency in float64.
    """

    sample_rate_hz: Annotated[int, msgspec.Meta(ge=1)]
    frame_length: Count
    frame_hop: Count
    fft_size: Count
    bands: Count
    low_hz: float
    high_hz: float
    floor: float = 1e-6
    scale: Literal["htk", "slaney"] = "htk"

    def __post_init__(self) -> None:
        if self.fft_size & (self.fft_size - 1) or not self.frame_length <= self.fft_size <= _MAX_FFT:
            raise ValueError(
                f"log_mel's fft_size is {self.fft_size}: take a power of two from frame_length ({self.frame_length}) "
                f"to {_MAX_FFT}"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"log_mel's bands reach from {self.low_hz} to {self.high_hz} Hz: they must lie between 0 and "
                f"{self.sample_rate_hz / 2}, half the sample rate"
            )
        if not (math.isfinite(self.floor) and self.floor > 0):
            raise ValueError(f"log_mel's floor is {self.floor}: it must be above 0")

    def __call__(self, x: Floats) -> Floats:
        """(n, samples) to (n, frames, bands). Raises `InputError` of another rank, or where no frame fits."""
        if x.ndim != 2:
            raise InputError(f"a signal has one axis, samples; not the shape {x.shape[1:]}")
        indices = _frame_indices(x, self.frame_length, self.frame_hop)
        frames = x[:, indices].astype(np.float64) * _hann(self.frame_length)
        power = power_spectrum(frames.reshape(-1, self.frame_length), self.fft_size)
        energies = np.empty((power.shape[1], self.bands))
        for band, (first, weights) in enumerate(_triangles(self)):
            # A running sum has one order; `sum` takes the one that suits the shape.
            weighted = power[first : first + len(weights)] * weights[:, None]
            energies[:, band] = np.add.accumulate(weighted, axis=0)[-1]
        return log(np.maximum(energies, self.floor)).astype(np.float32).reshape(len(x), len(indices), self.bands)


def _frame_indices(x: Floats, length: int, hop: int) -> NDArray[np.int64]:
    if x.ndim < 2 or x.shape[1] < length:
        raise InputError(f"frames of {length} samples don't fit in a signal of shape {x.shape[1:]}")
    starts = np.arange(0, x.shape[1] - length + 1, hop, dtype=np.int64)
    return starts[:, None] + np.arange(length, dtype=np.int64)


@functools.lru_cache(maxsize=8)
def _hann(length: int) -> NDArray[np.float64]:
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / length) for i in range(length)])
    return window.astype(np.float32).astype(np.float64)


@functools.lru_cache(maxsize=8)
def _triangles(step: LogMel) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    """For each band: its first bin, and the weights from there on, at least one."""
    low, high = _mel(step.low_hz, step.scale), _mel(step.high_hz, step.scale)
    corners = [_hz(low + (high - low) * i / (step.bands + 1), step.scale) for i in range(step.bands + 2)]
    bins = [k * step.sample_rate_hz / step.fft_size for k in range(step.fft_size // 2 + 1)]
    found = []
    for left, middle, right in zip(corners, corners[1:], corners[2:], strict=False):
        weights = [max(0.0, min((f - left) / (middle - left), (right - f) / (right - middle))) for f in bins]
        used = [k for k, w in enumerate(weights) if w > 0] or [0]
        kept = np.array(weights[used[0] : used[-1] + 1]).astype(np.float32).astype(np.float64)
        found.append((used[0], kept))
    return tuple(found)


def _mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595 * math.log10(1 + hz / 700)
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _hz(mel: float, scale: str) -> float:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)
