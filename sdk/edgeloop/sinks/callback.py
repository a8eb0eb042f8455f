"""Predictions handed to the user's own function."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.runtime import Prediction, Runtime

__all__ = ["Callback", "CallbackSink"]

log = logging.getLogger(__name__)

OnPrediction: TypeAlias = Callable[[str, Prediction], None]


class Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="python"):
    """A function by its name, "module:function"; see `CallbackSink`."""

    call: str

    def open(self, _device: str) -> CallbackSink:
        """Import the function. Raises `ConfigError`."""
        module_name, _, function_name = self.call.partition(":")
        try:
            return CallbackSink(getattr(importlib.import_module(module_name), function_name))
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"sink {self.call!r}: {error}: write 'module:function'") from error


class CallbackSink:
    """Calls `function(ref, prediction)` at once, on the loop's thread; what it raises is counted and logged.

    `ref` names the input at its source.
    """

    def __init__(self, function: OnPrediction) -> None:
        self.lost = 0
        self._function = function

    def write(self, ref: str, prediction: Prediction, _runtime: Runtime) -> None:
        """Call the function."""
        try:
            self._function(ref, prediction)
        except Exception:
            if not self.lost:
                log.exception("a sink's function failed")
            self.lost += 1

    def flush(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""
