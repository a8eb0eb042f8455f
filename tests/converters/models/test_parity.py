"""What was evaluated on the workstation is what the device computes from the packaged file, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop.artifact import pack_artifact, write_artifact
from edgeloop.backends import open_backend
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.preprocessing import CenterCrop, LogMel, Normalize, Resize, Scale, Step, preprocess
from edgeloop.quantization import dequantize, quantize
from edgeloop.runtime import Runtime
from edgeloop_converters import Dataset, convert, load_model
from edgeloop_converters.compile import compile_keras
from edgeloop_converters.proof.calibration import apply_temperature

pytestmark = pytest.mark.tf


def network(shape: tuple[int, ...]) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    images = [layers.Conv2D(6, 3, activation="relu"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input(shape), *images, layers.Dense(4, activation="softmax")])


def describe(flatbuffer: bytes, **fields: Any) -> Manifest:
    backend = open_backend(flatbuffer)
    return Manifest(
        name="net",
        version=1,
        created=utc_now(),
        model=ModelFile("0" * 64, 8),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="classification",
        **fields,
    )


def by_hand(flatbuffer: bytes, steps: tuple[Step, ...], x: np.ndarray) -> np.ndarray:
    """Preprocessing, quantization, one plain call of the interpreter, and back: each step as it is defined."""
    backend = open_backend(flatbuffer)
    rows = []
    for sample in x:
        real = preprocess(steps, sample[None]).reshape(1, *backend.inputs[0].shape[1:])
        stored = backend.invoke([quantize(backend.inputs[0], real)])[0]
        rows.append(dequantize(backend.outputs[0], stored)[0])
    return np.stack(rows)


def test_the_artifact_on_disk_computes_what_convert_evaluated(tmp_path: Path) -> None:
    steps = (Normalize((120.0, 110.0, 100.0), (60.0, 61.0, 62.0)),)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 10, 10, 3), dtype=np.uint8)
    net = network((10, 10, 3))
    y = net.predict(preprocess(steps, x), verbose=0).argmax(axis=1)
    net.save(tmp_path / "net.keras")
    held_out = Dataset(x[200:], y[200:])
    converted = convert(
        load_model(tmp_path / "net.keras"),
        Dataset(x[:200], y[:200]),
        held_out,
        name="net",
        preprocessing=steps,
        summary="image",
        max_drop=0.2,
    )
    write_artifact(tmp_path / "net.tflite", converted.artifact)
    with Runtime(tmp_path / "net.tflite") as device:
        one_by_one = np.stack([device.run(sample).output for sample in held_out.x])
        together = device.run_batch(held_out.x)
    assert np.array_equal(one_by_one, by_hand(converted.artifact.model, steps, held_out.x))
    assert np.array_equal(together, one_by_one)
    assert device.manifest.metrics["accuracy"] == (one_by_one.argmax(axis=1) == held_out.y).mean()


@pytest.mark.parametrize(
    ("steps", "x"),
    [
        ((Resize(10, 10), Scale(1 / 127.5, -1)), np.random.default_rng(1).integers(0, 256, (40, 21, 17, 3), np.uint8)),
        (
            (CenterCrop(20, 20), Resize(10, 10, "nearest"), Normalize((100,) * 3, (50, 60, 70))),
            np.random.default_rng(2).integers(0, 256, (40, 21, 17, 3), np.uint8),
        ),
        (
            (LogMel(8000, 200, 80, 256, 12, 60, 3600), Normalize((-1,), (3,))),
            np.random.default_rng(3).normal(size=(40, 1000)).astype(np.float32),
        ),
    ],
)
def test_preprocessing_that_changes_the_shape_travels_in_the_file(
    tmp_path: Path, steps: tuple[Step, ...], x: np.ndarray
) -> None:
    real = preprocess(steps, x)
    shape = real.shape[1:] if real.ndim == 4 else (*real.shape[1:], 1)
    flatbuffer = compile_keras(network(shape), "int8", [real.reshape(-1, *shape)])
    manifest = describe(flatbuffer, preprocessing=steps, sample_shape=x.shape[1:])
    write_artifact(tmp_path / "net.tflite", pack_artifact(flatbuffer, manifest))
    expected = by_hand(flatbuffer, steps, x)
    with Runtime(tmp_path / "net.tflite") as device:
        assert np.array_equal(np.stack([device.run(sample).output for sample in x]), expected)
        assert np.array_equal(device.run_batch(x), expected)


def test_the_temperature_is_what_the_proof_fits() -> None:
    x = np.random.default_rng(0).normal(size=(40, 10, 10, 3)).astype(np.float32)
    flatbuffer = compile_keras(network((10, 10, 3)), "float32")
    device = Runtime(pack_artifact(flatbuffer, describe(flatbuffer, temperature=1.7)))
    found = [device.run(sample) for sample in x]
    scaled = apply_temperature(np.stack([p.output for p in found]), 1.7)
    assert [p.confidence for p in found] == pytest.approx(scaled.max(axis=1), rel=1e-5)


@pytest.mark.parametrize("size", [(7, 40), (31, 8), (16, 16), (1, 1)])
def test_resize_and_crop_are_tensorflow_s(size: tuple[int, int]) -> None:
    import tensorflow as tf

    x = np.random.default_rng(0).integers(0, 256, (2, 17, 23, 3)).astype(np.float32)
    assert np.array_equal(Resize(*size, "nearest")(x), tf.image.resize(x, size, "nearest").numpy())
    assert Resize(*size)(x) == pytest.approx(tf.image.resize(x, size, "bilinear").numpy(), abs=1e-3)
    assert np.array_equal(CenterCrop(*size)(x), tf.image.resize_with_crop_or_pad(x, *size).numpy())
