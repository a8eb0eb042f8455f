"""Retraining at the centre: stateful (warm), on new labels mixed with a replay of the old data."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.preprocessing import Step, preprocess
from edgeloop_converters.models import load_keras

__all__ = ["retrain_warm"]


def retrain_warm(
    model: str | os.PathLike[str],
    old: tuple[NDArray[np.generic], NDArray[np.int64]],
    new: tuple[NDArray[np.generic], NDArray[np.int64]],
    *,
    preprocessing: Sequence[Step] = (),
    epochs: int = 15,
    learning_rate: float = 1e-3,
    seed: int = 0,
    on_epoch: Callable[[], object] = lambda: None,
) -> Any:
    """Go on training a classifier from where it stands, and give back the new `keras.Model`.

    The new samples are repeated until they weigh as much as the old ones, which are replayed so that the model doesn't
    forget them (experience replay; Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", 1995).

    Args:
        model: the `.keras` file that the running artifact was made from; it isn't changed.
        old: its training data, (n, …) inputs as the sensor gives them and (n,) class numbers.
        new: the labelled samples from the field, likewise.
        preprocessing: what brings the sensor's values to the model's.
        epochs: passes over the mixture.
        learning_rate: Adam's; lower than at first training, since the weights are nearly right.
        seed: sets the order of the samples and the dropout.
        on_epoch: called after each epoch.

    Raises:
        DataError: no new samples, or inputs and labels of different lengths.
        ModelError, OSError: the model can't be loaded.
    """
    for what, (x, y) in (("old", old), ("new", new)):
        if len(x) == 0 or len(x) != len(y):
            raise DataError(f"the {what} data has {len(x)} inputs and {len(y)} labels: nothing to retrain on")
    network = load_keras(model)
    import keras

    keras.utils.set_random_seed(seed)
    repeats = max(1, round(len(old[0]) / len(new[0])))
    x = preprocess(preprocessing, np.concatenate([old[0], *[new[0]] * repeats]))
    y = np.concatenate([old[1], *[new[1]] * repeats])
    network.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy")
    tick = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: on_epoch())
    network.fit(x, y, epochs=epochs, batch_size=32, verbose=0, callbacks=[tick])
    return network
