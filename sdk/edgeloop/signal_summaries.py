"""Summaries of a signal's window: what a worn bearing, a loose microphone or a hum changes in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import InputError

__all__ = ["SIGNAL_SUMMARIES", "summarize_signals"]

Floats = NDArray[np.float32]

SIGNAL_SUMMARIES = ("offset", "level", "crest", "crossings", "centroid", "flatness")

_LEAST_SAMPLES = 8
_SILENCE = 1e-12  # of power, against a division by zero


def summarize_signals(x: Floats) -> Floats:
    """The features of windows (n, samples) or (n, samples, channels): float32 (n, 6), of the mean over channels.

    *offset* is the mean. The others are of what is left without it: *level*, the root of the mean square; *crest*, the
    largest magnitude over the level; *crossings*, how often the sign changes, as a part of the samples; *centroid*, the
    spectrum's centre of gravity, 0 to 1 at half the sampling rate; *flatness*, the geometric over the arithmetic mean
    of the power spectrum under a Hann window, 1 for white noise and 0 for a tone (Gray and Markel, "A Spectral-Flatness
    Measure for Studying the Autocorrelation Method of Linear Prediction of Speech Analysis", 1974).

    None but offset and level depends on the gain. Silence has 0 in all but the offset; a window with a value that isn't
    finite has NaN in all.

    Raises:
        InputError: another rank, or fewer than 8 samples.
    """
    if x.ndim == 3:
        x = x.mean(axis=2)
    if x.ndim != 2 or x.shape[1] < _LEAST_SAMPLES:
        raise InputError(
            f"signal summaries take (n, samples[, channels]) of at least {_LEAST_SAMPLES} samples, not {x.shape}"
        )
    x = np.where(np.isfinite(x).all(axis=1, keepdims=True), x, np.float32(np.nan))
    offset = x.mean(axis=1)
    swing = x - offset[:, np.newaxis]
    level = np.sqrt(np.square(swing).mean(axis=1))
    sounds = level > np.sqrt(_SILENCE)
    scaled = swing / np.where(sounds, level, 1)[:, np.newaxis]
    crest = np.abs(scaled).max(axis=1)
    crossings = (np.signbit(scaled[:, 1:]) != np.signbit(scaled[:, :-1])).mean(axis=1)
    power = np.square(np.abs(np.fft.rfft(scaled * np.hanning(x.shape[1]), axis=1)))[:, 1:]
    total = power.sum(axis=1)
    centroid = (power * np.linspace(0, 1, power.shape[1] + 1)[1:]).sum(axis=1) / np.maximum(total, _SILENCE)
    flatness = np.exp(np.log(power + _SILENCE).mean(axis=1)) / np.maximum(power.mean(axis=1), _SILENCE)
    shape = np.stack([level, crest, crossings, centroid, flatness], axis=1)
    shape[level <= np.sqrt(_SILENCE)] = 0  # and not where it is NaN
    shape[np.isnan(level)] = np.nan  # the crossings too
    return np.column_stack([offset, shape]).astype(np.float32)
