"""Which loader a file needs: told by its content, since names lie."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from edgeloop.errors import ModelError
from edgeloop.flatbuffer import is_tflite
from edgeloop_converters.models.keras_file import load_h5, load_keras_archive
from edgeloop_converters.models.loaded import LoadedModel
from edgeloop_converters.models.onnx_file import load_onnx
from edgeloop_converters.models.saved_model import load_saved_model
from edgeloop_converters.models.tflite_file import load_tflite
from edgeloop_converters.models.torch_file import load_torch

__all__ = ["load_model"]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TAKEN = ".keras, .h5, a SavedModel folder, .tflite, .onnx or .pt2"


def load_model(path: str | os.PathLike[str], *, signature: str | None = None) -> LoadedModel:
    """Read a trained model.

    Args:
        path: a `.keras` file (Keras 3); a legacy `.h5` file (Keras 3 where it can, else `tf_keras`); a SavedModel
            folder; a `.tflite` file, old ones repaired; a `.onnx` file (with `onnx2tf`); a `.pt2` file that
            `torch.export.save` wrote (with `litert-torch`).
        signature: which of a SavedModel's signatures; None takes the only one, or `serving_default`.

    Raises:
        OSError: there is no such file, or it can't be read.
        ModelError: it isn't a model, is damaged, or is one that can't run on a device (state, custom ops).
        MissingExtraError: its format needs an extra that isn't installed.
    """
    path = Path(path)
    if path.is_dir():
        return load_saved_model(path, signature)
    if signature is not None:
        raise ModelError(f"{path}: a file has no signatures to choose from, but {signature!r} was asked for")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_HDF5):
        return load_h5(path)
    if start.startswith(b"PK"):
        return _load_zip(path)
    if is_tflite(start):
        return load_tflite(path)
    if path.suffix == ".onnx":
        return load_onnx(path)
    raise ModelError(f"{path}: {_other(path, start)}: save the model as {_TAKEN}")


def _load_zip(path: Path) -> LoadedModel:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path}: a ZIP that is damaged or cut off ({error}): copy it again") from error
    if "config.json" in names and "metadata.json" in names:
        return load_keras_archive(path)
    inner = {name.partition("/")[2] for name in names}  # PyTorch puts all into one folder
    if "archive_format" in inner:
        return load_torch(path)
    if "data.pkl" in inner:
        raise ModelError(
            f"{path}: a PyTorch pickle or TorchScript, which holds code or weights alone: save the model with "
            "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"
        )
    raise ModelError(f"{path}: a ZIP without config.json, so not a .keras file: save the model as {_TAKEN}")


def _other(path: Path, start: bytes) -> str:
    name = path.name
    if not start:
        return "an empty file"
    if name == "checkpoint" or ".ckpt" in name or path.suffix in (".index", ".meta"):
        return "part of a TensorFlow checkpoint, which holds weights without the model"
    if path.suffix == ".pb":
        return "a bare graph: where it is a SavedModel's saved_model.pb, give its folder instead"
    return f"not a model (it starts with {start[:8]!r})"
