"""The demo's model: a small CNN that trains in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.quiet import quiet_tensorflow

__all__ = ["EPOCHS", "PIXEL_SCALE", "train"]

PIXEL_SCALE = 1 / 16
EPOCHS = 15


def train(
    x: NDArray[np.float32], y: NDArray[np.int64], path: Path, *, seed: int, on_epoch: Callable[[], object]
) -> None:
    """Train on `x` (n, 8, 8, 1), values 0 … 16, and write the `.keras` file; `on_epoch` is called after each epoch."""
    quiet_tensorflow()
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.25),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    tick = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: on_epoch())
    model.fit(x * PIXEL_SCALE, y, epochs=EPOCHS, batch_size=32, verbose=0, callbacks=[tick])
    model.save(path)
