"""Checks of what the passes are given; each message names what is wrong, where, and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, DataError

if TYPE_CHECKING:
    import keras

__all__ = ["Arrays", "check_at_least", "check_fraction", "check_inputs", "check_targets"]

Arrays = NDArray[Any] | Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]


def check_fraction(name: str, value: float, *, above: float = 0.0, below: float = 1.0) -> None:
    """Raise `ConfigError` unless `above` <= `value` < `below`."""
    if not above <= value < below:
        raise ConfigError(f"{name} is {value!r}: it must be at least {above:g} and below {below:g}")


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise `ConfigError` unless `value` is a finite number of at least `least`."""
    if not (np.isfinite(value) and value >= least):
        raise ConfigError(f"{name} is {value!r}: it must be at least {least:g}")


def check_inputs(model: keras.Model, x: Arrays) -> list[NDArray[Any]]:
    """The model's inputs as a flat list in the model's order, one array of shape (n, ...) each.

    Args:
        model: a flat functional model.
        x: one array; or a sequence or a mapping by input name, for models with several inputs.

    Raises:
        DataError: an input is missing, has the wrong shape, isn't numeric, is empty or holds NaN or infinity.
    """
    names = [tensor.name for tensor in model.inputs]
    arrays = named(x, names, "input")
    for name, array, tensor in zip(names, arrays, model.inputs, strict=True):
        expected = tuple(tensor.shape[1:])
        if array.ndim != len(expected) + 1 or any(
            want is not None and want != got for want, got in zip(expected, array.shape[1:], strict=True)
        ):
            raise DataError(
                f"input {name!r} has shape {array.shape}: the model expects {('n', *expected)}; "
                "reshape it, or preprocess it as for training"
            )
        check_finite(f"input {name!r}", array)
    check_same_length(arrays)
    return arrays


def check_targets(model: keras.Model, y: Arrays, count: int) -> list[NDArray[Any]]:
    """The targets as a flat list in the order of the model's outputs; raises `DataError`."""
    arrays = named(y, list(model.output_names), "output")
    for name, array in zip(model.output_names, arrays, strict=True):
        if len(array) != count:
            raise DataError(f"output {name!r} has {len(array)} targets for {count} inputs: give one for each")
        check_finite(f"the target of output {name!r}", array)
    return arrays


def named(values: Arrays, names: Sequence[str], what: str) -> list[NDArray[Any]]:
    """The arrays in the order of `names`."""
    if isinstance(values, Mapping):
        missing, unknown = sorted(set(names) - set(values)), sorted(set(values) - set(names))
        if missing or unknown:
            raise DataError(f"{what}s {missing} are missing, {unknown} unknown: the model has {list(names)}")
        return [np.asarray(values[name]) for name in names]
    if len(names) == 1 and not (isinstance(values, list | tuple) and len(values) == 1):
        return [np.asarray(values)]
    if not isinstance(values, list | tuple) or len(values) != len(names):
        raise DataError(f"the model has {what}s {list(names)}: give as many arrays in a list, or a dict")
    return [np.asarray(value) for value in values]


def check_finite(what: str, array: NDArray[Any]) -> None:
    """Raise `DataError` unless `array` is numeric, not empty, and finite."""
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what} has dtype {array.dtype}: it must be numeric")
    if array.size == 0:
        raise DataError(f"{what} is empty: give at least one example")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        raise DataError(f"{what} holds NaN or infinity in {len(rows)} rows, first {rows[0]}: drop or mend them")


def check_same_length(arrays: Sequence[NDArray[Any]]) -> None:
    """Raise `DataError` unless all arrays have as many rows."""
    if len({len(array) for array in arrays}) != 1:
        raise DataError(f"the inputs have {[len(array) for array in arrays]} rows: they must have as many")
