"""How right a model is on the user's data: the very bytes whose latency is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeloop.errors import DataError
from edgeloop.runtime import Runtime
from edgeloop_bench.result import Accuracy, Settings
from edgeloop_bench.subject import Subject

if TYPE_CHECKING:
    from edgeloop_converters.data import Dataset

__all__ = ["measure_accuracy", "read_data"]


def read_data(path: str, labels: str | None) -> Dataset:
    """The user's data, as `edgeloop convert --eval` takes it.

    Args:
        path: see `edgeloop_converters.data.load_dataset`.
        labels: the column or the key of the labels; of an `.npz`, None is `y`.

    Raises:
        DataError: it can't be used, or has no labels.
    """
    from edgeloop_converters.data import load_dataset

    found = load_dataset(path, target=labels)
    if found.y is None:
        raise DataError(f"{path}: it has no labels, so nothing can be right: name them (--labels COLUMN)")
    return found


def measure_accuracy(subject: Subject, data: Dataset, settings: Settings) -> Accuracy:
    """The share of right answers, with its bootstrap interval.

    Args:
        subject: an artifact gets samples as its sensor gives them; a plain `.tflite` gets them as they are, quantized
            where its input is.
        data: with labels.
        settings: of the run: the interpreter, its kernels, and the seed of the resampling.

    Raises:
        DataError: the data doesn't fit the model.
        ModelError: the model can't be run.
    """
    from edgeloop_converters.proof import find_metric, measure
    from edgeloop_converters.tflite import run

    if data.y is None:
        raise DataError(f"{data.source}: it has no labels")
    if subject.artifact is not None:
        with Runtime(
            subject.artifact,
            backend=settings.interpreter,
            threads=settings.threads[0],
            kernels=settings.kernels,
            delegate=settings.delegate,
        ) as runtime:
            outputs = np.asarray(runtime.run_batch(data.x))
    else:
        outputs = run(subject.model, data.x, kernels=settings.kernels, threads=settings.threads[0])[0]
    found = measure(find_metric("accuracy"), data.y, outputs, seed=settings.seed)
    return Accuracy(found.metric, found.value, (found.low, found.high), found.n, data.sha256())
