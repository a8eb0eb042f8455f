"""What `edgeloop bench` measures: artifacts on the bare interpreter, nothing of ours around them.

Every model is opened several times. Where its tensors come to lie in memory moves its speed by about 1 %, for as long
as it is open: two openings of one file differ reproducibly. A comparison of single openings would call that a
difference (Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import check_tflite, read_artifact
from edgeloop.errors import ConfigError, ForeignZipError, ModelError, NoManifestError

__all__ = ["Opened", "Subject", "open_subject", "read_subject"]


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Args:
        name: the file's name, without its folder.
        model: the flatbuffer.
        file_bytes: the whole file.
    """

    name: str
    model: bytes
    file_bytes: int

    @property
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
    try:
        model = read_artifact(path).model
    except (NoManifestError, ForeignZipError):
        model = Path(path).read_bytes()
        check_tflite(model, path)
    return Subject(Path(path).name, model, Path(path).stat().st_size)


def open_subject(subject: Subject, *, threads: int, rng: np.random.Generator) -> Opened:
    """Load the model, set a random input, and run it once.

    Args:
        subject: what to load.
        threads: of the interpreter.
        rng: draws the input: standard normal for floats, uniform over the range for integers of up to 16 bits, zeros
            for the rest (which may be indices).

    Raises:
        ModelError: LiteRT can't load or run it.
        ConfigError: LiteRT isn't installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise ConfigError("LiteRT isn't installed: it has wheels for x86_64 and arm64 only") from error

    try:
        start = time.perf_counter_ns()
        interpreter = Interpreter(model_content=subject.model, num_threads=threads)
        interpreter.allocate_tensors()
        loaded = time.perf_counter_ns()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], _random_input(detail, rng))
        before = time.perf_counter_ns()
        interpreter.invoke()
        after = time.perf_counter_ns()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{subject.name}: LiteRT can't run it: {error}") from error
    return Opened((loaded - start) / 1e3, (after - before) / 1e3, interpreter.invoke)


def _random_input(detail: dict[str, Any], rng: np.random.Generator) -> NDArray[Any]:
    shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)
    return np.zeros(shape, dtype)
