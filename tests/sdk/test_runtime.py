from __future__ import annotations

import numpy as np
import pytest

from edgeloop.artifact import pack_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import output_features
from edgeloop.errors import GoldenMismatchError, InputError, ManifestDamagedError, MissingExtraError, ModelError
from edgeloop.manifest import Golden, Manifest, ModelFile, TensorSpec, utc_now
from edgeloop.prediction import OutputReader, Prediction
from edgeloop.preprocessing import Category, Impute, Resize, Scale, Vocabulary, preprocess
from edgeloop.quantization import dequantize, quantize
from edgeloop.runtime import Runtime
from edgeloop.sampler import uncertainty
from small_graphs import where_nonzero
from tiny_models import WEIGHTS, tiny_model

X = np.array([0.0, 1.0, 0.0, 0.0], dtype=np.float32)


def test_a_prediction_has_class_label_and_confidence(make_artifact) -> None:
    with Runtime(make_artifact()) as runtime:
        prediction = runtime.run(X)
    logits = np.exp(WEIGHTS @ X)
    assert prediction.output == pytest.approx(logits / logits.sum(), rel=1e-5)
    assert (prediction.index, prediction.label) == (1, "b")
    assert prediction.confidence == pytest.approx(prediction.output[1])
    assert prediction.latency_us > 0


@pytest.mark.parametrize(("x", "index", "confidence"), [(0.2, 0, 0.8), (0.5, 1, 0.5), (0.9, 1, 0.9)])
def test_a_classifier_of_one_output_answers_class_1_from_a_half_on(x, index, confidence) -> None:
    manifest = Manifest(
        name="one", version=1, created=utc_now(), model=ModelFile("0" * 64, 8), inputs=(), outputs=(),
        task="classification", labels=("off", "on"),
    )  # fmt: skip
    reader = OutputReader(manifest, (TensorSpec("p", (1, 1), "float32"),))
    said = Prediction(np.array([x], np.float32), reader, 0)
    assert (said.index, said.label) == (index, ("off", "on")[index])
    assert said.confidence == pytest.approx(confidence)
    outputs = np.array([[x]] * 3, np.float32)
    assert output_features(outputs, 2)[:, 2].tolist() == [index] * 3
    assert np.isfinite(uncertainty(outputs)).all()


def test_preprocessing_from_the_manifest_is_run(make_artifact) -> None:
    plain, scaled = Runtime(make_artifact()), Runtime(make_artifact(preprocessing=(Scale(0.5, 0.25),)))
    assert np.array_equal(scaled.run((X - 0.25) / 0.5).output, plain.run(X).output)


def test_a_batch_gives_what_single_calls_give(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    x = np.random.default_rng(0).normal(size=(20, 4))
    assert np.array_equal(runtime.run_batch(x), np.stack([runtime.run(row).output for row in x]))
    assert runtime.run_batch(x[:0]).shape == (0, 3)


def test_what_was_seen_is_taken_once_oldest_first(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    for i in range(3):
        runtime.run(X + i, ref=str(i))
    seen = runtime.take_seen()
    assert seen.refs == ["0", "1", "2"]
    assert np.array_equal(seen.inputs, np.stack([X, X + 1, X + 2]))
    assert len(runtime.take_seen()) == 0
    runtime.run(X, ref="3")
    assert runtime.take_seen().refs == ["3"]


def test_the_ring_keeps_the_newest_and_counts_the_rest(make_artifact) -> None:
    runtime = Runtime(make_artifact(), memory_bytes=4 * (X.nbytes + 12))
    for i in range(10):
        runtime.run(X, ref=str(i))
    seen = runtime.take_seen()
    assert seen.refs == ["6", "7", "8", "9"]
    assert seen.overwritten == 6
    runtime.run(X, ref="10")
    seen = runtime.take_seen()
    assert (seen.refs, seen.overwritten) == (["10"], 0)


def test_inputs_of_a_wider_dtype_are_kept_as_they_were(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    runtime.run(np.array([1, 2, 3, 4], dtype=np.uint8))
    runtime.run(np.array([0.5, 0, 0, 0], dtype=np.float32))
    assert runtime.take_seen().inputs[:, 0].tolist() == [1, 0.5]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((1, 4)), r"shape \(1, 4\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.array([0, 0, np.nan, 0]), "NaN"),
        (np.array([0, 0, np.inf, 0]), "infinity"),
        (np.array(["a", "b", "c", "d"]), "numbers"),
        (np.array([None, 1, 2, 3], dtype=object), "numbers"),
        (np.zeros(4, dtype=complex), "numbers"),
    ],
)
def test_a_bad_input_says_what_was_expected_and_is_not_seen(make_artifact, x: np.ndarray, said: str) -> None:
    runtime = Runtime(make_artifact())
    with pytest.raises(InputError, match=said):
        runtime.run(x)
    assert len(runtime.take_seen()) == 0
    assert runtime.run(X).index == 1


def test_a_model_that_fails_its_golden_input_is_refused(make_artifact) -> None:
    good = Runtime(make_artifact()).run(X).output
    Runtime(make_artifact(golden=Golden((X.tobytes(),), (good.tobytes(),), atol=1e-3)))
    wrong = Golden((X.tobytes(),), (np.roll(good, 1).tobytes(),), atol=1e-3)
    with pytest.raises(GoldenMismatchError, match="golden input"):
        Runtime(make_artifact(golden=wrong))


def test_a_golden_input_that_does_not_fit_is_refused(make_artifact) -> None:
    with pytest.raises(ManifestDamagedError, match="doesn't fit"):
        Runtime(make_artifact(golden=Golden((b"123",), (b"",), atol=1)))


def test_a_manifest_that_speaks_of_other_inputs_is_refused(make_artifact) -> None:
    manifest = make_artifact(inputs=(TensorSpec("x", (1, 5), "float32"),)).manifest
    with pytest.raises(ManifestDamagedError, match=r"\[1, 5\]"):
        Runtime(pack_artifact(tiny_model(), manifest))


def test_an_unknown_backend_and_one_that_is_not_installed(make_artifact) -> None:
    with pytest.raises(ValueError, match="litert, tflite-runtime, tensorflow"):
        Runtime(make_artifact(), backend="onnx")
    try:
        import tflite_runtime  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"edgeloop\[legacy\]"):
            Runtime(make_artifact(), backend="tflite-runtime")


def test_reference_kernels_run_too(make_artifact) -> None:
    assert Runtime(make_artifact(), kernels="reference").run(X).index == 1


def test_a_custom_op_is_refused_by_the_interpreter_with_a_clear_error(make_artifact) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(tiny_model(), 0)
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = b"my_op"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(ModelError, match="litert refuses"):
        Runtime(pack_artifact(bytes(builder.Output()), make_artifact().manifest))


def test_quantization_rounds_and_clips_and_comes_back() -> None:
    spec = TensorSpec("x", (1, 4), "int8", scale=0.5, zero_point=-1)
    stored = quantize(spec, np.array([0, 0.5, 1000, -1000], dtype=np.float32))
    assert stored.tolist() == [-1, 0, 127, -128]
    assert dequantize(spec, stored[:2]).tolist() == [0, 0.5]


def test_samples_of_another_shape_than_the_model_s_are_brought_to_it(make_artifact) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    artifact = make_artifact(preprocessing=(Resize(1, 4, "nearest"),), sample_shape=image.shape)
    runtime = Runtime(artifact)
    assert np.array_equal(runtime.run(image).output, Runtime(make_artifact()).run(image[2, [0, 2, 3, 5]]).output)
    assert np.array_equal(runtime.take_seen().inputs[0], image)
    with pytest.raises(InputError, match=r"shape \(1, 4\): 'tiny' takes \(4, 6\)"):
        runtime.run(image[:1, :4])


def test_preprocessing_that_does_not_lead_to_the_model_is_refused_on_loading(make_artifact) -> None:
    with pytest.raises(InputError, match=r"makes inputs of shape \(2, 2\)"):
        Runtime(make_artifact(preprocessing=(Resize(2, 2),), sample_shape=(5, 5)))


def test_rows_with_strings_and_gaps_are_run_and_seen_as_numbers(make_artifact) -> None:
    steps = (Vocabulary((Category(0, ("off", "on")),)), Impute((0, 0.5, 0), (1,)))
    runtime = Runtime(make_artifact(preprocessing=steps, sample_shape=(3,)))
    row = np.array(["on", None, 2.5], dtype=object)
    expected = Runtime(make_artifact()).run(np.array([2, 0.5, 2.5, 1])).output
    assert np.array_equal(runtime.run(row).output, expected)
    assert np.array_equal(runtime.run_batch(np.stack([row, row])), [expected, expected])
    assert np.array_equal(runtime.take_seen().inputs, [[2, np.nan, 2.5]], equal_nan=True)


def test_temperature_changes_the_confidence_and_nothing_else(make_artifact) -> None:
    plain, cool = Runtime(make_artifact()).run(X), Runtime(make_artifact(temperature=2.5)).run(X)
    scaled = plain.output ** (1 / 2.5)
    assert cool.confidence == pytest.approx(scaled.max() / scaled.sum(), rel=1e-5)
    assert (cool.index, cool.label) == (plain.index, plain.label)
    assert np.array_equal(cool.output, plain.output)
    with pytest.raises(ManifestDamagedError, match="temperature"):
        make_artifact(temperature=0.0)


SCALE, ZERO_POINT = 0.3910152316093445, 89


@pytest.fixture(scope="module")
def autoencoder(shared_dir):
    """MLPerf Tiny's ad01_int8 (int8 in, int8 out) behind any preprocessing."""
    model = (shared_dir / "models" / "ad01_int8.tflite").read_bytes()
    backend = open_backend(model)

    def make(*steps: object) -> Runtime:
        manifest = Manifest(
            name="ad01",
            version=1,
            created=utc_now(),
            model=ModelFile("0" * 64, len(model)),
            inputs=backend.inputs,
            outputs=backend.outputs,
            task="regression",
            preprocessing=steps,
        )
        return Runtime(pack_artifact(model, manifest))

    return make


def test_a_stored_input_says_and_is_seen_as_the_real_values_it_stands_for(autoencoder) -> None:
    runtime, stored = autoencoder(), np.random.default_rng(0).integers(-128, 128, (1, 640)).astype(np.int8)
    real = dequantize(runtime.manifest.inputs[0], stored)[0]
    assert np.array_equal(runtime.run_stored(stored, ref="a").output, runtime.run(real, ref="b").output)
    seen = runtime.take_seen()
    assert seen.refs == ["a", "b"]
    assert np.array_equal(seen.inputs, [real, real])
    assert np.array_equal(seen.outputs[0], seen.outputs[1])


def test_a_stored_input_of_another_form_or_before_preprocessing_is_refused(autoencoder) -> None:
    runtime = autoencoder()
    for wrong in (np.zeros((1, 640), np.uint8), np.zeros(640, np.int8), np.zeros((2, 640), np.int8)):
        with pytest.raises(InputError, match=r"'ad01' takes int8\[1, 640\]"):
            runtime.run_stored(wrong)
    with pytest.raises(InputError, match="has preprocessing"):
        autoencoder(Scale(2)).run_stored(np.zeros((1, 640), np.int8))
    assert len(runtime.take_seen()) == 0


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("offset", [0, -128, 5])
def test_sensors_of_8_bits_give_the_bits_of_their_real_values_and_are_seen_as_they_were(
    autoencoder, step: int, dtype: type, offset: int
) -> None:
    scaling = Scale(SCALE, SCALE * (offset - ZERO_POINT))
    runtime = autoencoder(scaling)
    x = np.random.default_rng(1).integers(0, 256, 640).astype(np.uint8).view(dtype)[::step]
    expected = autoencoder().run(preprocess((scaling,), x[None])[0]).output
    assert np.array_equal(runtime.run(x).output, expected)
    seen = runtime.take_seen().inputs
    assert seen.dtype == dtype
    assert np.array_equal(seen[0], x)


def test_predictions_and_what_was_seen_do_not_change_with_later_calls_or_the_caller_s_arrays(make_artifact) -> None:
    runtime, x = Runtime(make_artifact()), X.copy()
    first = runtime.run(x)
    x[:] = [9, 0, 0, 0]
    runtime.run(x)
    assert first.index == 1
    first.output[:] = 0
    seen = runtime.take_seen()
    assert np.array_equal(seen.inputs[0], X)
    assert seen.outputs[0].sum() == pytest.approx(1)


def test_a_prediction_is_shown_by_what_it_says(make_artifact) -> None:
    assert repr(Runtime(make_artifact()).run(X)).startswith("Prediction(index=1, label='b', confidence=0.")


def test_every_real_dtype_is_run_and_seen_in_turn(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    dtypes = ["int8", "uint8", "int16", "int32", "bool", "float16", "float32", "float64", ">f4", ">i2"]
    answers = [runtime.run(X.astype(dtype)).output for dtype in dtypes * 2]
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    seen = runtime.take_seen().inputs
    assert seen.dtype == np.float32
    assert np.array_equal(seen, np.tile(X, (20, 1)))


@pytest.mark.parametrize("name", ["litert", pytest.param("tensorflow", marks=pytest.mark.tf)])
def test_the_short_way_to_the_interpreter_gives_what_its_public_calls_give(name: str) -> None:
    backend = open_backend(tiny_model(), name)
    interpreter = backend._load()
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], X[np.newaxis])
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.array_equal(backend.invoke([X[np.newaxis]])[0], expected)
    copying = backend._copying(interpreter.get_input_details()[0])
    for memory, invoke, read in ((backend.memory, backend.invoke_memory, backend.read), copying):
        memory[0] = X
        invoke()
        assert read() == expected.tobytes()
    assert not backend.memory.flags.owndata  # the interpreter's own memory


def test_a_model_whose_output_has_the_size_that_the_data_give_runs_and_is_seen() -> None:
    model = where_nonzero()
    backend = open_backend(model)
    assert backend.memory.flags.owndata  # the interpreter may move its own at any call
    manifest = Manifest(
        name="where",
        version=1,
        created=utc_now(),
        model=ModelFile("0" * 64, 8),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="regression",
    )
    runtime = Runtime(pack_artifact(model, manifest))
    for x, found in (([0, 1, 0, 0], [[0, 1]]), ([1, 1, 0, 1], [[0, 0], [0, 1], [0, 3]])):
        (answer,) = runtime._backend.invoke([np.array([x], np.float32)])
        assert answer.tolist() == found
        assert runtime.run(np.array(x, np.float32)).output.tolist() == (found if len(found) > 1 else found[0])
    assert runtime.take_seen().outputs.shape == (2, 0)


def test_a_number_beyond_float32_is_refused_without_a_warning(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    with pytest.raises(InputError, match="infinity"):
        runtime.run(np.full(4, 1e300))


def test_a_prediction_is_decoded_once_into_memory_of_its_own(make_artifact) -> None:
    runtime = Runtime(make_artifact())
    first, second = runtime.run(X), runtime.run(X)
    assert first.output is first.output
    assert first.outputs is first.outputs
    first.output[:] = 0
    assert second.output.any()
    assert runtime.take_seen().outputs.any(axis=1).all()
