"""A trial: one recipe on one model and its data, done in a process of its own; what goes in, and what comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.evaluate import Evaluation
from edgeloop_converters.recipes import Recipe

__all__ = ["Bench", "Trial", "Trialled", "model_sha256"]


class Trialled(msgspec.Struct, frozen=True):
    """What a trial gave.

    Attributes:
        recipe: what was done.
        seed: of everything random in it.
        key: the trial's name in the cache.
        error: why there is no model; empty when there is one.
        seconds: how long it took, the start of TensorFlow included.
        notes: what each step did.
        evaluation: of the file; None without one.
        cached: whether an earlier run had done it.
    """

    recipe: Recipe
    seed: int
    key: str
    error: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    evaluation: Evaluation | None = None
    cached: bool = False


class Trial(msgspec.Struct, frozen=True):
    """What a worker reads: the recipe, and where the model and the arrays lie.

    Attributes:
        recipe: what to do.
        seed: of everything random.
        key: the hash over everything that decides the result.
        bench: the folder with the model and the data.
        memory_bytes: the resident memory that the worker may take.
        timeout_s: how long it may take.
    """

    recipe: Recipe
    seed: int
    key: str
    bench: str
    memory_bytes: int
    timeout_s: float


class Bench:
    """A folder with the model and the data of one search, which every worker reads.

    Args:
        folder: where to; empty.
        model: a built `keras.Model`, or the bytes of a `.tflite` file.
        calibration: the samples that fix ranges, as the model takes them; or by input name. So are the next ones.
        x: the training inputs.
        y: their labels or values; None without.
        evaluation: the inputs that the model is judged on.

    Raises:
        OSError: the folder can't be written.
    """

    def __init__(
        self,
        folder: Path,
        model: Any,
        *,
        calibration: Any,
        x: Any,
        y: NDArray[Any] | None,
        evaluation: Any,
    ) -> None:
        self.folder = folder
        digest = hashlib.sha256(model_sha256(model).encode())
        if isinstance(model, bytes):
            (folder / "model.tflite").write_bytes(model)
        else:
            model.save(folder / "model.keras")
        for name, values in (("calibration", calibration), ("x", x), ("evaluation", evaluation), ("y", y)):
            for part, array in _named(name, values).items():
                save_array(folder / f"{part}.npy", array)
                digest.update(f"{part}{array.shape}{array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b"")
        self.sha256 = digest.hexdigest()

    def trial(self, recipe: Recipe, *, seed: int, memory_bytes: int, timeout_s: float) -> Trial:
        """One trial on this bench. Its name doesn't count, nor do the limits: what is done does."""
        parts = [self.sha256, msgspec.json.encode(recipe.steps, order="sorted").decode(), str(seed), *versions()]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        return Trial(recipe, seed, key, str(self.folder), memory_bytes, timeout_s)


def read_bench(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The model (a `keras.Model` or bytes), and `calibration`, `x`, `y`, `evaluation` as `Bench` was given them."""
    arrays: dict[str, Any] = {"y": None}
    for path in sorted(folder.glob("*.npy")):
        name, _, part = path.stem.partition("@")
        values = np.load(path)
        if part:
            arrays.setdefault(name, {})[part] = values
        else:
            arrays[name] = values
    tflite = folder / "model.tflite"
    if tflite.exists():
        return tflite.read_bytes(), arrays
    import keras

    return keras.models.load_model(folder / "model.keras", compile=False), arrays


def model_sha256(model: Any) -> str:
    """The hash of a model: a file's bytes, or a Keras model's configuration and weights."""
    if isinstance(model, bytes):
        return hashlib.sha256(model).hexdigest()
    digest = hashlib.sha256(model.to_json().encode())
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode() + np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


@cache
def versions() -> tuple[str, ...]:
    """The versions of what a trial's bytes depend on: of the tools, and, by its source, of this package itself."""
    from importlib.metadata import PackageNotFoundError, version

    source = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        source.update(path.read_bytes())
    found = [source.hexdigest()]
    for name in ("edgeloop", "tensorflow", "keras", "litert-quantizer", "ai-edge-litert", "numpy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # not installed, but in a source tree
            found.append(f"{name} unknown")
    return tuple(found)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """`np.save`, whose error on a full disk has no errno: it writes past Python's file where it can see one."""

    class Sink(NamedTuple):
        write: Callable[[bytes], int]

    with path.open("wb") as file:
        np.lib.format.write_array(Sink(file.write), np.asanyarray(array))


def _named(name: str, values: Any) -> dict[str, NDArray[Any]]:
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return {f"{name}@{part}": np.asarray(array) for part, array in values.items()}
    return {name: np.asarray(values)}
