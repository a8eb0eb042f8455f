"""What is counted of one layer while a float and a quantized model run side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeloop_converters.tflite.interpreter import Array, dequantize

__all__ = ["LayerStats", "sqnr_db"]

KEPT_A_SAMPLE = 2048  # values that a percentile is taken from


@dataclass
class LayerStats:
    """Sums over the samples for one layer.

    Attributes:
        detail: the quantized tensor's details, as LiteRT gives them.
        signal: the sum of the float model's squared values.
        noise: the sum of squared differences to them in the quantized model.
        added: the same with the layer run alone on the float model's values; None when it can't be.
    """

    detail: Mapping[str, Any]
    signal: float = 0.0
    noise: float = 0.0
    added: float | None = None
    total: float = 0.0
    count: int = 0
    clipped: int = 0
    saturated: int = 0
    low: float = math.inf
    high: float = -math.inf
    largest: Array = field(default_factory=lambda: np.zeros(1))
    kept: list[Array] = field(default_factory=list)

    def update(self, real: Array, raw: Array, alone: Array | None) -> None:
        """Count one sample: the float, the raw quantized, and the raw value of the layer run alone."""
        wide = real.astype(np.float64)
        self.signal += float((wide**2).sum())
        self.total += float(wide.sum())
        self.noise += float(((wide - dequantize(raw, self.detail)) ** 2).sum())
        if alone is not None:
            self.added = (self.added or 0.0) + float(((wide - dequantize(alone, self.detail)) ** 2).sum())
        self.count += wide.size
        self.low, self.high = min(self.low, float(wide.min())), max(self.high, float(wide.max()))
        last = wide.shape[-1] if wide.ndim else 1
        self.largest = np.maximum(self.largest, np.abs(wide.reshape(-1, last)).max(axis=0))
        flat = np.abs(wide).ravel()
        self.kept.append(flat[:: max(1, len(flat) // KEPT_A_SAMPLE)])
        limits = self.limits()
        if limits is not None:
            step = float(self.detail["quantization"][0])
            self.clipped += int(((wide < limits[0] - step) | (wide > limits[1] + step)).sum())
            ends = np.iinfo(raw.dtype)
            # The lower end is where ReLU puts its zeros, so it counts only when it isn't zero.
            low_end = (raw == ends.min) & (limits[0] < -step)
            self.saturated += int((low_end | (raw == ends.max)).sum())

    def limits(self) -> tuple[float, float] | None:
        """The smallest and the largest number that the quantized tensor can hold; None when it is float."""
        scale, zero_point = self.detail["quantization"]
        if not scale:
            return None
        ends = np.iinfo(self.detail["dtype"])
        return (ends.min - zero_point) * float(scale), (ends.max - zero_point) * float(scale)

    def percentile(self, percent: float) -> float:
        """A percentile of absolute float values."""
        return float(np.percentile(np.concatenate(self.kept), percent))

    def normalized_rmse(self, noise: float) -> float:
        """A root mean squared error over the standard deviation of the float values.

        Where these hardly vary, a tenth of their root mean square stands in for it.
        """
        power = self.signal / self.count
        variance = max(power - (self.total / self.count) ** 2, power / 100)
        return math.sqrt(noise / self.count / variance) if variance > 0 else 0.0


def sqnr_db(signal: float, noise: float) -> float:
    """The signal-to-quantization-noise ratio in dB, cut off at ±200."""
    if noise <= 0:
        return 200.0
    return min(200.0, 10 * math.log10(signal / noise)) if signal > 0 else -200.0
