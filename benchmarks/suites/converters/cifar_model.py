"""The model and the data of `cifar.py`: ResNet8, and CIFAR-10 in three parts that share no image."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from resnet8 import build

from edgeloop_converters.data import Dataset
from edgeloop_converters.recipes.augment import flip_shift

__all__ = ["BATCH", "REPO", "Part", "data_file", "images", "train"]

Part = Literal["train", "validation", "test"]

REPO = Path(__file__).resolve().parents[3]
VALIDATION = 1500
BATCH = 64


def data_file() -> Path:
    """CIFAR-10's subset (Krizhevsky, 2009): `../shared/data/cifar10.npz`, or under EDGELOOP_SHARED."""
    path = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared")) / "data" / "cifar10.npz"
    if not path.exists():
        sys.exit(f"no data at {path}: set EDGELOOP_SHARED")
    return path


def images(part: Part) -> Dataset:
    """One part: 8,500 images to train on, 1,500 to choose recipes by, 2,000 to judge by and for nothing else.

    The file's training images stand in a random order; the last of them are the validation part.
    """
    with np.load(data_file()) as data:
        name = "test" if part == "test" else "train"
        x, y = data[f"x_{name}"], data[f"y_{name}"].ravel()
    if part == "train":
        x, y = x[:-VALIDATION], y[:-VALIDATION]
    elif part == "validation":
        x, y = x[-VALIDATION:], y[-VALIDATION:]
    return Dataset(x, y.astype(np.int64), source=f"{data_file()}#{part}")


def train(path: Path, epochs: int) -> dict[str, Any]:
    """Train ResNet8 on the training part, and save it as `.keras`."""
    import keras

    keras.utils.set_random_seed(0)
    model = build(keras)
    data = images("train")
    x_train, y_train = np.asarray(data.x, np.float32) / 255, data.y
    assert y_train is not None
    steps = -(-len(x_train) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        order = rng.permutation(len(x_train))
        for rows in np.array_split(order, steps):
            loss = model.train_on_batch(flip_shift(x_train[rows], rng), y_train[rows])
        print(f"epoch {epoch + 1} of {epochs}: loss {float(loss):.3f}", file=sys.stderr, flush=True)
    model.save(path)
    found: dict[str, Any] = {"parameters": model.count_params(), "epochs": epochs}
    parts: tuple[Part, ...] = ("validation", "test")
    for part in parts:
        held = images(part)
        answers = model.predict(np.asarray(held.x, np.float32) / 255, verbose=0).argmax(axis=1)
        found[f"{part}_accuracy"] = float((answers == held.y).mean())
    return found
