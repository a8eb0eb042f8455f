"""Sounds made up, and the features that MLPerf Tiny's AD and KWS take of them.

The two data sets (ToyADMOS, Speech Commands) aren't at hand. These sounds have their sampling rate and length, and some
of their structure, so that the features lie where the published files were calibrated for, which random features
don't: those drive nearly every activation out of the published ranges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["FEATURES", "SOUNDS"]

RATE = 16_000
SHORT = 1024 + 4 * 512  # five frames are all that AD takes
Generator = np.random.Generator


def voiced(rng: Generator, count: int) -> Any:
    """A second each: two or three syllables of a gliding voice under three formants, in a quiet room."""
    t = np.arange(RATE) / RATE
    clips = np.zeros((count, RATE))
    for row in range(count):
        for _ in range(rng.integers(2, 4)):
            pitch = rng.uniform(90, 250) * (1 + rng.uniform(-0.2, 0.2) * t)
            phase = 2 * np.pi * np.cumsum(pitch) / RATE
            formants = rng.uniform((250, 800, 2000), (800, 2000, 3500))
            envelope = np.exp(-(((t - rng.uniform(0.25, 0.75)) / rng.uniform(0.04, 0.15)) ** 2))
            for harmonic in range(1, 30):
                weight = np.sum(np.exp(-(((harmonic * pitch.mean() - formants) / 150) ** 2)) / (1, 2, 4))
                clips[row] += (0.02 / harmonic + weight) * envelope * np.sin(harmonic * phase)
    return clips + room(rng, clips)


def hissing(rng: Generator, count: int) -> Any:
    """A second each: bursts of coloured noise and chirps, in a quiet room."""
    t = np.arange(RATE) / RATE
    clips = np.zeros((count, RATE))
    for row in range(count):
        for _ in range(rng.integers(2, 5)):
            envelope = np.exp(-(((t - rng.uniform(0.2, 0.8)) / rng.uniform(0.03, 0.2)) ** 2))
            low, high = np.sort(rng.uniform(150, 5000, 2))
            chirp = np.sin(2 * np.pi * (low * t + (high - low) * t**2 / 2))
            clips[row] += envelope * (rng.uniform(0, 1) * chirp + rng.uniform(0, 0.5) * coloured(rng, 1)[0])
    return clips + room(rng, clips)


def motor(rng: Generator, count: int) -> Any:
    """A fifth of a second each: a motor's harmonics, slowly modulated, over falling noise."""
    t = np.arange(SHORT) / RATE
    clips = 0.3 * coloured(rng, count)[:, :SHORT]
    for row in range(count):
        base = rng.uniform(30, 120)
        swell = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(1, 6) * t)
        for harmonic in range(1, 60):
            clips[row] += (
                swell * rng.uniform(0, 1) / harmonic * np.sin(2 * np.pi * harmonic * base * t + rng.uniform(0, 6))
            )
    return clips


def rattle(rng: Generator, count: int) -> Any:
    """A fifth of a second each: clicks at a steady rate, each ringing, over falling noise."""
    t = np.arange(SHORT) / RATE
    clips = 0.5 * coloured(rng, count)[:, :SHORT]
    for row in range(count):
        since = np.mod(t, 1 / rng.uniform(8, 40))
        for _ in range(4):
            clips[row] += (
                rng.uniform(0.2, 1)
                * np.exp(-since * rng.uniform(50, 400))
                * np.sin(2 * np.pi * rng.uniform(200, 6000) * since)
            )
    return clips


def coloured(rng: Generator, count: int) -> Any:
    """Noise whose power falls with the frequency, of deviation 1."""
    frequency = np.fft.rfftfreq(RATE, 1 / RATE)
    slope = rng.uniform(0.2, 1.2, (count, 1))
    spectrum = np.fft.rfft(rng.standard_normal((count, RATE))) / np.maximum(frequency, 20) ** slope
    noise = np.fft.irfft(spectrum, RATE)
    return noise / noise.std(axis=1, keepdims=True)


def room(rng: Generator, clips: Any) -> Any:
    """Background noise 25 to 50 dB below each clip's peak."""
    peak = np.abs(clips).max(axis=1, keepdims=True)
    return peak * 10 ** (-rng.uniform(25, 50, (len(clips), 1)) / 20) * coloured(rng, len(clips))


def frames(clips: Any, length: int, step: int) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(clips, length, axis=1)[:, ::step]
    return windows * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


def mel_bank(bins: int, low: float, high: float, fft: int) -> tuple[Any, Any]:
    """(fft / 2 + 1, bins) triangles, equally wide in mel (HTK's), each 1 at its peak; and their (bins + 2,) edges."""
    mel = np.linspace(*(2595 * np.log10(1 + np.array((low, high)) / 700)), bins + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequency = np.fft.rfftfreq(fft, 1 / RATE)[:, None]
    up = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(up, down)), edges


def mfcc(clips: Any) -> Any:
    """(n, 49, 10, 1) of clips at full level: ten coefficients of 40 bands, as KWS's reference takes them."""
    clips = clips / np.abs(clips).max(axis=1, keepdims=True)
    bank, _ = mel_bank(40, 20, 4000, 512)
    log_mel = np.log(np.abs(np.fft.rfft(frames(clips, 480, 320), 512)) @ bank + 1e-6)
    cosines = np.cos(np.pi / 40 * (np.arange(40)[:, None] + 0.5) * np.arange(10))
    return (log_mel @ cosines * 2 / np.sqrt(80))[..., None]


def log_mel_frames(clips: Any) -> Any:
    """(n, 640): five frames of 128 bands in decibels of clips at 3 % of full level, as AD's reference does."""
    clips = clips * 0.03 / clips.std(axis=1, keepdims=True)
    bank, edges = mel_bank(128, 0, RATE / 2, 1024)
    power = np.abs(np.fft.rfft(frames(clips, 1024, 512))) ** 2
    return (10 * np.log10(power @ (bank * 2 / (edges[2:] - edges[:-2])) + 1e-12)).reshape(len(clips), -1)


SOUNDS = {"ad01": (motor, rattle), "kws": (voiced, hissing)}
FEATURES = {"ad01": log_mel_frames, "kws": mfcc}
