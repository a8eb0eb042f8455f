"""Delegates by name or by path, and which of them is in use: one that can't be loaded is no reason not to run."""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any

import msgspec

__all__ = ["DELEGATES", "Placement", "load_delegate"]

DELEGATES = {
    "edgetpu": "libedgetpu.so.1",
    "gpu": "libtensorflowlite_gpu_delegate.so",
}
"""The shared libraries that the vendors install; any other delegate is given by its library's path."""

_ABI = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


class Placement(msgspec.Struct, frozen=True):
    """Where a model runs.

    Args:
        delegate: the delegate that was asked for and is in use; None is the CPU, where the interpreter's own (XNNPACK)
            takes what it can.
        fallback: why the one that was asked for is not in use; None where it is, or none was asked for.
        outside: the operators that no delegate has taken, in the graph's order.
        operators: how many the graph has; 0 where the interpreter doesn't tell.
    """

    delegate: str | None
    fallback: str | None
    outside: tuple[str, ...]
    operators: int

    def counted(self) -> str:
        """The operators outside, each once: "CONV_2D × 2, SOFTMAX"."""
        return ", ".join(f"{name} × {n}" if n > 1 else name for name, n in Counter(self.outside).items())


def load_delegate(module: Any, name: str) -> Any:
    """Load one, a name of `DELEGATES` or a library's path, for the interpreter of `module`.

    Raises:
        OSError, ValueError, RuntimeError: it can't be loaded; the words say why.
    """
    path = DELEGATES.get(name, name)
    # The interpreter's own loader leaves a broken object behind where the library isn't there, or isn't a delegate.
    library = ctypes.CDLL(path)
    missing = [symbol for symbol in _ABI if not hasattr(library, symbol)]
    if missing:
        raise ValueError(f"{path}: not a delegate: it has no {missing[0]}")
    load = getattr(module, "load_delegate", None) or module.experimental.load_delegate
    return load(path)
