"""Keras models: `.keras` archives of Keras 3, and legacy `.h5` files that only Keras 2 may be able to read."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeloop.errors import MissingExtraError, ModelError
from edgeloop_converters.models.loaded import Kind, LoadedModel, Port, check_ports
from edgeloop_converters.quiet import quiet_tensorflow, silenced

__all__ = ["load_h5", "load_keras", "load_keras_archive"]

# What Keras raises at a file that it can't read: damage shows as any of these.
_FAILURES = (ValueError, TypeError, KeyError, AttributeError, IndexError, OSError, ImportError, NotImplementedError)


def load_keras(path: str | os.PathLike[str]) -> Any:
    """Read a model that can be trained on: a `keras.Model` of Keras 3, from `.keras` or `.h5`.

    Raises:
        OSError: the file can't be read.
        ModelError: it isn't a Keras model, or one that Keras 3 doesn't load.
    """
    from edgeloop_converters.models.load import load_model

    loaded = load_model(path)
    if loaded.kind != "keras":
        raise ModelError(
            f"{path}: this needs a model of Keras 3, and that is of the kind {loaded.kind!r}: build it again with "
            "Keras 3, load its weights into it, and save that with model.save('model.keras')"
        )
    return loaded.network


def load_keras_archive(path: Path) -> LoadedModel:
    """Read a `.keras` file. Raises `ModelError`."""
    quiet_tensorflow()
    import keras

    try:
        network = keras.models.load_model(path, compile=False)
    except _FAILURES as error:
        raise ModelError(f"{path}: Keras {keras.__version__} can't load it: {_reason(error)}") from error
    return _loaded(path, "keras", network, ())


def load_h5(path: Path) -> LoadedModel:
    """Read a whole model from HDF5: by Keras 3 where it can, else by `tf_keras`, and a note says so.

    Raises:
        ModelError: it is damaged, holds weights alone, or neither Keras reads it.
        MissingExtraError: it needs `tf_keras`.
    """
    quiet_tensorflow()
    import keras

    config = _h5_config(path)
    try:
        network = keras.models.load_model(path, compile=False)
    except _FAILURES as error:
        return _load_keras_2(path, config, f"Keras {keras.__version__} refuses it ({_reason(error)})")
    # A legacy file lists even a single input, and Keras 3 then warns of every call with a plain array.
    if not isinstance(network, keras.Sequential) and len(network.inputs) == len(network.outputs) == 1:
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    return _loaded(path, "keras", network, ())


def _load_keras_2(path: Path, config: Any, refusal: str) -> LoadedModel:
    # Keras 2 would run the code that a Lambda layer holds, from whomever the file comes.
    if "Lambda" in _class_names(config):
        raise ModelError(
            f"{path}: {refusal}, and its Lambda layer holds Python code, which isn't run: build the model without it, "
            "load the weights, and save that with model.save('model.keras')"
        )
    if importlib.util.find_spec("tf_keras") is None:
        raise MissingExtraError("convert", "tf_keras")
    import tf_keras

    version = f"tf_keras {tf_keras.__version__} (Keras 2)"
    try:
        with silenced():
            network = tf_keras.models.load_model(path, compile=False)
    except _FAILURES as error:
        raise ModelError(f"{path}: {refusal}, and so does {version}: {_reason(error)}") from error
    note = (
        f"read by {version}, since {refusal}: it can be compiled and quantized, but the passes that change a network "
        "take Keras 3 only"
    )
    return _loaded(path, "tf_keras", network, (note,))


def _h5_config(path: Path) -> Any:
    """The model's description in an HDF5 file, as the JSON says it."""
    import h5py  # type: ignore[import-untyped]  # it ships no types

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
    except OSError as error:
        raise ModelError(f"{path}: a damaged or cut off HDF5 file ({_reason(error)}): copy it again") from error
    if config is None:
        raise ModelError(
            f"{path}: it holds weights without the model: build the model in Python, call model.load_weights on this "
            "file, and save the whole with model.save('model.keras')"
        )
    try:
        return json.loads(config)
    except ValueError as error:
        raise ModelError(f"{path}: its model_config isn't JSON ({error}): copy it again") from error


def _class_names(config: Any) -> set[str]:
    return set(_walk(config))


def _walk(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config["class_name"]
        for value in config.values():
            yield from _walk(value)
    elif isinstance(config, list):
        for value in config:
            yield from _walk(value)


def _loaded(path: Path, kind: Kind, network: Any, notes: tuple[str, ...]) -> LoadedModel:
    if not getattr(network, "inputs", None):
        raise ModelError(
            f"{path}: a {type(network).__name__} whose inputs aren't known: save a functional or Sequential model "
            "that starts with keras.Input"
        )
    layers = network._flatten_layers()  # noqa: SLF001 - the public list leaves nested models closed
    stateful = [
        f"{layer.name} ({type(layer).__name__})"
        for layer in layers
        if not hasattr(layer, "layers") and getattr(layer, "stateful", False)
    ]
    if stateful:
        raise ModelError(
            f"{path}: it keeps state from call to call in {', '.join(stateful)}: set stateful=False and feed whole "
            "windows, or make the state an input and an output of the model"
        )
    inputs = tuple(_port(t) for t in network.inputs)
    names = getattr(network, "output_names", None) or [network.layers[-1].name]  # a Sequential has none of its own
    outputs = tuple(_port(t, name) for t, name in zip(network.outputs, names, strict=True))
    check_ports(path, inputs, outputs)
    return LoadedModel(path, kind, inputs, outputs, notes, network=network)


def _port(tensor: Any, name: str | None = None) -> Port:
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    return Port(name or tensor.name, tuple(None if n is None else int(n) for n in tensor.shape), dtype)


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
