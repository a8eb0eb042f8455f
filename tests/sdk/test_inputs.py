"""Models with several inputs: by name, each with its own preprocessing and summary, observed as one row."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from edgeloop.artifact import pack_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.errors import InputError, ManifestDamagedError
from edgeloop.manifest import InputPreparation, Manifest, ModelFile, utc_now
from edgeloop.preprocessing import Category, Resize, Scale, Vocabulary
from edgeloop.profile import Profiler
from edgeloop.runtime import Runtime
from edgeloop.summaries import Part
from small_graphs import sum_and_product

X = np.array([0.0, 1.0, 0.0, 0.0], dtype=np.float32)


def two_ports(**fields: object) -> Runtime:
    model = sum_and_product()
    backend = open_backend(model)
    manifest = Manifest(
        name="two",
        version=1,
        created=utc_now(),
        model=ModelFile("0" * 64, 8),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="regression",
        **fields,
    )
    return Runtime(pack_artifact(model, manifest))


def test_several_inputs_and_outputs_go_by_the_signature_s_names() -> None:
    runtime = two_ports()
    a, b = np.array([1, 2, 3, 4], np.float32), np.array([5, 6, 7, 8])
    prediction = runtime.run({"my_b": b, "my_a": a}, ref="r")
    assert prediction.output.tolist() == (a + b).tolist()
    assert {name: x.tolist() for name, x in prediction.outputs.items()} == {
        "my_sum": (a + b).tolist(),
        "my_product": (a * b).tolist(),
    }
    batch = {"my_a": np.stack([a] * 40), "my_b": np.stack([b] * 40)}
    assert np.array_equal(runtime.run_batch_outputs(batch)["my_product"], np.stack([a * b] * 40))
    assert np.array_equal(runtime.run_batch(batch), np.stack([a + b] * 40))
    assert runtime.take_seen().inputs.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]


def test_inputs_that_are_missing_or_unnamed_are_refused_by_name() -> None:
    runtime = two_ports()
    with pytest.raises(InputError, match="takes 2 inputs, by name: my_a, my_b"):
        runtime.run(X)
    with pytest.raises(InputError, match="inputs named my_a, x: 'two' takes my_a, my_b"):
        runtime.run({"my_a": X, "x": X})
    with pytest.raises(InputError, match=r"different numbers of samples: \[2, 3\]"):
        runtime.run_batch({"my_a": np.zeros((2, 4)), "my_b": np.zeros((3, 4))})


def test_one_preprocessing_for_several_inputs_is_refused() -> None:
    with pytest.raises(ManifestDamagedError, match="one preprocessing for the inputs my_a, my_b"):
        two_ports(preprocessing=(Scale(2),))
    with pytest.raises(ManifestDamagedError, match="prepares the input 'a', and the model has my_a, my_b"):
        two_ports(input_preparation={"a": InputPreparation((Scale(2),))})


def test_each_of_several_inputs_has_its_own_preprocessing_and_is_seen_as_it_came() -> None:
    steps = {
        "my_a": InputPreparation((Resize(1, 4, "nearest"),), (2, 4)),
        "my_b": InputPreparation((Vocabulary((Category(0, ("off", "on")),)), Scale(2))),
    }
    runtime = two_ports(input_preparation=steps)
    a, b = np.arange(8, dtype=np.uint8).reshape(2, 4), np.array(["on", 3, 4, 5], object)
    said = runtime.run({"my_a": a, "my_b": b})
    assert said.output.tolist() == [4 + 2 * 2, 5 + 6, 6 + 8, 7 + 10]
    assert runtime.take_seen().inputs.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 4, 5]]
    together = runtime.run_batch({"my_a": np.stack([a] * 3), "my_b": np.stack([b] * 3)})
    assert np.array_equal(together, np.stack([said.output] * 3))
    with pytest.raises(InputError, match=r"'two: my_a' takes \(2, 4\)"):
        runtime.run({"my_a": a[0], "my_b": b})


def test_several_inputs_are_profiled_each_by_its_own_summary() -> None:
    rng = np.random.default_rng(0)
    parts = (Part("my_a", (2, 2), "columns"), Part("my_b", (4, 5), "image"))
    rows = np.concatenate([rng.normal(size=(80, 4)), rng.uniform(size=(80, 20))], axis=1).astype(np.float32)
    baseline = fit_baseline(rows, None, summary="columns", parts=parts)
    assert [f.name for f in baseline.inputs] == [
        "my_a.x0", "my_a.x1", "my_a.x2", "my_a.x3",
        "my_b.brightness", "my_b.contrast", "my_b.sharpness", "my_b.noise",
    ]  # fmt: skip
    again = msgspec.json.decode(msgspec.json.encode(baseline), type=Baseline)
    assert np.array_equal(Profiler(again).profile(rows, None).counts, baseline.counts)
    darker = rows.copy()
    darker[:, 4:] *= 0.1
    moved = Profiler(again).profile(darker, None).split(baseline.features)
    same = [np.array_equal(c, f.counts) for c, f in zip(moved, baseline.features, strict=True)]
    assert same[:4] == [True] * 4
    assert same[4:6] == [False] * 2
    with pytest.raises(InputError, match="rows of 23 values: the inputs my_a, my_b have 24"):
        again.summarize(rows[:, :23])


def test_a_single_input_s_baseline_is_written_as_before() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3))
    written = msgspec.json.decode(msgspec.json.encode(fit_baseline(rows, None, summary="columns")))
    assert sorted(written) == ["inputs", "outputs", "summary"]  # what devices of before read


def test_a_single_input_may_be_given_by_its_name(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    assert runtime.run({"x": X}).index == 1
    assert runtime.take_seen().inputs.tolist() == [X.tolist()]
