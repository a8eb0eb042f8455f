"""A small trained classifier of real digits, and its data, for the tests of whole conversions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgeloop.preprocessing import Scale
from edgeloop_converters.data import Dataset


class DigitTask(NamedTuple):
    """The model takes values in [0, 1]; the data is as the sensor gives it, 0 to 16."""

    model: Any
    train: Dataset
    held_out: Dataset
    steps: tuple[Scale, ...]


@pytest.fixture(scope="session")
def digit_task() -> DigitTask:
    import keras
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    x, y = data.images[order][..., None].astype("float32"), data.target[order].astype("int64")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(x[:1000] / 16, y[:1000], epochs=8, batch_size=32, verbose=0)
    return DigitTask(
        model,
        Dataset(x[:1000], y[:1000], source="train"),
        Dataset(x[1000:1400], y[1000:1400], source="held out"),
        (Scale(1 / 16),),
    )


@pytest.fixture(scope="session")
def digit_files(digit_task, tmp_path_factory) -> Path:
    """A folder with `model.keras`, `train.npz` and `test.npz`."""
    folder = tmp_path_factory.mktemp("digits")
    digit_task.model.save(folder / "model.keras")
    for name, data in (("train", digit_task.train), ("test", digit_task.held_out)):
        np.savez(folder / f"{name}.npz", x=data.x, y=data.y)
    return folder
