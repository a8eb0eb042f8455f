"""Scoring a whole file: batches in, batches out, one at a time in memory.

The result keeps the rows' order and number: a row that doesn't fit the model is there without an answer, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import class_probabilities, predicted_classes
from edgeloop.errors import InputError
from edgeloop.prediction import least_probability
from edgeloop.runtime import Runtime

__all__ = ["ScoreReport", "Scores", "TableWriter", "score", "scores_of"]

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """What the model said of a batch, by column.

    `is_valid` (n,) bool is False where a row was refused; there the other columns mean nothing. A classifier has
    `index`, `label` (where there are labels) and `confidence`; another model `output_0` … of its flattened output.
    """

    columns: dict[str, Array]
    is_valid: NDArray[np.bool_]


@dataclass(frozen=True)
class ScoreReport:
    """How many rows were read, how many of them refused, and the first refusal's words."""

    rows: int
    refused: int
    first_refusal: str | None


class TableWriter(Protocol):
    """Takes batches of scores; see `edgeloop.sinks.tables`."""

    def write(self, scores: Scores) -> None:
        """Add a batch."""


def score(
    runtime: Runtime,
    batches: Iterator[Array],
    writer: TableWriter,
    *,
    on_batch: Callable[[int], None] = lambda _: None,
) -> ScoreReport:
    """Run every batch through the model, and write what it says.

    Args:
        runtime: the model.
        batches: inputs (n, …); rows of another shape but of the model's size are brought to its shape.
        writer: where the scores go, batch by batch.
        on_batch: called with the number of rows so far.

    Raises:
        InputError: the rows' size isn't the model's.
    """
    rows = refused = 0
    first: str | None = None
    shape = runtime.manifest.sample_shape or runtime.manifest.inputs[0].shape[1:]
    for batch in batches:
        x = batch
        if x.shape[1:] != shape and math.prod(x.shape[1:]) == math.prod(shape):
            x = x.reshape(len(x), *shape)
        if x.shape[1:] != shape:
            raise InputError(f"inputs of shape {x.shape[1:]}: {runtime.manifest.name!r} takes {shape}")
        outputs, is_valid, said = _run(runtime, x)
        writer.write(scores_of(runtime, outputs, is_valid))
        rows += len(x)
        refused += int((~is_valid).sum())
        first = first or said
        on_batch(rows)
    return ScoreReport(rows, refused, first)


def scores_of(runtime: Runtime, outputs: NDArray[np.float32], is_valid: NDArray[np.bool_]) -> Scores:
    """The columns that the outputs (n, …) of a model give; confidence as `Runtime.run` has it."""
    manifest = runtime.manifest
    flat = outputs.reshape(len(outputs), -1)
    if manifest.task != "classification":
        return Scores({f"output_{i}": flat[:, i] for i in range(flat.shape[1])}, is_valid)
    index, flat = predicted_classes(flat), class_probabilities(flat)
    columns: dict[str, Array] = {"index": index.astype(np.int32)}
    if manifest.labels:
        columns["label"] = np.asarray(manifest.labels, dtype=object)[index]
    if manifest.temperature is None:
        columns["confidence"] = flat.max(axis=1, initial=0)
    else:
        floor = least_probability(manifest.outputs[0])  # as in a single run
        logits = np.log(np.maximum(flat.astype(np.float64), floor)) / manifest.temperature
        columns["confidence"] = (1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)).astype(np.float32)
    return Scores(columns, is_valid)


def _run(runtime: Runtime, x: Array) -> tuple[NDArray[np.float32], NDArray[np.bool_], str | None]:
    """The outputs, which rows were answered, and why the first of the others wasn't; by halves where a batch fails."""
    try:
        return runtime.run_batch(x), np.ones(len(x), dtype=bool), None
    except InputError as error:
        if len(x) == 1:
            shape = runtime.run_batch(np.empty((0, *x.shape[1:]), np.float32)).shape[1:]
            return np.full((1, *shape), np.nan, np.float32), np.zeros(1, dtype=bool), str(error)
    half = len(x) // 2
    first, second = _run(runtime, x[:half]), _run(runtime, x[half:])
    outputs = np.concatenate([first[0], second[0]])
    return outputs, np.concatenate([first[1], second[1]]), first[2] or second[2]
