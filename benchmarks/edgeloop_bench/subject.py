"""What `edgeloop bench` measures: artifacts on the bare interpreter, nothing of ours around them.

Every model is opened several times. Where its tensors come to lie in memory moves its speed by about 1 %, for as long
as it is open: two openings of one file differ reproducibly. A comparison of single openings would call that a
difference (Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgeloop.artifact import Artifact, check_tflite, read_artifact
from edgeloop.backends import BACKENDS
from edgeloop.delegates import load_delegate
from edgeloop.errors import ConfigError, ForeignZipError, ModelError, NoManifestError
from edgeloop_bench.result import Settings

__all__ = ["Opened", "Subject", "interpreter_maker", "open_subject", "random_input", "read_subject"]


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Args:
        name: the file's name, without its folder.
        model: the flatbuffer.
        file_bytes: the whole file.
        artifact: what the file says of itself; None is a plain `.tflite`.
    """

    name: str
    model: bytes
    file_bytes: int
    artifact: Artifact | None = None

    @cached_property
    def sha256(self) -> str:
        """Of the flatbuffer, in hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()


@dataclass(frozen=True)
class Opened:
    """A loaded model that has answered once.

    Args:
        load_us: making the interpreter and allocating its tensors; reading the file is not in it.
        first_us: the first invoke, with what the backend puts off until then.
        invoke: runs the model on the input that is set.
    """

    load_us: float
    first_us: float
    invoke: Callable[[], object]


def read_subject(path: str) -> Subject:
    """Read an artifact of edgeloop's, or any other `.tflite`.

    Raises:
        OSError: the file can't be read.
        ArtifactError: it is no model, or damaged.
    """
    artifact = None
    try:
        artifact = read_artifact(path)
        model = artifact.model
    except (NoManifestError, ForeignZipError):
        model = Path(path).read_bytes()
        check_tflite(model, path)
    return Subject(Path(path).name, model, Path(path).stat().st_size, artifact)


def open_subject(
    subject: Subject, settings: Settings, *, threads: int, batch: int = 1, rng: np.random.Generator
) -> Opened:
    """Load the model, set a random input, and run it once.

    Args:
        subject: what to load.
        settings: which interpreter, kernels and delegate.
        threads: of the interpreter.
        batch: inputs in one call.
        rng: draws the input: standard normal for floats, uniform over the range for integers of up to 16 bits, zeros
            for the rest (which may be indices).

    Raises:
        ModelError: the interpreter can't load or run it, or not for so large a batch.
        ConfigError: the interpreter isn't installed.
    """
    make = interpreter_maker(settings, threads)
    try:
        start = time.perf_counter_ns()
        interpreter = make(subject.model)
        if batch != 1:
            for detail in interpreter.get_input_details():
                interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
        interpreter.allocate_tensors()
        loaded = time.perf_counter_ns()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], random_input(detail["shape"], detail["dtype"], rng))
        before = time.perf_counter_ns()
        interpreter.invoke()
        after = time.perf_counter_ns()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{subject.name}: {settings.backend} can't run it: {' '.join(str(error).split())}") from error
    return Opened((loaded - start) / 1e3, (after - before) / 1e3, interpreter.invoke)


def interpreter_maker(settings: Settings, threads: int) -> Callable[[bytes], Any]:
    """What makes an interpreter of a flatbuffer; importing it is not a part of loading a model.

    Raises:
        ConfigError: it isn't installed.
    """
    known = {name: where for name, where in BACKENDS.items() if importlib.util.find_spec(where[0]) is not None}
    found = next((where for name, where in known.items() if name == settings.backend), None)
    if found is None:
        have = ", ".join(known) or "none"
        raise ConfigError(f"the backend {settings.backend!r} isn't installed here: choose another (installed: {have})")
    module: Any = importlib.import_module(found[1])
    if settings.backend == "tensorflow":  # `tensorflow.lite` can't be imported by that name: it is an attribute
        module = module.lite
    options: dict[str, Any] = {"num_threads": threads}
    if settings.kernels == "reference":
        resolver = getattr(module, "OpResolverType", None) or module.experimental.OpResolverType
        options["experimental_op_resolver_type"] = resolver.BUILTIN_REF

    def make(model: bytes) -> Any:
        if settings.delegate is None:
            return module.Interpreter(model_content=model, **options)
        delegates = [load_delegate(module, settings.delegate)]
        return module.Interpreter(model_content=model, experimental_delegates=delegates, **options)

    return make


def random_input(shape: Sequence[int], dtype: DTypeLike, rng: np.random.Generator) -> NDArray[Any]:
    """An input of this shape and dtype; see `open_subject`."""
    shape, dtype = tuple(shape), np.dtype(dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)
    return np.zeros(shape, dtype)
