"""The metrics by name, each with its direction and with the trivial answer that it must beat."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from edgeloop.errors import ConfigError, DataError
from edgeloop_converters.proof import scores
from edgeloop_converters.proof.scores import Array

__all__ = ["METRICS", "Metric", "Task", "find_metric"]

Task = Literal["classification", "regression", "anomaly", "custom"]
SHUFFLES = 20


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model's outputs are.

    Args:
        name: as in `find_metric`.
        task: what it measures.
        higher_is_better: its direction.
        compute: of the truth (n,) and the outputs (n, …); NaN where it isn't defined.
        trivial_answer: what it is compared to: the "majority" class, the class "frequencies", the "mean", the
            "median", or the outputs "shuffled" over the samples.
        needs_every_class: whether a resample must keep the classes' sizes to be comparable.
    """

    name: str
    task: Task
    higher_is_better: bool
    compute: Callable[[Array, Array], float]
    trivial_answer: Literal["majority", "frequencies", "mean", "median", "shuffled"]
    needs_every_class: bool = False

    def __call__(self, y_true: Array, outputs: Array) -> float:
        """The metric's value.

        Raises:
            DataError: the lengths differ, there are no samples, or the outputs don't suit the metric.
        """
        if len(y_true) != len(outputs) or len(y_true) == 0:
            raise DataError(
                f"{self.name}: {len(outputs)} outputs for {len(y_true)} labels; give one each, at least one"
            )
        if self.task != "custom" and outputs.dtype.kind == "f" and np.isnan(outputs).any():
            bad = int(np.isnan(outputs).reshape(len(outputs), -1).any(axis=1).sum())
            raise DataError(f"{self.name}: {bad} of {len(outputs)} outputs hold NaN: is the model broken?")
        if self.task == "classification":
            check_classes(self.name, y_true, outputs)
        return float(self.compute(y_true, outputs))

    def trivial(self, y_true: Array, outputs: Array, *, seed: int) -> float:
        """What an answer that ignores the input reaches.

        The best constant for this very truth, which flatters the trivial answer a little; or, for anomaly
        scores and user functions, the mean over 20 shuffles of the outputs.
        """
        if self.trivial_answer == "shuffled":
            rng = np.random.default_rng(seed)
            return float(np.mean([self(y_true, outputs[rng.permutation(len(outputs))]) for _ in range(SHUFFLES)]))
        if self.trivial_answer in ("mean", "median"):
            middle = np.mean(y_true, axis=0) if self.trivial_answer == "mean" else np.median(y_true, axis=0)
            return self(y_true, np.broadcast_to(middle, y_true.shape))
        k = max(2, int(y_true.max()) + 1, outputs.shape[1] if outputs.ndim == 2 else 0)
        share = np.bincount(y_true, minlength=k) / len(y_true)
        constant = share if self.trivial_answer == "frequencies" else np.eye(k)[share.argmax()]
        return self(y_true, np.broadcast_to(constant, (len(y_true), k)))


def check_classes(name: str, y_true: Array, outputs: Array) -> None:
    if y_true.ndim != 1 or y_true.dtype.kind not in "iu":
        raise DataError(f"{name}: y must be (n,) integer class indices; got {y_true.dtype} {y_true.shape}")
    one_value = outputs.ndim == 1 or outputs.shape[1] == 1
    k = outputs.shape[1] if not one_value else 2 if outputs.dtype.kind == "f" else None
    if y_true.min() < 0 or (k is not None and y_true.max() >= k):
        raise DataError(f"{name}: labels run from {y_true.min()} to {y_true.max()}, but the model has {k} classes")


def find_metric(name: str) -> Metric:
    """The metric of this name.

    Args:
        name: a key of `METRICS`; "top_K_accuracy" for any K; or "module:function" for one of your own, called
            with the truth and the outputs, which returns a number. Higher is better unless the function has
            an attribute `higher_is_better` that is False.

    Raises:
        ConfigError: there is no such metric.
    """
    if name in METRICS:
        return METRICS[name]
    if found := re.fullmatch(r"top_([1-9][0-9]*)_accuracy", name):
        compute = partial(scores.top_k_accuracy, k=int(found[1]))
        return Metric(name, "classification", True, compute, "frequencies")
    if ":" not in name:
        known = ", ".join([*METRICS, "top_K_accuracy", "module:function"])
        raise ConfigError(f"unknown metric {name!r}; there are {known}")
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"metric {name!r} can't be imported: {error}") from error
    if not callable(function):
        raise ConfigError(f"metric {name!r} is no function, but {type(function).__name__}")
    higher = bool(getattr(function, "higher_is_better", True))
    return Metric(name, "custom", higher, function, "shuffled")


def classification(name: str, compute: Callable[[Array, Array], float], *, by_class: bool = False) -> Metric:
    return Metric(name, "classification", True, compute, "majority", needs_every_class=by_class)


def anomaly(name: str, compute: Callable[[Array, Array], float]) -> Metric:
    return Metric(name, "anomaly", True, compute, "shuffled", needs_every_class=True)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        classification("accuracy", scores.accuracy),
        classification("balanced_accuracy", scores.balanced_accuracy, by_class=True),
        classification("macro_f1", scores.macro_f1, by_class=True),
        classification("worst_recall", scores.worst_recall, by_class=True),
        Metric("log_loss", "classification", False, scores.log_loss, "frequencies"),
        Metric("brier", "classification", False, scores.brier, "frequencies"),
        Metric("mae", "regression", False, scores.mean_absolute_error, "median"),
        Metric("rmse", "regression", False, scores.root_mean_squared_error, "mean"),
        Metric("r2", "regression", True, scores.r2, "mean"),
        anomaly("roc_auc", scores.roc_auc),
        anomaly("average_precision", scores.average_precision),
        anomaly("recall_at_1pct_fpr", partial(scores.recall_at_false_alarms, rate=0.01)),
    )
}
