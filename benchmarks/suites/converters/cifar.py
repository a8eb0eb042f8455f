"""A residual CNN on real images, through the converter: `python benchmarks/suites/converters/cifar.py PART`.

PART is `train` (the model), `int8` (against float32 in one run), `compact` (pruned and distilled), `search` (three
budgets, and how long it takes) or `peers` (other converters' stock recipes). Tables go to standard error, JSON to
standard output. The data is a subset of CIFAR-10 (Krizhevsky, 2009): `../shared/data/cifar10.npz`, or EDGELOOP_SHARED.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.artifact import read_artifact, write_artifact
from edgeloop.preprocessing import Scale
from edgeloop_converters.attempts import Limits
from edgeloop_converters.conversion import Converted, try_convert
from edgeloop_converters.data import load_dataset
from edgeloop_converters.evaluate import measure_speed
from edgeloop_converters.facts import candidate_facts, finite
from edgeloop_converters.packaging import Label
from edgeloop_converters.prepare import Prepared, prepare
from edgeloop_converters.proof import Drop
from edgeloop_converters.quiet import quiet_tensorflow
from edgeloop_converters.recipes import Compile, Distil, Prune, Recipe
from edgeloop_converters.recipes.augment import flip_shift
from edgeloop_converters.report import render
from edgeloop_converters.tflite import run

REPO = Path(__file__).resolve().parents[3]
SCALE = Scale(1 / 255)
COMPACT = Recipe(
    "prune-31.25-by-4-distil-9-0.005-int8",
    (
        Prune(ratio=0.3125),
        Distil(epochs=9, learning_rate=5e-3, augment="flip_shift"),
        Compile(scheme="int8"),
    ),
)


def data_file() -> Path:
    path = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared")) / "data" / "cifar10.npz"
    if not path.exists():
        sys.exit(f"no data at {path}: set EDGELOOP_SHARED")
    return path


def train(path: Path, epochs: int) -> None:
    """ResNet8 of MLPerf Tiny (Banbury et al., 2021), trained on 10,000 images."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers

    def conv(x: Any, filters: int, size: int = 3, strides: int = 1, *, norm: bool = True) -> Any:
        options = {"kernel_initializer": "he_normal", "kernel_regularizer": keras.regularizers.L2(2e-4)}
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=not norm, **options)(x)
        return layers.BatchNormalization()(x) if norm else x

    image = layers.Input((32, 32, 3))
    x = layers.ReLU()(conv(image, 16))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = conv(layers.ReLU()(conv(x, filters, strides=strides)), filters)
        short = x if strides == 1 else conv(x, filters, 1, strides, norm=False)
        x = layers.ReLU()(layers.Add()([short, y]))
    answer = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, answer)
    data = np.load(data_file())
    x_train, y_train = data["x_train"].astype("float32") / 255, data["y_train"].ravel()
    steps = -(-len(x_train) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        order = rng.permutation(len(x_train))
        for rows in np.array_split(order, steps):
            loss = model.train_on_batch(flip_shift(x_train[rows], rng), y_train[rows])
        print(f"epoch {epoch + 1} of {epochs}: loss {float(loss[0]):.3f}", file=sys.stderr, flush=True)
    model.save(path)
    held = model.predict(data["x_test"].astype("float32") / 255, verbose=0).argmax(axis=1)
    show({"parameters": model.count_params(), "accuracy": float((held == data["y_test"].ravel()).mean())})


def prepared_from(path: Path) -> Prepared:
    import keras

    model = keras.models.load_model(path, compile=False)
    train_set, held_out = (load_dataset(data_file(), split=split) for split in ("train", "test"))
    return prepare(model, train_set, held_out, preprocessing=(SCALE,), seed=0)


def tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


def by_recipe(prepared: Prepared, recipe: Recipe | str) -> Converted:
    return try_convert(
        prepared, Label("resnet8", summary="image"), max_drop=Drop(0.01, relative=False), recipe=recipe, tell=tell
    )


def sides(converted: Converted) -> dict[str, Any]:
    before, after = converted.before, converted.after
    speed = converted.result.speed
    assert speed is not None
    return {
        "recipe": converted.recipe.name,
        "accuracy": [before.value, after.value],
        "points_lost": 100 * converted.drop,
        "bytes": [before.size_bytes, after.size_bytes],
        "times_smaller": before.size_bytes / after.size_bytes,
        "latency_us": [before.latency_us, after.latency_us],
        "times_faster": 1 / speed.of_original.value,
        "findings": [f.code for f in converted.findings],
    }


def compact(prepared: Prepared, artifact: Path | None) -> dict[str, Any]:
    """Pruned and distilled; its latency in one run with int8 alone."""
    small, plain = by_recipe(prepared, COMPACT), by_recipe(prepared, "int8")
    if artifact is not None:
        write_artifact(artifact, small.artifact)
    _, speeds = measure_speed(plain.artifact.model, {"compact": small.artifact.model}, prepared.x_eval, min_time_s=1.0)
    return sides(small) | {"times_faster_than_int8": 1 / speeds["compact"].of_original.value}


def search(prepared: Prepared, report: Path | None) -> dict[str, Any]:
    """`--max-drop 1% --max-size 62kB --max-latency 2ms`, on two workers, nothing cached."""
    start = time.monotonic()
    found = try_convert(
        prepared,
        Label("resnet8", summary="image"),
        max_drop=Drop(0.01, relative=False),
        max_size_bytes=62_000,
        max_latency_us=2000.0,
        limits=Limits(workers=2),
        thorough=report is not None,
        tell=tell,
    )
    seconds = time.monotonic() - start
    if report is not None:
        report.write_text(render(found), encoding="utf-8")
    return sides(found) | {
        "seconds": seconds,
        "holds": found.verdict.holds,
        "verdict": found.verdict.text.splitlines(),
        "tried": [{**candidate_facts(c), "recipe": c.recipe.name} for c in found.candidates],
    }


def peers(prepared: Prepared, artifact: Path | None) -> dict[str, Any]:
    """The same model, data and machine: each converter's own recipes; and `artifact`, which `compact` has made."""
    import tensorflow as tf
    from litert_quantizer import Quantizer
    from litert_quantizer import recipe as stock

    data = prepared.recipe_data()
    samples = [np.asarray(data.calibration[i : i + 1]) for i in range(len(data.calibration))]

    def tensorflow(**options: Any) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(prepared.model)
        for name, value in options.items():
            setattr(converter, name, value)
        return bytes(converter.convert())

    plain = tensorflow()
    full = {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: ([s] for s in samples),
        "inference_input_type": tf.int8,
        "inference_output_type": tf.int8,
    }
    made = {
        "TensorFlow, default": tensorflow(optimizations=[tf.lite.Optimize.DEFAULT]),
        "TensorFlow, int8": tensorflow(**full),
    }
    from edgeloop_converters.tflite import describe

    key = describe(plain).signatures[0]
    feed = {key.key: [{next(iter(key.inputs)): s} for s in samples]}
    for name in ("dynamic_wi8_afp32", "static_wi8_ai8"):
        quantizer = Quantizer(plain, getattr(stock, name)())
        result = quantizer.calibrate(feed) if quantizer.need_calibration else None
        made[f"litert-quantizer, {name}"] = bytes(quantizer.quantize(result).quantized_model)
    for name in ("int8", "int8-litert", "float16"):
        made[f"edgeloop, {name}"] = by_recipe(prepared, name).artifact.model
    if artifact is not None:
        made["edgeloop, prune+distil+int8"] = read_artifact(artifact).model
    own, speeds = measure_speed(plain, made, prepared.x_eval, min_time_s=1.0)
    rows = []
    for name, model in {"TensorFlow, float32": plain, **made}.items():
        answers = run(model, prepared.x_eval)[0].argmax(axis=1)
        latency = own.median_us if model is plain else speeds[name].latency.median_us
        accuracy = float((answers == prepared.y_eval).mean())
        rows.append({"converter": name, "accuracy": accuracy, "bytes": len(model), "latency_us": latency})
        print(f"{name:36}{accuracy:9.4f}{len(model):10,}{latency:9.1f} µs", file=sys.stderr)
    try:
        import tensorflow_model_optimization as _  # noqa: F401

        optimizer = "loads"
    except ImportError as error:
        optimizer = f"doesn't load: {error}"
    return {"rows": rows, "tensorflow-model-optimization": optimizer}


def show(found: dict[str, Any]) -> None:
    print(json.dumps(finite(found), indent=1, default=str))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "int8", "compact", "search", "peers"))
    parser.add_argument("--model", type=Path, default=Path(tempfile.gettempdir()) / "resnet8.keras")
    parser.add_argument("--epochs", type=int, default=25, help="of `train` (default: 25)")
    parser.add_argument("--artifact", type=Path, help="`compact` writes it here, `peers` compares it too")
    parser.add_argument("--report", type=Path, help="of `search`: write its page here")
    args = parser.parse_args()
    quiet_tensorflow()
    if args.part == "train":
        train(args.model, args.epochs)
        return
    prepared = prepared_from(args.model)
    parts = {
        "int8": lambda: sides(by_recipe(prepared, "int8")),
        "compact": lambda: compact(prepared, args.artifact),
        "search": lambda: search(prepared, args.report),
        "peers": lambda: peers(prepared, args.artifact),
    }
    show(parts[args.part]())


if __name__ == "__main__":
    main()
