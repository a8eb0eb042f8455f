"""Running an artifact as a microcontroller would: in tflite-micro's own interpreter, on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import MissingExtraError, ModelError

__all__ = ["MicroRun", "run_micro"]

MAX_ARENA_BYTES = 16 << 20
STEP_BYTES = 1024


class MicroRun(msgspec.Struct, frozen=True):
    """What tflite-micro said.

    Attributes:
        arena_bytes: the smallest arena (in steps of 1 KiB) in which the model can be allocated. This is a 64-bit
            build: pointers in it are twice as large as on the device.
        samples: inputs that were run.
        max_steps: the largest difference to LiteRT's reference kernels in quantization steps.
    """

    arena_bytes: int
    samples: int
    max_steps: int


def run_micro(model: bytes, stored: NDArray[Any], expected: NDArray[Any]) -> MicroRun:
    """Run a model of one input in tflite-micro and compare.

    Args:
        model: an integer-only flatbuffer.
        stored: (n, …) inputs as the model stores them.
        expected: (n, …) outputs of LiteRT's reference kernels, as stored.

    Raises:
        MissingExtraError: tflite-micro isn't installed.
        ModelError: it refuses the model.
    """
    try:
        from tflite_micro import runtime  # type: ignore[import-not-found, unused-ignore]  # ships no types, and is an extra
    except ImportError as error:
        raise MissingExtraError("micro", "tflite_micro") from error

    def opened(arena: int) -> Any:
        with captured():
            return runtime.Interpreter.from_bytes(model, arena_size=arena)

    arena = smallest_arena(opened)
    interpreter = opened(arena)
    worst = 0
    for sample, wanted in zip(stored, expected, strict=True):
        interpreter.set_input(sample[np.newaxis], 0)
        interpreter.invoke()
        got = interpreter.get_output(0)[0]
        worst = max(worst, int(np.abs(got.astype(np.int64) - wanted.astype(np.int64)).max()))
    return MicroRun(arena, len(stored), worst)


def smallest_arena(opened: Any) -> int:
    """Bisect the arena's size. Raises `ModelError` where even 16 MiB don't do."""

    def fits(steps: int) -> str:
        try:
            opened(steps * STEP_BYTES)
        except (RuntimeError, ValueError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        return ""

    low, high = 0, MAX_ARENA_BYTES // STEP_BYTES
    refusal = fits(high)
    if refusal:
        raise ModelError(f"tflite-micro refuses the model: {re.sub(r'^.*?: ', '', refusal)[:200]}")
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return high * STEP_BYTES


@contextlib.contextmanager
def captured() -> Iterator[None]:
    """What C++ writes to standard error goes aside: an arena that is too small is what we ask about."""
    with tempfile.TemporaryFile() as aside:
        saved = os.dup(2)
        try:
            os.dup2(aside.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
