"""How far the answers of two places lie apart: the same artifact, the same inputs, other kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.manifest import TensorSpec

__all__ = ["Difference", "difference"]


class Difference(msgspec.Struct, frozen=True):
    """Two sets of answers to the same inputs.

    Args:
        n: inputs.
        is_equal: whether they are the same to the bit.
        agreement: the share of inputs for which the largest value of the first output is the same one.
        changed: the share of inputs for which any value differs.
        max_steps: the largest difference in quantization steps, over all outputs; None where none is quantized.
        mean_steps: the mean difference of the quantized outputs' values, in steps; None likewise.
        max_abs: the largest difference in real values, over all outputs.
    """

    n: int
    is_equal: bool
    agreement: float
    changed: float
    max_steps: int | None
    mean_steps: float | None
    max_abs: float


def difference(
    specs: Sequence[TensorSpec], one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]
) -> Difference:
    """Compare the outputs of two runs.

    Args:
        specs: the model's outputs.
        one: (n, …) real values by name.
        other: likewise.

    Raises:
        DataError: they aren't of the same model and the same inputs.
    """
    shapes = [{name: a.shape for name, a in side.items()} for side in (one, other)]
    if shapes[0] != shapes[1] or set(shapes[0]) != {spec.name for spec in specs}:
        raise DataError(f"outputs of {shapes[0]} can't be compared with outputs of {shapes[1]}")
    first = specs[0].name
    n = len(one[first])
    differs = np.zeros(n, dtype=bool)
    steps: list[NDArray[np.float64]] = []
    max_abs = 0.0
    for spec in specs:
        apart = np.abs(one[spec.name].astype(np.float64) - other[spec.name]).reshape(n, -1)
        differs |= (one[spec.name] != other[spec.name]).reshape(n, -1).any(axis=1)
        max_abs = max(max_abs, float(apart.max(initial=0.0)))
        if spec.scale is not None:
            steps.append(np.rint(apart / spec.scale).ravel())
    winners = [side[first].reshape(n, -1).argmax(axis=1) for side in (one, other)]
    return Difference(
        n=n,
        is_equal=not differs.any(),
        agreement=float((winners[0] == winners[1]).mean()),
        changed=float(differs.mean()),
        max_steps=int(max(s.max(initial=0) for s in steps)) if steps else None,
        mean_steps=float(np.concatenate(steps).mean()) if steps else None,
        max_abs=max_abs,
    )
