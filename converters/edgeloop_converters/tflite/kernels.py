"""Running a model over samples, with the target's kernels or with the reference ones, and how far they agree.

The same int8 file answers differently on different processors with the default kernels; the reference kernels
give the same bits everywhere. So exactness is tested with the one, and accuracy proven with the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeloop_converters.tflite.interpreter import (
    Array,
    Inputs,
    Kernels,
    dequantize,
    invoke,
    open_interpreter,
    samples_of,
    set_sample,
)

__all__ = ["Agreement", "agreement", "run"]


@dataclass(frozen=True)
class Agreement:
    """How far the default kernels agree with the reference kernels on the same inputs.

    Attributes:
        samples: how many inputs were run.
        top1: the share of samples whose largest first output is the same one.
        max_steps: the largest difference in quantization steps over all outputs; None when none is quantized.
        max_abs: the largest difference in real values over all outputs.
    """

    samples: int
    top1: float
    max_steps: int | None
    max_abs: float


def run(
    model: bytes, x: Inputs, *, kernels: Kernels = "default", threads: int = 1, raw: bool = False
) -> tuple[Array, ...]:
    """The model's outputs over samples, one call each.

    Variable tensors are reset before each sample; resource variables (VAR_HANDLE) carry on, as in a stream.

    Args:
        model: the `.tflite` file.
        x: samples `(n, *input_shape[1:])`, real-valued (quantized here where the input is), or of the input's
            integer type; by name where there are several inputs.
        kernels: "default" or "reference".
        threads: for one call.
        raw: give quantized outputs as the integers that they are.

    Returns:
        One array `(n, *output_shape[1:])` for each output: real values, float32, or raw.

    Raises:
        DataError: the samples don't fit the inputs.
        ModelError: the model can't be loaded, or failed while running.
    """
    interpreter = open_interpreter(model, kernels=kernels, threads=threads)
    arrays = samples_of(interpreter, x)
    details = interpreter.get_output_details()
    rows: list[list[Array]] = [[] for _ in details]
    for sample in range(len(arrays[0])):
        set_sample(interpreter, arrays, sample)
        invoke(interpreter)
        for row, detail in zip(rows, details, strict=True):
            row.append(interpreter.get_tensor(detail["index"]))
    outputs = [np.concatenate(row) if row[0].ndim else np.stack(row) for row in rows]
    return tuple(o if raw else dequantize(o, d) for o, d in zip(outputs, details, strict=True))


def agreement(model: bytes, x: Inputs, *, threads: int = 1) -> Agreement:
    """Run `x` with the reference and the default kernels of this machine and compare the answers.

    Raises:
        DataError: the samples don't fit the inputs.
        ModelError: the model can't be loaded.
    """
    exact = run(model, x, kernels="reference", threads=threads, raw=True)
    fast = run(model, x, kernels="default", threads=threads, raw=True)
    details = open_interpreter(model).get_output_details()
    steps, distances = [], []
    for one, other, detail in zip(exact, fast, details, strict=True):
        if np.issubdtype(one.dtype, np.integer):
            steps.append(int(np.abs(one.astype(np.int64) - other.astype(np.int64)).max()))
        distances.append(np.abs(dequantize(one, detail).astype(np.float64) - dequantize(other, detail)).max())
    winners = [o[0].reshape(len(o[0]), -1).argmax(axis=1) for o in (exact, fast)]
    return Agreement(
        samples=len(exact[0]),
        top1=float((winners[0] == winners[1]).mean()),
        max_steps=max(steps, default=None),
        max_abs=float(max(distances)),
    )
