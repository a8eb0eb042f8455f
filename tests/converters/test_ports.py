"""Models with several inputs or outputs, from the Keras file to the device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from edgeloop import Runtime, read_artifact
from edgeloop.errors import ConfigError, DataError
from edgeloop.preprocessing import Normalize, Scale
from edgeloop.profile import Profiler
from edgeloop_converters.conversion import Converted, try_convert
from edgeloop_converters.data import Dataset
from edgeloop_converters.packaging import Label
from edgeloop_converters.prepare import prepare
from edgeloop_converters.proof import Drop
from edgeloop_converters.tflite import output_first, port_names, run

pytestmark = pytest.mark.tf
STEPS = {"image": (Scale(1 / 16),), "extra": (Normalize((0.0, 0.0), (5.0, 100.0)),)}
LIMIT = Drop(0.02, relative=False)


class Task(NamedTuple):
    two_in: Any
    two_out: Any
    train: Dataset
    held_out: Dataset


@pytest.fixture(scope="module")
def task(digit_task) -> Task:
    """Digits and their brightness: one model takes both apart, one gives both out. Keras has them in this order."""
    import keras

    layers = keras.layers
    rng = np.random.default_rng(0)

    def named(data: Dataset) -> Dataset:
        extra = np.stack([data.x.mean(axis=(1, 2, 3)), rng.normal(size=len(data)) * 100], axis=1)
        return Dataset({"image": data.x, "extra": extra.astype("float32")}, data.y, source=data.source)

    train, held_out = named(digit_task.train), named(digit_task.held_out)
    keras.utils.set_random_seed(0)
    image, extra = layers.Input((8, 8, 1), name="image"), layers.Input((2,), name="extra")
    flat = layers.Flatten()(layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image))
    both = layers.Concatenate()([flat, layers.Dense(4, activation="relu")(extra)])
    two_in = keras.Model([image, extra], layers.Dense(10, activation="softmax", name="digit")(both))
    two_in.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    x, y = train.x, train.y
    two_in.fit([x["image"] / 16, x["extra"] / np.array([5, 100])], y, epochs=6, verbose=0)
    hidden = layers.Dense(16, activation="relu")(flat)
    digit, amount = layers.Dense(10, activation="softmax", name="digit")(hidden), layers.Dense(1, name="amount")(hidden)
    two_out = keras.Model(image, [amount, digit])
    two_out.compile(keras.optimizers.Adam(1e-2), ["mse", "sparse_categorical_crossentropy"])
    two_out.fit(x["image"] / 16, [x["image"].mean(axis=(1, 2, 3)) / 5, y], epochs=15, verbose=0)
    return Task(two_in, two_out, train, held_out)


@pytest.fixture(scope="module")
def converted(task) -> Converted:
    ready = prepare(task.two_in, task.train, task.held_out, preprocessing=STEPS, seed=0)
    return try_convert(ready, Label("two", summary="image"), max_drop=LIMIT, recipe="int8", thorough=True)


def test_each_input_is_calibrated_prepared_profiled_and_disturbed_by_itself(converted, task) -> None:
    assert converted.verdict.holds
    assert converted.after.value > 0.85
    manifest = read_artifact(converted.artifact.to_bytes()).manifest
    assert [spec.name for spec in manifest.inputs] == ["image", "extra"]  # the model's order, not the converter's
    assert {name: its.preprocessing for name, its in manifest.input_preparation.items()} == STEPS
    assert [f.name for f in manifest.baseline.inputs] == [
        "image.brightness", "image.contrast", "image.sharpness", "image.noise", "extra.x0", "extra.x1",
    ]  # fmt: skip
    disturbed = {row.name.partition(":")[0] for row in converted.proof.robustness}
    assert disturbed == {"none", "image", "extra"}
    assert [r.name for r in converted.proof.robustness].count("none") == 1


def test_a_device_feeds_raw_values_by_name_and_its_profile_fits_the_baseline(converted, task) -> None:
    x = {name: values[:200] for name, values in task.held_out.x.items()}
    with Runtime(converted.artifact) as runtime:
        together = runtime.run_batch(x)
        single = [runtime.run({name: values[i] for name, values in x.items()}).output for i in range(200)]
        seen = runtime.take_seen()
    assert np.array_equal(together, np.stack(single))
    assert (together.argmax(axis=1) == task.held_out.y[:200]).mean() > 0.85
    profile = Profiler(runtime.manifest.baseline).profile(seen.inputs, seen.outputs)
    assert profile.counts.shape == runtime.manifest.baseline.counts.shape
    own = profile.split(runtime.manifest.baseline.features)
    assert all(0.5 < c[:-1].max() / 20 < 4 for c in own[:6])  # the same data again: no bin of ten is far from a tenth


def test_a_quantizer_of_files_takes_several_inputs_too(task) -> None:
    ready = prepare(task.two_in, task.train, task.held_out, preprocessing=STEPS, seed=0)
    made = try_convert(ready, Label("two"), max_drop=LIMIT, recipe="int8-litert")
    assert made.verdict.holds
    assert [spec.name for spec in made.artifact.manifest.inputs] == ["image", "extra"]


@pytest.mark.parametrize(
    ("change", "steps", "error", "says"),
    [
        (lambda x: x["image"], STEPS, DataError, "one unnamed input, the model takes image .*x.image, x.extra"),
        (lambda x: {"image": x["image"]}, STEPS, DataError, r"has the inputs image .*takes image .*, extra \(2,\)"),
        (lambda x: {**x, "extra": x["extra"][:, :1]}, STEPS, DataError, "input 'extra': .*"),
        (lambda x: x, (Scale(2),), ConfigError, "for one input, and the model has image, extra"),
        (lambda x: x, {"picture": (Scale(2),)}, ConfigError, "the input 'picture'"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(task, change, steps, error, says) -> None:
    train = Dataset(change(task.train.x), task.train.y)
    with pytest.raises(error, match=says):
        prepare(task.two_in, train, task.held_out, preprocessing=steps, seed=0)


def test_the_output_that_fits_the_labels_is_measured_and_comes_first_on_the_device(task) -> None:
    train, held_out = (Dataset(d.x["image"], d.y) for d in (task.train, task.held_out))
    ready = prepare(task.two_out, train, held_out, preprocessing=(Scale(1 / 16),), seed=0)
    made = try_convert(ready, Label("two"), max_drop=LIMIT, recipe="int8", thorough=True)
    assert made.before.value > 0.8
    assert [spec.name for spec in made.artifact.manifest.outputs] == ["digit", "amount"]
    with Runtime(made.artifact) as runtime:
        said = runtime.run(held_out.x[0])
    assert said.index == made.result.outputs[0].argmax()
    assert set(said.outputs) == {"digit", "amount"}
    other = made.proof.other_outputs[0]
    assert other.name == "amount"
    assert 0 < other.nrmse < 0.2


def test_an_output_can_be_chosen_and_one_that_is_not_there_is_named(task) -> None:
    image = {"preprocessing": (Scale(1 / 16),), "seed": 0}
    train, held_out = (
        Dataset(d.x["image"], d.x["image"].mean(axis=(1, 2, 3)) / 5) for d in (task.train, task.held_out)
    )
    ready = prepare(task.two_out, train, held_out, output="amount", metric="rmse", **image)
    assert ready.model.output_names[0] == "amount"
    with pytest.raises(ConfigError, match=r"no output 'sum': its outputs are amount \(1,\), digit \(10,\)"):
        prepare(task.two_out, train, held_out, output="sum", metric="rmse", **image)
    with pytest.raises(ConfigError, match=r"none of them has the shape .*--output-name"):
        prepare(task.two_out, train, Dataset(held_out.x, np.zeros((len(held_out), 3))), metric="rmse", **image)


def test_a_file_s_outputs_change_places_and_nothing_else(converted, task) -> None:
    from edgeloop_converters.compile import compile_keras

    plain = compile_keras(task.two_out, "float32")
    assert port_names(plain) == (("image",), ("amount", "digit"))
    swapped = output_first(plain, "digit")
    assert port_names(swapped) == (("image",), ("digit", "amount"))
    x = task.held_out.x["image"][:5] / np.float32(16)
    assert all(np.array_equal(a, b) for a, b in zip(run(plain, x), run(swapped, x)[::-1], strict=True))
