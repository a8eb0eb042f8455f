"""Whether a model's probabilities mean what they say, and the one number that mends most of it.

Guo et al., "On Calibration of Modern Neural Networks" (2017), for the error and temperature scaling; Nixon
et al., "Measuring Calibration in Deep Learning" (2019), for bins of equal mass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.proof.scores import EPSILON, Array, as_probabilities, log_loss

__all__ = [
    "Bin",
    "Binning",
    "TemperatureFit",
    "apply_temperature",
    "calibration_error",
    "fit_temperature",
    "reliability_bins",
]

Binning = Literal["equal_mass", "equal_width"]
N_BINS = 15
GOLDEN = (math.sqrt(5) - 1) / 2
LOG_T_RANGE = (math.log(0.05), math.log(20.0))


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: the confidences in it, and how often they were right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class TemperatureFit:
    """What temperature scaling does, on samples that it wasn't fitted on.

    Args:
        temperature: what the logits are divided by; above 1 the model was too sure of itself.
        log_loss_before: in nats, on the evaluation samples.
        log_loss_after: the same, scaled.
        error_before: the expected calibration error (equal mass).
        error_after: the same, scaled.
    """

    temperature: float
    log_loss_before: float
    log_loss_after: float
    error_before: float
    error_after: float


def reliability_bins(
    y_true: Array, probabilities: Array, *, n_bins: int = N_BINS, binning: Binning = "equal_mass"
) -> tuple[Bin, ...]:
    """The bins of a reliability diagram over the confidence of the answered class; empty ones are left out.

    Args:
        y_true: (n,) class indices.
        probabilities: (n, k), or (n,) of class 1.
        n_bins: how many.
        binning: bins with the same number of samples, or of the same width in 0 to 1.

    Raises:
        DataError: these aren't probabilities.
    """
    p = as_probabilities(probabilities)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y_true
    if binning == "equal_mass":
        parts = [part for part in np.array_split(np.argsort(confidence, kind="stable"), n_bins) if len(part)]
        edges = [(float(confidence[part].min()), float(confidence[part].max())) for part in parts]
    else:
        where = np.minimum((confidence * n_bins).astype(np.int64), n_bins - 1)
        filled = np.unique(where)
        parts = [np.flatnonzero(where == i) for i in filled]
        edges = [(float(i / n_bins), float((i + 1) / n_bins)) for i in filled]
    return tuple(
        Bin(low, high, len(part), float(confidence[part].mean()), float(right[part].mean()))
        for part, (low, high) in zip(parts, edges, strict=True)
    )


def calibration_error(
    y_true: Array, probabilities: Array, *, n_bins: int = N_BINS, binning: Binning = "equal_mass"
) -> float:
    """The expected calibration error (ECE): |accuracy - confidence|, the mean over bins by their counts.

    It is biased upwards on few samples: of a perfectly calibrated model it is about a third of √(n_bins / n).

    Args:
        y_true: (n,) class indices.
        probabilities: (n, k), or (n,) of class 1.
        n_bins: how many.
        binning: bins with the same number of samples, or of the same width in 0 to 1.

    Raises:
        DataError: these aren't probabilities.
    """
    bins = reliability_bins(y_true, probabilities, n_bins=n_bins, binning=binning)
    return float(sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(y_true))


def apply_temperature(probabilities: Array, temperature: float, *, floor: float = EPSILON) -> Array:
    """(n, k) probabilities whose logits are divided by `temperature`; the answered class stays the same.

    The logits are taken back from the probabilities, up to a constant that softmax ignores; smaller ones than `floor`
    count as that.
    """
    logits = np.log(np.maximum(as_probabilities(probabilities), floor)) / temperature
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def fit_temperature(
    y_fit: Array, p_fit: Array, y_eval: Array, p_eval: Array, *, floor: float = EPSILON
) -> TemperatureFit:
    """Find the temperature that minimizes the log-loss on one set, and say what it does on another.

    The log-loss is convex in 1/T, so it has one minimum over log T, which a golden-section search
    finds (T between 0.05 and 20).

    Args:
        y_fit: (n,) class indices to fit on; not the ones the model is judged on.
        p_fit: (n, k) the model's probabilities for them.
        y_eval: (m,) class indices to judge by.
        p_eval: (m, k) the model's probabilities for them.
        floor: what a smaller probability counts as: for a quantized output half its step
            (`edgeloop.prediction.least_probability`), since its zeros would else decide the temperature.

    Raises:
        DataError: these aren't probabilities, or there are no samples.
    """
    if len(y_fit) == 0 or len(y_eval) == 0:
        raise DataError("temperature scaling needs samples to fit on and others to judge by")

    def loss(log_t: float) -> float:
        return log_loss(y_fit, apply_temperature(p_fit, math.exp(log_t), floor=floor))

    low, high = LOG_T_RANGE
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-4:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + GOLDEN * (high - low)
            loss_right = loss(right)
    temperature = math.exp((low + high) / 2)
    plain, scaled = (apply_temperature(p_eval, t, floor=floor) for t in (1.0, temperature))
    return TemperatureFit(
        temperature,
        log_loss(y_eval, plain),
        log_loss(y_eval, scaled),
        calibration_error(y_eval, p_eval),
        calibration_error(y_eval, scaled),
    )
