"""Files of every kind that people have, and what is said of those that can't be used."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import ArtifactError, MissingExtraError, ModelError
from edgeloop_converters import load_model
from edgeloop_converters.models import load_keras

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    joined = keras.layers.concatenate([left, right])
    outputs = [keras.layers.Dense(3, name="kind")(joined), keras.layers.Dense(1, name="age")(joined)]
    path = tmp_path_factory.mktemp("keras") / "two.keras"
    keras.Model([left, right], outputs).save(path)
    return path


@pytest.fixture(scope="module")
def keras_2_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that Keras 3 can't read: an operator between layers is a TFOpLambda in Keras 2."""
    import tf_keras

    x = tf_keras.Input((4,), name="x")
    path = tmp_path_factory.mktemp("keras2") / "old.h5"
    with pytest.warns(UserWarning, match="HDF5"):
        tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(x * 2.0)).save(path)
    return path


def test_a_keras_file_has_its_inputs_and_outputs_by_name(keras_file: Path) -> None:
    model = load_model(keras_file)
    assert model.kind == "keras"
    assert [(p.name, p.shape) for p in model.inputs] == [("left", (None, 6)), ("right", (None, 4))]
    assert [(p.name, p.shape) for p in model.outputs] == [("kind", (None, 3)), ("age", (None, 1))]
    assert load_keras(keras_file).count_params() == 44


def test_a_sequential_network_is_named_by_its_last_layer(tmp_path: Path) -> None:
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="last")]).save(tmp_path / "net.keras")
    model = load_model(tmp_path / "net.keras")
    assert (model.input_shape, model.outputs[0].name) == ((None, 4), "last")


def test_a_network_that_was_never_built_is_refused(tmp_path: Path) -> None:
    import keras

    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.Dense(2)]).save(tmp_path / "net.keras")
    with pytest.raises(ModelError, match="inputs aren't known"):
        load_model(tmp_path / "net.keras")


def test_a_step_for_one_input_refuses_two_by_name(keras_file: Path) -> None:
    with pytest.raises(ModelError, match=r"2 inputs \(left, right\)"):
        _ = load_model(keras_file).input_shape


def test_the_published_legacy_h5_file_loads(shared_dir: Path) -> None:
    model = load_model(shared_dir / "models" / "ad01.h5")
    assert (model.kind, model.input_shape, model.output_shape) == ("keras", (None, 640), (None, 640))


def test_an_h5_file_that_keras_3_refuses_is_read_by_keras_2_and_a_note_says_so(keras_2_file: Path) -> None:
    model = load_model(keras_2_file)
    assert (model.kind, model.input_shape, model.output_shape) == ("tf_keras", (None, 4), (None, 2))
    assert "TFOpLambda" in model.notes[0]
    assert "Keras 2" in model.notes[0]
    with pytest.raises(ModelError, match="build it again with Keras 3"):
        load_keras(keras_2_file)


def test_the_code_in_a_lambda_layer_is_not_run(tmp_path: Path) -> None:
    import tf_keras

    x = tf_keras.Input((4,))
    with pytest.warns(UserWarning, match="HDF5"):
        tf_keras.Model(x, tf_keras.layers.Lambda(lambda v: v * 2)(x)).save(tmp_path / "code.h5")
    with pytest.raises(ModelError, match="Lambda layer holds Python code"):
        load_model(tmp_path / "code.h5")


def test_the_published_saved_model_has_one_signature(shared_dir: Path) -> None:
    model = load_model(shared_dir / "models" / "kws_savedmodel")
    assert (model.kind, model.signature, model.notes) == ("saved_model", "serving_default", ())
    assert (model.input_shape, model.output_shape) == ((None, 49, 10, 1), (None, 12))


def test_a_signature_of_several_is_chosen_or_named(tmp_path: Path) -> None:
    import tensorflow as tf

    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 3), name="x")])
        def double(self, x):
            return {"y": x * 2}

        @tf.function(input_signature=[tf.TensorSpec((None, 3), name="x")])
        def total(self, x):
            return {"sum": tf.reduce_sum(x, axis=1, keepdims=True)}

    two = Two()
    tf.saved_model.save(two, str(tmp_path / "named"), signatures={"double": two.double, "total": two.total})
    assert load_model(tmp_path / "named", signature="total").output_shape == (None, 1)
    with pytest.raises(ModelError, match=r"no single signature to take \(it has double, total"):
        load_model(tmp_path / "named")
    with pytest.raises(ModelError, match="no signature 'third', but double, total"):
        load_model(tmp_path / "named", signature="third")
    tf.saved_model.save(two, str(tmp_path / "default"), signatures={"serving_default": two.double, "total": two.total})
    assert load_model(tmp_path / "default").notes == ("took the signature 'serving_default'; it also has total",)
    tf.saved_model.save(two, str(tmp_path / "none"))
    with pytest.raises(ModelError, match="it has none"):
        load_model(tmp_path / "none")


def test_a_saved_model_with_state_is_refused_by_the_name_of_its_op(tmp_path: Path) -> None:
    import tensorflow as tf

    class Stream(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = tf.Variable(tf.zeros((1, 4)))

        @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])
        def step(self, x):
            return {"sum": self.total.assign_add(x) * 1.0}

    stream = Stream()
    tf.saved_model.save(stream, str(tmp_path), signatures={"serving_default": stream.step})
    with pytest.raises(ModelError, match=r"keeps state from call to call \(AssignAddVariableOp"):
        load_model(tmp_path)


def test_a_stateful_layer_is_refused_by_name(tmp_path: Path) -> None:
    import keras

    layers = [keras.Input((8, 3), batch_size=1), keras.layers.LSTM(4, stateful=True, name="memory")]
    keras.Sequential(layers).save(tmp_path / "state.keras")
    with pytest.raises(ModelError, match=r"memory \(LSTM\): set stateful=False"):
        load_model(tmp_path / "state.keras")


def test_a_free_axis_beside_the_batch_is_refused(tmp_path: Path) -> None:
    import keras

    image = keras.Input((None, None, 3), name="image")
    keras.Model(image, keras.layers.Conv2D(2, 3)(image)).save(tmp_path / "free.keras")
    with pytest.raises(ModelError, match=r"input 'image' has the shape \(None, None, None, 3\)"):
        load_model(tmp_path / "free.keras")


@pytest.mark.parametrize("name", ["kws_float32", "ad01_float32"])
def test_an_old_float_tflite_file_is_repaired_and_computes_the_same(shared_dir: Path, name: str) -> None:
    from edgeloop.backends import open_backend

    path = shared_dir / "models" / f"{name}.tflite"
    model = load_model(path)
    assert model.kind == "tflite"
    assert not model.is_quantized
    assert any("signature" in note for note in model.notes)
    assert any("builtin_code" in note for note in model.notes)
    before, after = open_backend(path.read_bytes()), open_backend(model.flatbuffer)
    x = np.random.default_rng(0).normal(size=(1, *after.inputs[0].shape[1:])).astype(np.float32)
    apart = np.abs(before.invoke([x])[0] - after.invoke([x])[0]).max()
    # kws_float32 holds int8 weights, and quantizes its activations on the fly: that is gone with them
    assert apart < 0.02 if name == "kws_float32" else apart == 0
    assert (name == "kws_float32") == any("back into float32" in note for note in model.notes)


@pytest.mark.parametrize("name", ["kws_int8", "ad01_int8"])
def test_an_integer_tflite_file_is_taken_as_it_is(shared_dir: Path, name: str) -> None:
    path = shared_dir / "models" / f"{name}.tflite"
    model = load_model(path)
    assert model.is_quantized
    assert model.flatbuffer == path.read_bytes()
    assert "packaged as it is" in model.notes[0]


def bad_text(folder: Path) -> Path:
    (folder / "model.keras").write_text("weights: 1, 2, 3")
    return folder / "model.keras"


def bad_empty(folder: Path) -> Path:
    (folder / "model.tflite").touch()
    return folder / "model.tflite"


def bad_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("notes.txt", "not a model")
    return folder / "model.keras"


def bad_cut_zip(folder: Path) -> Path:
    whole = bad_zip(folder).read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    return folder / "cut.keras"


def bad_archive(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", '{"class_name": "MyNet", "module": "my_code"}')
        archive.writestr("metadata.json", "{}")
    return folder / "model.keras"


def bad_weights(folder: Path) -> Path:
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def bad_checkpoint(folder: Path) -> Path:
    import tensorflow as tf

    tf.train.Checkpoint(w=tf.Variable(1.0)).save(str(folder / "ckpt"))
    return folder


def bad_checkpoint_file(folder: Path) -> Path:
    return bad_checkpoint(folder) / "ckpt-1.index"


def bad_folder(folder: Path) -> Path:
    return folder


def bad_saved_model(folder: Path) -> Path:
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\xff\xff\xff garbage")
    return folder


def bad_pickle(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"")
    return folder / "model.pt"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (bad_text, "not a model .it starts with b'weights:'"),
        (bad_empty, "an empty file"),
        (bad_zip, "without config.json"),
        (bad_cut_zip, "damaged or cut off"),
        (bad_archive, "can't load it"),
        (bad_weights, "weights without the model"),
        (bad_checkpoint, "a TensorFlow checkpoint"),
        (bad_checkpoint_file, "part of a TensorFlow checkpoint"),
        (bad_folder, "not a SavedModel"),
        (bad_saved_model, "damaged SavedModel"),
        (bad_pickle, r"torch\.export\.save"),
    ],
)
def test_what_is_not_a_model_says_what_it_is(tmp_path: Path, make, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_model(make(tmp_path))


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "absent.keras")


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("name", ["ad01.h5", "kws_int8.tflite", "kws_float32.tflite"])
def test_a_truncated_file_is_refused(shared_dir: Path, tmp_path: Path, name: str, share: float) -> None:
    whole = (shared_dir / "models" / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((ModelError, ArtifactError), match="cut off"):
        load_model(tmp_path / name)


def test_a_saved_model_without_its_variables_is_refused(shared_dir: Path, tmp_path: Path) -> None:
    shutil.copy(shared_dir / "models" / "kws_savedmodel" / "saved_model.pb", tmp_path)
    with pytest.raises(ModelError, match="damaged SavedModel"):
        load_model(tmp_path)


def test_a_signature_of_a_file_is_refused(keras_file: Path) -> None:
    with pytest.raises(ModelError, match="no signatures to choose from"):
        load_model(keras_file, signature="serving_default")


def test_without_their_packages_onnx_and_pytorch_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(ModelError, match="pipx install onnx2tf"):
        load_model(tmp_path / "model.onnx")
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/archive_format", "pt2")
    with pytest.raises(MissingExtraError, match=r"edgeloop\[torch\]"):
        load_model(tmp_path / "model.pt2")
