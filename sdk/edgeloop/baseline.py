"""The baseline: how the training data's inputs, and the model's outputs on them, were distributed.

It travels in the manifest, so that every device bins the same way and profiles add up.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError, ManifestDamagedError
from edgeloop.summaries import Part, SummaryKind, part_names, summarize, summarize_parts, summary_names

__all__ = [
    "CONFIDENCE",
    "ENTROPY",
    "PREDICTED_CLASS",
    "Baseline",
    "Feature",
    "bin_counts",
    "class_probabilities",
    "fit_baseline",
    "output_features",
    "predicted_classes",
]

PREDICTED_CLASS = "predicted class"
CONFIDENCE = "confidence"
ENTROPY = "entropy"


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One profiled quantity: `edges` (ascending, finite) cut the real line into `len(edges) + 1` bins.

    A value falls into bin i when edges[i-1] < value <= edges[i]; one more bin at the end counts the missing (NaN).
    `counts` are those of the training data, one per bin, the missing included. `mean` is theirs too, for people.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    mean: float

    def __post_init__(self) -> None:
        """Check that the counts fit the edges."""
        if len(self.counts) != len(self.edges) + 2:
            raise ManifestDamagedError(
                f"baseline feature {self.name!r} has {len(self.edges)} edges and {len(self.counts)} counts, "
                f"not {len(self.edges) + 2}"
            )
        if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ManifestDamagedError(f"baseline feature {self.name!r}: its edges don't ascend")


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The training data's distribution, feature by feature: inputs first, then outputs.

    `summary` says how the input features are computed from an input; `inputs` holds that many features; `outputs`
    holds confidence and entropy, and the predicted class as one bin per class, for a classifier.

    `parts` are the inputs of a model with several, which come as one row (`Seen.inputs`): each has its own summary, and
    `summary` is then "columns".
    """

    summary: SummaryKind
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    parts: tuple[Part, ...] = ()

    def summarize(self, x: NDArray[np.generic]) -> NDArray[np.float32]:
        """The input features of inputs (n, …): float32 (n, features). Raises `InputError` where they don't fit."""
        return summarize_parts(self.parts, x) if self.parts else summarize(self.summary, x)

    @property
    def features(self) -> tuple[Feature, ...]:
        """All features, in the order in which a profile stores their counts."""
        return self.inputs + self.outputs

    @property
    def counts(self) -> NDArray[np.int64]:
        """The training data's counts, flat, in a profile's layout: int64 of shape (bins,)."""
        return np.concatenate([np.asarray(f.counts, dtype=np.int64) for f in self.features])


def class_probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """A classifier's outputs by class: (n, classes) as they are, and (n, 1) of a single sigmoid as (n, 2)."""
    if outputs.shape[-1:] != (1,):
        return outputs
    return np.concatenate([1 - outputs, outputs], axis=-1)


def predicted_classes(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class of each row of (…, classes), the first of equals; of (…, 1) class 1 from a probability of 0.5 on."""
    single = outputs.shape[-1:] == (1,)
    return np.asarray(outputs[..., 0] >= 0.5 if single else outputs.argmax(axis=-1), dtype=np.int64)


def output_features(outputs: NDArray[np.generic], classes: int) -> NDArray[np.float32]:
    """What is profiled of a classifier's output: float32 (n, 3), of confidence, entropy in nats, predicted class.

    `outputs` is (n, classes) of probabilities in real units, or (n, 1) of class 1. Confidence is the largest; entropy
    is that of the row scaled to sum 1 (an int8 softmax sums to 1 only nearly). A row that isn't finite gives NaN.
    """
    said = np.asarray(outputs, dtype=np.float32).reshape(len(outputs), -1)
    p = class_probabilities(said).reshape(len(outputs), classes)
    total = np.maximum(p.sum(axis=1, keepdims=True), np.float32(1e-9))
    q = np.clip(p / total, np.float32(1e-9), 1)
    entropy = -(q * np.log(q)).sum(axis=1)
    predicted = np.where(np.isfinite(entropy), predicted_classes(said), np.nan)
    return np.stack([p.max(axis=1), entropy, predicted], axis=1).astype(np.float32)


def bin_counts(edges: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many of `values` are in each bin: int64 (len(edges) + 2,), the missing (NaN) last; ±∞ in the outer bins."""
    # searchsorted puts NaN behind everything: into the last finite bin. It is moved to its own.
    where = np.searchsorted(edges, values, side="left")
    where[np.isnan(values)] = len(edges) + 1
    return np.bincount(where, minlength=len(edges) + 2).astype(np.int64)


def fit_baseline(
    x: NDArray[np.generic],
    outputs: NDArray[np.generic] | None,
    *,
    summary: SummaryKind,
    classes: int = 0,
    names: tuple[str, ...] | None = None,
    parts: tuple[Part, ...] = (),
    bins: int = 10,
) -> Baseline:
    """Bin the training data at its quantiles.

    Args:
        x: (n, …) inputs, as they come from the sensor, before preprocessing.
        outputs: (n, classes) the artifact's outputs on `x`, in real units; None profiles the inputs alone.
        summary: how the inputs are summarized.
        classes: the number of classes; 0 for a model that isn't a classifier.
        names: the input features' names; made up where None.
        parts: the inputs of a model with several; `x` is then (n, values), the inputs flattened one after another.
        bins: bins per feature; fewer where values tie.

    Raises:
        DataError: fewer than 50 samples: the quantiles would say nothing.
    """
    if len(x) < 50:
        raise DataError(f"a baseline needs at least 50 samples, not {len(x)}: give more training data")
    values = summarize_parts(parts, x) if parts else summarize(summary, x)
    names = names or (part_names(parts) if parts else summary_names(summary, x.shape[1:]))
    if len(names) != values.shape[1]:
        raise DataError(f"{len(names)} feature names for {values.shape[1]} features")
    inputs = tuple(_fit_feature(n, v, bins) for n, v in zip(names, values.T, strict=True))
    if outputs is None or classes == 0:
        return Baseline(summary=summary, inputs=inputs, outputs=(), parts=parts)
    out = output_features(outputs, classes)
    by_class = tuple(float(c) + 0.5 for c in range(classes - 1))
    return Baseline(
        summary=summary,
        inputs=inputs,
        outputs=(
            _fit_feature(CONFIDENCE, out[:, 0], bins),
            _fit_feature(ENTROPY, out[:, 1], bins),
            _count(PREDICTED_CLASS, by_class, out[:, 2]),
        ),
        parts=parts,
    )


def _fit_feature(name: str, values: NDArray[np.float32], bins: int) -> Feature:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        raise DataError(f"feature {name!r} has no finite value in the training data: leave it out")
    cuts = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)[1:-1]).astype(np.float32))
    return _count(name, tuple(float(c) for c in cuts), values)


def _count(name: str, edges: tuple[float, ...], values: NDArray[np.float32]) -> Feature:
    counts = bin_counts(np.asarray(edges, dtype=np.float32), values)
    return Feature(name=name, edges=edges, counts=tuple(counts.tolist()), mean=float(np.nanmean(values)))
