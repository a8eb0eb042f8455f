"""What every conversion starts from: the data as the model takes it, the metric, the calibration samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, DataError, InputError
from edgeloop.preprocessing import Step, check_steps, preprocess
from edgeloop_converters.compile import convertible
from edgeloop_converters.data import CalibrationSet, Dataset, check_datasets, pick_calibration
from edgeloop_converters.data import Finding as DataFinding
from edgeloop_converters.proof import Drop, Metric, find_metric, parse_drop
from edgeloop_converters.recipes import RecipeData
from edgeloop_converters.tflite import describe

__all__ = ["Prepared", "as_real", "prepare", "read_drop", "scores_of"]

CALIBRATION = 200


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model and its data, checked against each other.

    Args:
        model: a built `keras.Model`, or the bytes of a `.tflite` file.
        train: as the sensor gives it.
        evaluation: likewise, held out.
        preprocessing: from the one to the other.
        metric: what counts.
        labels: the classes' names; none for other tasks.
        calibration: the samples that fix ranges.
        x_eval: the evaluation inputs as the model takes them, float32.
        findings: what is wrong with the data sets, if anything.
        seed: of everything random.
    """

    model: Any
    train: Dataset
    evaluation: Dataset
    preprocessing: tuple[Step, ...]
    metric: Metric
    labels: tuple[str, ...]
    calibration: CalibrationSet
    x_eval: Any
    findings: tuple[DataFinding, ...]
    seed: int

    @property
    def y_eval(self) -> NDArray[Any]:
        """The evaluation labels or values."""
        assert self.evaluation.y is not None  # noqa: S101  # `prepare` has seen to it
        return self.evaluation.y

    def recipe_data(self) -> RecipeData:
        """What recipes learn from. The training inputs are converted here: that is a large array."""
        return RecipeData(
            as_real(self.preprocessing, self.calibration.x),
            as_real(self.preprocessing, self.train.x),
            self.train.y,
        )


def prepare(
    model: Any,
    train: Dataset,
    evaluation: Dataset,
    *,
    preprocessing: tuple[Step, ...] = (),
    metric: str | None = None,
    seed: int,
) -> Prepared:
    """Check the model and the data sets against each other.

    Args:
        model: what `load_model` gave, a built `keras.Model`, or the bytes of a `.tflite` file.
        train: what recipes learn from and calibrate with.
        evaluation: held-out data with labels or values.
        preprocessing: what brings the sensor's values to the model's.
        metric: what counts; None is "accuracy" for classes and "rmse" for values.
        seed: picks the calibration samples.

    Raises:
        ConfigError: no such metric.
        DataError: a data set has no labels, or doesn't fit the model, preprocessed.
        ModelError: the model is damaged, or can't be compiled.
    """
    model = convertible(model)
    if evaluation.y is None:
        raise DataError(f"the evaluation data ({evaluation.source}) has no labels `y`")
    found = find_metric(metric or ("accuracy" if evaluation.is_classification else "rmse"))
    shapes, classes = faces_of(model)
    for what, data in (("training", train), ("evaluation", evaluation)):
        given = [a.shape[1:] for a in data.inputs.values()]
        if preprocessing and len(given) == len(shapes) == 1:
            try:
                check_steps(preprocessing, given[0], shapes[0])
            except InputError as error:
                raise DataError(f"the {what} data ({data.source}): {error}") from error
            continue
        if sorted(given) != sorted(shapes):
            raise DataError(
                f"the {what} data ({data.source}) has inputs of shape {', '.join(map(str, given))}, "
                f"the model takes {', '.join(map(str, shapes))}"
            )
    labels: tuple[str, ...] = ()
    if found.task == "classification":
        classes = 2 if classes == 1 else classes
        if int(evaluation.y.max()) >= classes:
            raise DataError(
                f"the evaluation data has the label {int(evaluation.y.max())}, the model has {classes} classes"
            )
        labels = train.labels or evaluation.labels or tuple(str(c) for c in range(classes))
    return Prepared(
        model,
        train,
        evaluation,
        preprocessing,
        found,
        labels,
        pick_calibration(train, n=CALIBRATION, seed=seed),
        as_real(preprocessing, evaluation.x),
        check_datasets(train, evaluation, seed=seed),
        seed,
    )


def faces_of(model: Any) -> tuple[list[tuple[int, ...]], int]:
    """The shapes of the inputs without the batch axis, and the first output's last axis."""
    if isinstance(model, bytes):
        facts = describe(model)
        inputs = [facts.tensors[i].shape[1:] for i in facts.inputs]
        return inputs, int(facts.tensors[facts.outputs[0]].shape[-1])
    return [tuple(t.shape[1:]) for t in model.inputs], int(model.outputs[0].shape[-1])


def as_real(steps: tuple[Step, ...], x: Any) -> Any:
    """Inputs as the model takes them, float32."""
    if not isinstance(x, Mapping):
        return preprocess(steps, x)
    if steps:
        raise ConfigError("preprocessing is for models with one input: prepare the arrays of several before")
    return {name: np.asarray(values, np.float32) for name, values in x.items()}


def scores_of(metric: Metric, outputs: NDArray[Any], x: Any) -> NDArray[Any]:
    """What the metric is computed of: the outputs as they are, but for an autoencoder that looks for anomalies.

    Of that it is the mean squared error of the reconstruction, (n,) float32.
    """
    if metric.task != "anomaly" or isinstance(x, Mapping) or outputs.shape != x.shape or outputs[0].size == 1:
        return outputs
    return np.asarray(np.square(outputs - x).reshape(len(x), -1).mean(axis=1), np.float32)


def read_drop(text: str, metric: Metric) -> Drop:
    """`--max-drop` as a `Drop`.

    For metrics that are shares (accuracy, AUC…), "1%" is one point: 0.01. For others (RMSE…) it is 1 % of the
    original's value. "0.5pt" and a bare number are in the metric's own unit.

    Raises:
        ConfigError: it isn't a drop.
    """
    drop = parse_drop(text)
    is_share = metric.higher_is_better and metric.task in ("classification", "anomaly")
    return Drop(drop.amount, relative=False) if is_share else drop
