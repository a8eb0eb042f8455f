"""What small changes of the input do to a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.proof.metrics import Metric
from edgeloop_converters.proof.perturb import PERTURBATIONS, Kind, kind_of
from edgeloop_converters.proof.scores import Array

__all__ = ["Predict", "RobustnessRow", "measure_robustness"]

Predict = Callable[[Array], Array]


@dataclass(frozen=True)
class RobustnessRow:
    """The metric under one perturbation.

    Args:
        name: what was changed; "none" for the clean input, which comes first.
        strength: by how much.
        value: the metric.
        drop: by how much it is worse than on the clean input, whatever its direction.
    """

    name: str
    strength: str
    value: float
    drop: float


def measure_robustness(
    predict: Predict, x: Array, y_true: Array, *, metric: Metric, seed: int
) -> tuple[RobustnessRow, ...]:
    """The metric on the clean input and under each perturbation for its kind.

    Args:
        predict: gives the outputs (n, …) for an input like `x`.
        x: (n, h, w, c) images, (n, t, f) signals or (n, f) tables; integer inputs are rounded and kept in
            their dtype, and every value stays within the range that `x` has (by column for tables and
            signals).
        y_true: (n,) truth.
        metric: what to compute.
        seed: of the noise; the same seed gives the same table.

    Raises:
        DataError: the input's rank is another.
    """
    kind = kind_of(x)
    if kind is None:
        raise DataError(f"robustness needs images (n, h, w, c), signals (n, t, f) or tables (n, f); got {x.shape}")
    clean = metric(y_true, predict(x))
    rows = [RobustnessRow("none", "", clean, 0.0)]
    values = x.astype(np.float64)
    span = value_range(values, kind)
    for number, perturbation in enumerate(PERTURBATIONS[kind]):
        changed = np.clip(perturbation.apply(values, span, np.random.default_rng([seed, number])), *span)
        if x.dtype.kind in "iu":
            changed = np.round(changed)
        value = metric(y_true, predict(changed.astype(x.dtype)))
        drop = clean - value if metric.higher_is_better else value - clean
        rows.append(RobustnessRow(perturbation.name, perturbation.strength, value, drop))
    return tuple(rows)


def value_range(x: Array, kind: Kind) -> tuple[Array, Array]:
    """The lowest and highest value, of all pixels or by column."""
    axes = None if kind == "image" else tuple(range(x.ndim - 1))
    return np.asarray(x.min(axis=axes, keepdims=True)), np.asarray(x.max(axis=axes, keepdims=True))
