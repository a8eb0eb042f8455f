"""What a model looks at: occlusion for images and signals, permutation for tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.proof.metrics import Metric
from edgeloop_converters.proof.robustness import Predict
from edgeloop_converters.proof.scores import Array

__all__ = ["Importance", "occlusion_map", "permutation_importance"]


@dataclass(frozen=True)
class Importance:
    """How much a model leans on one feature.

    Args:
        feature: its column.
        name: its name, or its number.
        mean: by how much the metric gets worse when the column is shuffled, over the repeats.
        deviation: the standard deviation over the repeats.
    """

    feature: int
    name: str
    mean: float
    deviation: float


def occlusion_map(predict: Predict, x: Array, *, patch: int, stride: int | None = None) -> Array:
    """By how much the answered class's output falls when a patch is covered (Zeiler and Fergus, 2014).

    The patch is filled with the sample's own mean of each channel, and a place that several patches cover
    has the mean of theirs.

    Args:
        predict: gives the outputs (n, k), or (n,) for one output, for an input like `x`.
        x: (n, h, w, c) images or (n, t, f) signals, a handful: each costs one prediction a patch.
        patch: the side of the square, in pixels, or the length in steps.
        stride: from one patch to the next; default half a patch.

    Returns:
        (n, h, w) or (n, t) float64; positive where the model looks.

    Raises:
        DataError: the input's rank is another, or the patch doesn't fit into it.
    """
    if x.ndim not in (3, 4):
        raise DataError(f"occlusion needs images (n, h, w, c) or signals (n, t, f); got {x.shape}")
    if not 1 <= patch <= min(x.shape[1:-1]):
        raise DataError(f"a patch of {patch} doesn't fit into {x.shape[1:-1]}; give 1 to {min(x.shape[1:-1])}")
    step = max(1, patch // 2) if stride is None else stride
    clean = one_column(predict(x))
    answered = clean.argmax(axis=1)
    each = np.arange(len(x))
    fill = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True).astype(x.dtype)
    total, covered = np.zeros(x.shape[:-1]), np.zeros(x.shape[1:-1])
    for place in product(*(starts(size, patch, step) for size in x.shape[1:-1])):
        window = tuple(slice(start, start + patch) for start in place)
        everyone = (slice(None), *window)
        hidden = x.copy()
        hidden[everyone] = fill
        fall = clean[each, answered] - one_column(predict(hidden))[each, answered]
        total[everyone] += fall.reshape(-1, *(1,) * len(window))
        covered[window] += 1
    return np.divide(total, covered, out=np.zeros_like(total), where=covered > 0)


def starts(size: int, patch: int, step: int) -> list[int]:
    """Where patches start; the last one ends at the border."""
    return sorted({*range(0, size - patch + 1, step), size - patch})


def one_column(outputs: Array) -> Array:
    return outputs.reshape(len(outputs), -1).astype(np.float64)


def permutation_importance(
    predict: Predict,
    x: Array,
    y_true: Array,
    *,
    metric: Metric,
    seed: int,
    n_repeats: int = 5,
    feature_names: tuple[str, ...] | None = None,
) -> tuple[Importance, ...]:
    """By how much the metric gets worse when one column is shuffled (Breiman, 2001), the worst first.

    Of two columns that say the same, each looks unimportant: the model still has the other.

    Args:
        predict: gives the outputs for an input like `x`.
        x: (n, f) a table.
        y_true: (n,) truth.
        metric: what to compute.
        seed: of the shuffles.
        n_repeats: shuffles of each column.
        feature_names: the columns' names.

    Raises:
        DataError: the input isn't a table.
    """
    if x.ndim != 2:
        raise DataError(f"permutation importance needs a table (n, f); got {x.shape}; use occlusion_map for others")
    rng = np.random.default_rng(seed)
    clean = metric(y_true, predict(x))
    found = []
    for feature in range(x.shape[1]):
        drops = []
        for _ in range(n_repeats):
            shuffled = x.copy()
            shuffled[:, feature] = shuffled[rng.permutation(len(x)), feature]
            value = metric(y_true, predict(shuffled))
            drops.append(clean - value if metric.higher_is_better else value - clean)
        name = feature_names[feature] if feature_names is not None else str(feature)
        found.append(Importance(feature, name, float(np.mean(drops)), float(np.std(drops))))
    return tuple(sorted(found, key=lambda f: -f.mean))
