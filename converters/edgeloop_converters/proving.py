"""The proof of a result: the metric with its intervals, slices, calibration, robustness, and the worst layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.backends import open_backend
from edgeloop.errors import DataError, ModelError
from edgeloop.prediction import least_probability
from edgeloop_converters.data import input_arrays, take_rows
from edgeloop_converters.predict import predictor
from edgeloop_converters.prepare import Prepared
from edgeloop_converters.proof import (
    Bin,
    Comparison,
    Measurement,
    RobustnessRow,
    Slice,
    SliceReport,
    TemperatureFit,
    compare,
    compare_slices,
    find_metric,
    fit_temperature,
    measure,
    measure_robustness,
    reliability_bins,
    slice_by_column,
)
from edgeloop_converters.quiet import silenced
from edgeloop_converters.tflite import Diagnosis, diagnose, port_names, run

__all__ = ["OtherOutput", "Proof", "diagnose_on", "prove"]

ROBUSTNESS_SAMPLES = 300
DIAGNOSIS_SAMPLES = 32
FEWEST_FOR_TEMPERATURE = 100


@dataclass(frozen=True)
class OtherOutput:
    """An output that the metric isn't computed of: how far the artifact's is from the original's.

    Args:
        name: its own.
        nrmse: root mean squared difference over the deviation of the original's values.
        agreement: where it looks like classes, the share of samples with the same largest value; else None.
    """

    name: str
    nrmse: float
    agreement: float | None


@dataclass(frozen=True)
class Proof:
    """What is known of an artifact, beside the original.

    Args:
        original: the original's metric, against the trivial answer.
        artifact: the artifact's.
        comparison: the one against the other, paired.
        slices: by what the slices are cut, and the metric by slice.
        bins: the reliability diagram; empty where the outputs aren't probabilities.
        temperature: fitted on one half of the evaluation data, judged on the other; None likewise.
        robustness: under small changes of the input, on up to 300 samples.
        robustness_original: the same of the original.
        other_outputs: of a model with several, all but the first.
    """

    original: Measurement
    artifact: Measurement
    comparison: Comparison
    slices: tuple[tuple[str, SliceReport], ...]
    bins: tuple[Bin, ...]
    temperature: TemperatureFit | None
    robustness: tuple[RobustnessRow, ...]
    robustness_original: tuple[RobustnessRow, ...]
    other_outputs: tuple[OtherOutput, ...]

    @property
    def mends_confidence(self) -> bool:
        """Whether the temperature helps on samples that it wasn't fitted on."""
        return self.temperature is not None and self.temperature.log_loss_after < self.temperature.log_loss_before


def prove(
    prepared: Prepared, original: bytes, artifact: bytes, outputs: tuple[NDArray[Any], NDArray[Any]], *, thorough: bool
) -> Proof:
    """Measure everything that the report shows.

    Args:
        prepared: the data.
        original: the float model's file.
        artifact: the result's.
        outputs: what the metric is computed of, of the one and of the other.
        thorough: slices, robustness and calibration too, which takes some thousand calls of both models.

    Raises:
        DataError: the metric isn't defined on the evaluation data.
    """
    p, (before, after) = prepared, outputs
    bins, temperature = _calibration(p, artifact, after)
    return Proof(
        original=measure(p.metric, p.y_eval, before, seed=p.seed),
        artifact=measure(p.metric, p.y_eval, after, seed=p.seed),
        comparison=compare(p.metric, p.y_eval, before, after, seed=p.seed),
        slices=_slices(p, after) if thorough else (),
        bins=bins,
        temperature=temperature,
        robustness=_robustness(p, artifact) if thorough else (),
        robustness_original=_robustness(p, original) if thorough else (),
        other_outputs=_other_outputs(p, original, artifact),
    )


def diagnose_on(prepared: Prepared, float_model: bytes, model: bytes) -> Diagnosis | None:
    """The doctor's findings on some evaluation samples; None where no layers correspond."""
    x = prepared.x_eval
    few = {k: v[:DIAGNOSIS_SAMPLES] for k, v in x.items()} if isinstance(x, Mapping) else x[:DIAGNOSIS_SAMPLES]
    try:
        return diagnose(float_model, model, few)
    except ModelError:
        return None


def _slices(p: Prepared, outputs: NDArray[Any]) -> tuple[tuple[str, SliceReport], ...]:
    cuts: dict[str, tuple[Slice, ...]] = {
        name: slice_by_column(column, name) for name, column in p.evaluation.groups.items()
    }
    metric = p.metric
    if p.evaluation.is_classification and p.task == "classification":
        cuts = {"class": slice_by_column(p.y_eval, "class", p.labels or None), **cuts}
        metric = find_metric("accuracy")  # the one that is defined within a class
    found = []
    for name, slices in cuts.items():
        try:
            found.append((name, compare_slices(metric, p.y_eval, outputs, slices, seed=p.seed, n_resamples=200)))
        except DataError:
            continue  # fewer than two slices are large enough: there is nothing to compare
    return tuple(found)


def _calibration(p: Prepared, artifact: bytes, outputs: NDArray[Any]) -> tuple[tuple[Bin, ...], TemperatureFit | None]:
    if p.task != "classification" or len(outputs) < FEWEST_FOR_TEMPERATURE:
        return (), None
    order = np.random.default_rng(p.seed).permutation(len(outputs))
    fit, judged = np.array_split(order, 2)
    with silenced():  # the first interpreter of a process announces itself
        floor = least_probability(open_backend(artifact).outputs[0])
    try:
        return (
            reliability_bins(p.y_eval, outputs),
            fit_temperature(p.y_eval[fit], outputs[fit], p.y_eval[judged], outputs[judged], floor=floor),
        )
    except DataError:  # logits, not probabilities
        return (), None


def _other_outputs(p: Prepared, original: bytes, artifact: bytes) -> tuple[OtherOutput, ...]:
    names = port_names(original)[1]
    if len(names) == 1:
        return ()
    found = []
    for name, one, other in zip(names, run(original, p.x_eval), run(artifact, p.x_eval), strict=True):
        spread = float(one.std()) or 1.0
        rms = float(np.sqrt(np.mean(np.square(one.astype(np.float64) - other))))
        classes = one.ndim == 2 and one.shape[1] > 1
        same = float(np.mean(one.argmax(axis=1) == other.argmax(axis=1))) if classes else None
        found.append(OtherOutput(name, rms / spread, same))
    return tuple(found[1:])


def _robustness(p: Prepared, model: bytes) -> tuple[RobustnessRow, ...]:
    rows = np.random.default_rng(p.seed).permutation(len(p.y_eval))[:ROBUSTNESS_SAMPLES]
    x = take_rows(p.x_eval, rows)
    found: list[RobustnessRow] = []
    for name, values in input_arrays(x).items():
        predict = predictor(p, model, x, name)
        try:
            its = measure_robustness(predict, values, p.y_eval[rows], metric=p.metric, seed=p.seed)
        except DataError:  # an input of another rank, or too few samples for the metric
            continue
        changed = (replace(row, name=f"{name}: {row.name}") for row in its[1:])  # of several inputs, one at a time
        found += (*its[: not found], *(changed if isinstance(x, Mapping) else its[1:]))
    return tuple(found)
