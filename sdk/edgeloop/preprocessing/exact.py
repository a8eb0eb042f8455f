"""A logarithm and a Fourier transform from +, −, × and ÷ alone: the same bits on every processor and numpy.

numpy's own take what the processor offers (AVX-512's logarithm, an FFT that changed between numpy 1 and 2, float32
then), and differ in their last bits. These cost more, and are right to float32's precision.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log", "power_spectrum"]

Doubles = NDArray[np.float64]

# 2 atanh(s) = 2 (s + s³/3 + s⁵/5 + …): for |s| ≤ 0.172 the term after the last is below 10⁻¹⁷.
_TERMS = 11
_LN2 = 0.6931471805599453


def log(x: Doubles) -> Doubles:
    """The natural logarithm of positive, finite numbers, within 4·10⁻¹⁶ relative or absolute, whichever is larger.

    With x = m·2^e and √½ ≤ m < √2: log x = e·ln 2 + 2 atanh((m - 1) / (m + 1)).
    """
    m, e = np.frexp(x)
    low = m < math.sqrt(0.5)
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)
    s = (m - 1) / (m + 1)
    square = s * s
    series = np.full_like(s, 1 / (2 * _TERMS + 1))
    for k in range(_TERMS - 1, -1, -1):
        series = series * square + 1 / (2 * k + 1)
    return np.asarray(e * _LN2 + 2 * s * series, dtype=np.float64)


def power_spectrum(frames: Doubles, size: int) -> Doubles:
    """`|X[k]|²` for k = 0 … size/2 of each frame, padded with zeros to `size`.

    Cooley and Tukey's radix-2 transform (1965), decimated in time, on real and imaginary parts apart: numpy's complex
    product may fuse its multiplications and additions.

    Args:
        frames: (rows, length), length ≤ size.
        size: a power of two.

    Returns:
        (size/2 + 1, rows).
    """
    real = np.zeros((size, len(frames)))
    real[: frames.shape[1]] = frames.T
    real = real[_bit_reversed(size)]
    imaginary = np.zeros_like(real)
    half = 1
    while half < size:
        cosine, sine = _twiddles(half)
        shape = (size // (2 * half), 2, half, len(frames))
        even_r, odd_r = real.reshape(shape)[:, 0], real.reshape(shape)[:, 1]
        even_i, odd_i = imaginary.reshape(shape)[:, 0], imaginary.reshape(shape)[:, 1]
        turned_r = odd_r * cosine + odd_i * sine
        turned_i = odd_i * cosine - odd_r * sine
        real = np.stack([even_r + turned_r, even_r - turned_r], axis=1).reshape(size, -1)
        imaginary = np.stack([even_i + turned_i, even_i - turned_i], axis=1).reshape(size, -1)
        half *= 2
    kept = size // 2 + 1
    return np.asarray(real[:kept] * real[:kept] + imaginary[:kept] * imaginary[:kept], dtype=np.float64)


@functools.lru_cache(maxsize=16)
def _bit_reversed(size: int) -> NDArray[np.int64]:
    bits = size.bit_length() - 1
    return np.array([int(f"{i:0{bits}b}"[::-1], 2) if bits else 0 for i in range(size)], dtype=np.int64)


@functools.lru_cache(maxsize=16)
def _twiddles(half: int) -> tuple[Doubles, Doubles]:
    """Sines of πk/half (cosines first) as float32: libraries differ in a double's last bit, rounded off here."""
    angles = [math.pi * k / half for k in range(half)]
    cosine = np.array([math.cos(a) for a in angles]).astype(np.float32).astype(np.float64)
    sine = np.array([math.sin(a) for a in angles]).astype(np.float32).astype(np.float64)
    return cosine[:, None], sine[:, None]
