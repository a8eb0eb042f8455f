"""What every conversion starts from: the data as the model takes it, the metric, the calibration samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.preprocessing import Step, preprocess
from edgeloop_converters.compile import convertible
from edgeloop_converters.data import CalibrationSet, Dataset, check_datasets, pick_calibration
from edgeloop_converters.data import Finding as DataFinding
from edgeloop_converters.ports import Face, Steps, check_inputs, faces_of, for_model, measured_first, steps_for
from edgeloop_converters.proof import Drop, Metric, Task, find_metric, parse_drop
from edgeloop_converters.recipes import RecipeData

__all__ = ["Prepared", "as_real", "input_steps", "prepare", "read_drop", "scores_of"]

CALIBRATION = 200


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model and its data, checked against each other.

    Args:
        model: a built `keras.Model`, or the bytes of a `.tflite` file.
        train: as the sensor gives it.
        evaluation: likewise, held out.
        preprocessing: from the one to the other; of several inputs, by name.
        metric: what counts; it is computed of the model's first output.
        labels: the classes' names; none for other tasks.
        calibration: the samples that fix ranges.
        x_eval: the evaluation inputs as the model takes them, float32.
        findings: what is wrong with the data sets, if anything.
        seed: of everything random.
    """

    model: Any
    train: Dataset
    evaluation: Dataset
    preprocessing: Steps
    metric: Metric
    labels: tuple[str, ...]
    calibration: CalibrationSet
    x_eval: Any
    findings: tuple[DataFinding, ...]
    seed: int

    @property
    def task(self) -> Task:
        """What the model does: the metric's task, and of a metric of the user's own that of the labels."""
        return "classification" if self.metric.task == "custom" and self.labels else self.metric.task

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
    preprocessing: Steps = (),
    metric: str | None = None,
    output: str | None = None,
    seed: int,
) -> Prepared:
    """Check the model and the data sets against each other.

    Args:
        model: what `load_model` gave, a built `keras.Model`, or the bytes of a `.tflite` file.
        train: what recipes learn from and calibrate with.
        evaluation: held-out data with labels or values.
        preprocessing: what brings the sensor's values to the model's; for a model with several inputs, by their names.
        metric: what counts; None is "accuracy" for classes and "rmse" for values.
        output: which of several outputs is measured; None takes the only one that fits the metric and the labels.
        seed: picks the calibration samples.

    Raises:
        ConfigError: no such metric or output, or steps for no input.
        DataError: a data set has no labels, or doesn't fit the model, preprocessed.
        ModelError: the model is damaged, or can't be compiled.
    """
    model = convertible(model)
    if evaluation.y is None:
        raise DataError(f"the evaluation data ({evaluation.source}) has no labels `y`")
    found = find_metric(metric or ("accuracy" if evaluation.is_classification else "rmse"))
    model = measured_first(model, found, evaluation, output)
    inputs, outputs = faces_of(model)
    preprocessing = steps_for(inputs, preprocessing)
    train, evaluation = for_model(inputs, train, "training"), for_model(inputs, evaluation, "evaluation")
    for what, data in (("training", train), ("evaluation", evaluation)):
        check_inputs(inputs, data, preprocessing, what)
    labels: tuple[str, ...] = ()
    if found.task == "classification" or (found.task == "custom" and classifies(outputs[0], evaluation)):
        classes = outputs[0].shape[-1] if outputs[0].shape else 1
        classes = 2 if classes == 1 else classes
        check_labels(train, "training", classes)
        check_labels(evaluation, "evaluation", classes)
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


def classifies(face: Face, evaluation: Dataset) -> bool:
    """Whether an output has a value for each of the classes, or one for two of them."""
    if not evaluation.is_classification or evaluation.y is None or len(face.shape) != 1:
        return False
    return face.shape[0] > int(evaluation.y.max()) or face.shape[0] == 1


def check_labels(data: Dataset, what: str, classes: int) -> None:
    """Raise `DataError` where a label is beyond the model's classes."""
    if data.y is None or int(data.y.max()) < classes:
        return
    beyond = np.flatnonzero(data.y >= classes)
    raise DataError(
        f"the {what} data ({data.source}) has the label {int(data.y[beyond[0]])} (row {beyond[0]}, the first of "
        f"{len(beyond)}), the model has {classes} classes, 0 to {classes - 1}: are these labels for another model?"
    )


def as_real(steps: Steps, x: Any) -> Any:
    """Inputs as the model takes them, float32."""
    if isinstance(x, Mapping):
        return {name: preprocess(input_steps(steps, name), values) for name, values in x.items()}
    return preprocess(input_steps(steps, ""), x)


def input_steps(steps: Steps, name: str) -> tuple[Step, ...]:
    """The steps of one input."""
    return tuple(steps.get(name, ())) if isinstance(steps, Mapping) else steps


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
