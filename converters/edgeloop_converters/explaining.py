"""What the original and the artifact look at, side by side: occlusion of images and signals, permutation of columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop_converters.data import input_arrays, take_rows
from edgeloop_converters.predict import predictor
from edgeloop_converters.prepare import Prepared
from edgeloop_converters.proof import Importance, occlusion_map, permutation_importance, predicted_classes
from edgeloop_converters.proof.perturb import kind_of

__all__ = ["Explanation", "Look", "explain"]

SAMPLES = 6
TABLE_SAMPLES = 300
REPEATS = 5
PATCHES = 7  # along each axis, each half over its neighbours
BUDGET_S = 10.0  # of each input of both models together
TIMED = 8

WORDS = {"classification": ("wrong", "right"), "anomaly": ("anomaly", "normal")}
OTHER_WORDS = ("far off", "close")


@dataclass(frozen=True, eq=False)
class Look:
    """One sample, and where both models look in it.

    Args:
        row: of the evaluation data.
        why: it was chosen.
        truth: its label or value, as a person reads it.
        answers: the original's and the artifact's, likewise.
        sample: (h, w, c) or (t, f), as the model takes it.
        original: (h, w) or (t,): by how much the original's answer falls where a patch is covered.
        artifact: the artifact's likewise, of the class that it answers itself.
        correlation: Pearson's, of the two; NaN where one is flat.
    """

    row: int
    why: str
    truth: str
    answers: tuple[str, str]
    sample: NDArray[Any]
    original: NDArray[Any]
    artifact: NDArray[Any]
    correlation: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What both models lean on, of one input.

    Args:
        name: the input's; empty where there is one.
        kind: "image", "signal" or "table"; it says which of the next two are there.
        looks: a handful of samples.
        original: the importance of each column to the original, the most important first.
        artifact: the same columns in the same order.
        note: how it was measured, or why it wasn't.
    """

    name: str
    kind: Literal["image", "signal", "table", "other"]
    looks: tuple[Look, ...] = ()
    original: tuple[Importance, ...] = ()
    artifact: tuple[Importance, ...] = ()
    note: str = ""


def explain(
    prepared: Prepared,
    models: tuple[bytes, bytes],
    outputs: tuple[NDArray[Any], NDArray[Any]],
    *,
    budget_s: float = BUDGET_S,
) -> tuple[Explanation, ...]:
    """Explain every input on a handful of samples: those that changed most, wrong ones, right ones.

    Args:
        prepared: the data.
        models: the original's file and the artifact's.
        outputs: what the metric is computed of, of the one and of the other.
        budget_s: about how long each input may take; fewer samples and repeats where it is short.
    """
    return tuple(_explain(prepared, models, outputs, name, budget_s) for name in input_arrays(prepared.x_eval))


def _explain(
    p: Prepared, models: tuple[bytes, bytes], outputs: tuple[NDArray[Any], NDArray[Any]], name: str, budget_s: float
) -> Explanation:
    shown = name if len(input_arrays(p.x_eval)) > 1 else ""
    values = input_arrays(p.x_eval)[name]
    kind = kind_of(values)
    if kind is None:
        return Explanation(
            shown, "other", note=f"inputs of shape {values.shape[1:]} are neither image, signal nor table"
        )
    call_s = sum(_call_s(p, model, name) for model in models)
    if kind == "table":
        return _permuted(p, models, name, shown, int(budget_s / call_s))
    patch = max(1, min(values.shape[1:-1]) // ((PATCHES + 1) // 2))
    if kind == "signal":
        patch = max(1, values.shape[1] // 12)
    places = int(np.prod([max(1, 2 * size // patch) for size in values.shape[1:-1]]))
    count = max(2, min(SAMPLES, int(budget_s / call_s / places)))
    chosen = _choose(p, outputs, count)
    rows = np.array([row for row, _ in chosen])
    x = take_rows(p.x_eval, rows)
    maps = [occlusion_map(predictor(p, m, x, name), values[rows].astype(np.float32), patch=patch) for m in models]
    looks = tuple(
        Look(
            row=row,
            why=why,
            truth=_word(p, p.y_eval[row]),
            answers=(_answer(p, outputs[0], row), _answer(p, outputs[1], row)),
            sample=values[row],
            original=maps[0][i],
            artifact=maps[1][i],
            correlation=_correlation(maps[0][i], maps[1][i]),
        )
        for i, (row, why) in enumerate(chosen)
    )
    unit = f"{patch} × {patch} pixels" if kind == "image" else f"{patch} steps"
    of_what = "the answered class's output" if p.task == "classification" else "the answer"
    note = f"by how much {of_what} falls where {unit} are covered with the sample's mean (Zeiler and Fergus, 2014)"
    return Explanation(shown, kind, looks, note=note)


def _permuted(p: Prepared, models: tuple[bytes, bytes], name: str, shown: str, calls: int) -> Explanation:
    """The importance of each column, with as many repeats and samples as so many calls of both models allow."""
    values = input_arrays(p.x_eval)[name]
    columns, samples = values.shape[1], min(TABLE_SAMPLES, len(values))
    repeats = min(REPEATS, calls // max(1, columns * samples))
    if repeats == 0:
        samples, repeats = min(samples, calls // columns), 1
    if samples < min(50, len(values)):
        note = f"{columns} columns × 50 samples would take more than the time that there is: not measured"
        return Explanation(shown, "table", note=note)
    rows = np.sort(np.random.default_rng(p.seed).permutation(len(values))[:samples])
    x, y = take_rows(p.x_eval, rows), p.y_eval[rows]
    names = p.train.feature_names if not shown else None
    names = names if names is not None and len(names) == columns else None
    try:
        found = [
            permutation_importance(
                predictor(p, model, x, name), values[rows], y,
                metric=p.metric, seed=p.seed, n_repeats=repeats, feature_names=names,
            )
            for model in models
        ]  # fmt: skip
    except DataError as error:  # the metric isn't defined on so few samples
        return Explanation(shown, "table", note=f"not measured: {error}")
    theirs = {importance.feature: importance for importance in found[1]}
    times = "once" if repeats == 1 else f"{repeats} times"
    note = (
        f"by how much {p.metric.name} gets worse where a column is shuffled ({times}, {samples} samples; Breiman, 2001)"
    )
    return Explanation(
        shown, "table", original=found[0], artifact=tuple(theirs[i.feature] for i in found[0]), note=note
    )


def _call_s(p: Prepared, model: bytes, name: str) -> float:
    """How long one sample takes, in seconds; from a few of them."""
    x = take_rows(p.x_eval, np.arange(min(TIMED, len(p.y_eval))))
    values = input_arrays(x)[name]
    predict = predictor(p, model, x, name)
    predict(values)
    start = time.perf_counter()
    predict(values)
    return max(1e-6, (time.perf_counter() - start) / len(values))


def _choose(p: Prepared, outputs: tuple[NDArray[Any], NDArray[Any]], count: int) -> list[tuple[int, str]]:
    """A third each: whose answer compression moved most, wrong ones, right ones (or as `WORDS` has it)."""
    before, after = (o.reshape(len(o), -1).astype(np.float64) for o in outputs)
    moved = np.argsort(-np.abs(before - after).max(axis=1), kind="stable")
    if p.task == "classification":
        right = predicted_classes(outputs[1]) == p.y_eval
    elif p.task == "anomaly":
        right = p.y_eval == 0
    else:
        truth = p.y_eval.reshape(len(p.y_eval), -1)
        error = np.abs(after - truth).max(axis=1) if truth.shape == after.shape else np.zeros(len(truth))
        right = error <= np.median(error)
    bad, good = WORDS.get(p.task, OTHER_WORDS)
    order = np.random.default_rng(p.seed).permutation(len(right))
    wanted: list[tuple[str, Iterator[int]]] = [
        ("changed most", iter(moved)),
        (bad, iter(order[~right[order]])),
        (good, iter(order[right[order]])),
    ]
    chosen: dict[int, str] = {}
    while len(chosen) < min(count, len(right)):
        size = len(chosen)
        for why, rows in wanted:
            row = next((int(r) for r in rows if int(r) not in chosen), None)
            if row is not None and len(chosen) < count:
                chosen[row] = why
        if len(chosen) == size:
            break
    return sorted(chosen.items(), key=lambda item: ("changed most", bad, good).index(item[1]))


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    if one.std() == 0 or other.std() == 0:
        return float("nan")
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _answer(p: Prepared, outputs: NDArray[Any], row: int) -> str:
    if p.task != "classification":
        return _word(p, outputs[row])
    index = int(predicted_classes(outputs[row : row + 1])[0])
    return _word(p, index)


def _word(p: Prepared, value: Any) -> str:
    if p.task == "classification":
        return p.labels[int(value)] if int(value) < len(p.labels) else str(int(value))
    if p.task == "anomaly" and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iu":
        return "anomaly" if value else "normal"
    flat = np.asarray(value).ravel()
    return ", ".join(f"{v:.4g}" for v in flat[:3]) + ("…" if len(flat) > 3 else "")
