"""PyTorch models that `torch.export.save` wrote, through `litert-torch`."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from pathlib import Path

from edgeloop.errors import MissingExtraError, ModelError
from edgeloop_converters.models.loaded import LoadedModel
from edgeloop_converters.models.tflite_file import loaded_flatbuffer
from edgeloop_converters.quiet import silenced

__all__ = ["load_torch"]


def load_torch(path: Path) -> LoadedModel:
    """Convert a `.pt2` file to a float `.tflite` with `litert-torch`, and read that.

    The shapes, the batch's too, are those of the example that the model was exported with. Inputs stay as PyTorch has
    them: images are channels-first (n, c, h, w).

    Raises:
        ModelError: the file is damaged, was exported without an example, or an op of it can't be converted.
        MissingExtraError: `litert-torch` isn't installed.
    """
    for package in ("torch", "litert_torch"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("torch", package)
    with silenced():
        litert_torch, torch = importlib.import_module("litert_torch"), importlib.import_module("torch")

    try:
        with silenced():
            program = torch.export.load(path)
    except Exception as error:  # torch's errors have no common base: a damaged file shows as any
        raise ModelError(f"{path}: torch {torch.__version__} can't load it: {_reason(error)}") from error
    if program.example_inputs is None:
        raise ModelError(f"{path}: exported without example inputs: export it with torch.export.export(model, (x,))")
    arguments, keywords = program.example_inputs
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with silenced():
            converted = litert_torch.convert(program.module(), arguments, sample_kwargs=keywords or None)
            model = bytes(converted.model_content())
    except Exception as error:  # as above
        raise ModelError(f"{path}: litert-torch refuses the model: {_reason(error)}") from error
    finally:
        logging.disable(before)
    note = f"converted by litert-torch {litert_torch.__version__}; images stay channels-first, as PyTorch has them"
    return loaded_flatbuffer(path, model, (note,))


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
