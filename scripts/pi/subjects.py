"""What is run in the emulator: artifacts that are made here, each with real inputs where there are some."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.preprocessing import Scale
from edgeloop_converters import Dataset, convert
from edgeloop_converters.quiet import silenced

__all__ = ["Subject", "subjects"]

REPO = Path(__file__).resolve().parents[2]
SHARED_MODELS = ("kws_int8", "ad01_int8")
RANDOM_SAMPLES = 40


@dataclass(frozen=True, eq=False)
class Subject:
    """An artifact and what to run it on.

    Args:
        name: in the table.
        artifact: what runs.
        x: (n, …) as the sensor gives it.
        y: (n,) the classes; None where the inputs are random.
    """

    name: str
    artifact: Artifact
    x: NDArray[Any]
    y: NDArray[Any] | None = None


def subjects() -> Iterator[Subject]:
    """The digits of scikit-learn; and, from the shared folder, CIFAR-10 and MLPerf Tiny's int8 models."""
    yield digits()
    shared = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared"))
    if (data := shared / "data/cifar10.npz").is_file():
        yield cifar(data)
    for name in SHARED_MODELS:
        if (model := shared / f"models/{name}.tflite").is_file():
            yield as_is(model)


def digits() -> Subject:
    """A CNN trained on 1,000 digits, and the 797 others."""
    import keras
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    x, y = data.images[order][..., None].astype(np.float32), data.target[order].astype(np.int64)
    layers = keras.layers
    network = [
        layers.Conv2D(16, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.8),
        layers.ReLU(),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]
    return trained("digits", network, (x[:1000], y[:1000]), (x[1000:], y[1000:]), scale=1 / 16, epochs=15)


def cifar(path: Path) -> Subject:
    """A network on CIFAR-10's 2,000 test images: the one of $EDGELOOP_CIFAR_MODEL, else one trained here, briefly."""
    import keras

    data = np.load(path)
    train, held_out = ((data[f"x_{part}"], data[f"y_{part}"].ravel().astype(np.int64)) for part in ("train", "test"))
    if found := os.environ.get("EDGELOOP_CIFAR_MODEL"):
        model = keras.models.load_model(found, compile=False)
        return converted(f"cifar10 ({Path(found).stem})", model, train, held_out, scale=1 / 255)
    layers = keras.layers
    network: list[Any] = []
    for filters in (16, 32, 64):
        network += [
            layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(),
        ]
    network += [layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    return trained("cifar10", network, train, held_out, scale=1 / 255, epochs=8)


def trained(name: str, network: list[Any], train: Any, held_out: Any, *, scale: float, epochs: int) -> Subject:
    """Train, and convert by the recipe `int8`."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input(train[0].shape[1:]), *network])
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(train[0].astype(np.float32) * scale, train[1], epochs=epochs, batch_size=64, verbose=0)
    return converted(name, model, train, held_out, scale=scale)


def converted(name: str, model: Any, train: Any, held_out: Any, *, scale: float) -> Subject:
    """Convert by the recipe `int8`; a drop of up to 5 points is let through, since it isn't what is looked at here."""
    made = convert(
        model,
        Dataset(*train, source=f"{name}, training"),
        Dataset(*held_out, source=f"{name}, held out"),
        name=name.partition(" ")[0],
        recipe="int8",
        preprocessing=(Scale(scale),),
        summary="image",
        max_drop=0.05,
    )
    return Subject(name, made.artifact, *held_out)


def as_is(path: Path) -> Subject:
    """A published int8 model, and random inputs: there are no others here."""
    model = path.read_bytes()
    with silenced():
        backend = open_backend(model)
    spec = backend.inputs[0]
    manifest = Manifest(
        name=path.stem,
        version=1,
        created=utc_now(),
        model=ModelFile(sha256="0" * 64, size_bytes=len(model)),  # packing sets the real ones
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="other",
    )
    stored = np.random.default_rng(0).integers(-128, 128, (RANDOM_SAMPLES, *spec.shape[1:]))
    x = (stored - (spec.zero_point or 0)) * (spec.scale or 1.0)
    return Subject(path.stem, pack_artifact(model, manifest), x.astype(np.float32))
