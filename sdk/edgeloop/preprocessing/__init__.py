"""Preprocessing that travels in the manifest, so that workstation and device run the very same steps, bit for bit.

Each step is a frozen struct of plain numbers, and computes from IEEE 754's exactly rounded operations alone (+, −, ×,
÷, comparisons, indexing) in an order that it fixes itself. What a CPU, a BLAS or a version of numpy may round
differently (matrix products, FFTs, transcendental functions, sums whose order follows the vector width) stays out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, InputError
from edgeloop.preprocessing.images import CenterCrop, Resize
from edgeloop.preprocessing.numbers import Normalize, Scale
from edgeloop.preprocessing.signals import Frames, LogMel
from edgeloop.preprocessing.tables import Category, Impute, Vocabulary

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Category",
    "CenterCrop",
    "Frames",
    "Impute",
    "LogMel",
    "Normalize",
    "Resize",
    "Scale",
    "Step",
    "Vocabulary",
    "check_steps",
    "fits",
    "load_steps",
    "preprocess",
    "sensed",
    "to_float32",
]

Step: TypeAlias = Scale | Normalize | Resize | CenterCrop | Impute | Vocabulary | Frames | LogMel


def preprocess(steps: Iterable[Step], x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Run `steps` in order on a batch.

    Args:
        steps: from the manifest.
        x: (n, …) inputs as the sensor gives them, of any real dtype; strings where the first step is a `Vocabulary`.

    Returns:
        float32, (n, …) as the last step makes it. A row's result doesn't depend on the other rows.

    Raises:
        InputError: an input that isn't numbers, or whose shape a step can't take.
    """
    out = sensed(steps := tuple(steps), x)
    for step in steps:
        out = step(out)
    return np.asarray(out, dtype=np.float32)


def sensed(steps: Sequence[Step], x: NDArray[np.generic]) -> NDArray[np.float32]:
    """A batch as float32, which is what is profiled of it: numbers as they are, strings as their category's number.

    Raises:
        InputError: strings, and the first step isn't a `Vocabulary`; or no real numbers at all.
    """
    if x.dtype.kind in "fiub":
        return to_float32(x)
    if x.dtype.kind in "USO" and steps and isinstance(steps[0], Vocabulary):
        return steps[0].encode(x)
    raise InputError(f"inputs of dtype {x.dtype}: numbers are wanted, or strings where the first step is a vocabulary")


def to_float32(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Numbers as float32; what is too large for it becomes infinity, without a word."""
    with np.errstate(over="ignore"):
        return np.asarray(x, dtype=np.float32)


def load_steps(path: str | os.PathLike[str]) -> tuple[Step, ...] | dict[str, tuple[Step, ...]]:
    """Read steps from a TOML file: a table each, with `step` (its kind) and its fields.

    The tables are `[[steps]]` for a model with one input, `[[inputs.NAME]]` for one with several.

    Returns:
        The steps; or those of each input by name.

    Raises:
        OSError: the file can't be read.
        ConfigError: it isn't such a file, or a step has other fields; the message names it.
    """
    path = Path(path)
    try:
        read = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if bool(read.steps) == bool(read.inputs):
        raise ConfigError(f"{path}: give tables [[steps]], or [[inputs.NAME]] for the inputs of a model with several")
    return read.steps or read.inputs


_Some = Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    steps: tuple[Step, ...] = ()
    inputs: dict[str, _Some] = {}


def check_steps(steps: Sequence[Step], sample_shape: tuple[int, ...], model_shape: tuple[int, ...]) -> None:
    """Check that the steps bring a sensor's sample to what the model takes.

    Args:
        steps: from the manifest.
        sample_shape: of one sample as the sensor gives it, without a batch axis.
        model_shape: of one input of the model, without a batch axis.

    Raises:
        InputError: a step can't take what it would be given, or the last gives another shape (`fits`).
    """
    x = np.zeros((1, *sample_shape), dtype=np.float32)
    for position, step in enumerate(steps):
        before = x.shape[1:]
        try:
            x = step(x)
        except InputError as error:
            raise InputError(f"preprocessing step {position} ({step.__struct_config__.tag}): {error}") from error
        if x.size == 0:
            raise InputError(f"preprocessing step {position} ({step.__struct_config__.tag}) leaves nothing of {before}")
    if not fits(x.shape[1:], model_shape):
        raise InputError(
            f"the preprocessing makes inputs of shape {x.shape[1:]} from samples of shape {sample_shape}, and the "
            f"model takes {model_shape}: change a step's size, or the samples'"
        )


def fits(made: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether two shapes differ by axes of length 1 at most, such as the channel of a gray image."""
    return [n for n in made if n != 1] == [n for n in wanted if n != 1]
