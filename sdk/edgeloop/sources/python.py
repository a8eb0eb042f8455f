"""Inputs from the user's own function."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.sources.item import Item

__all__ = ["PythonSource"]


class PythonSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="python"):
    """Any function that yields `SourceItem`s, and `SkippedItem`s for what it can't read.

    Args:
        call: "module:function".
        options: its keyword arguments.

    What it gives may have a method `close`, which may be called from another thread to end a wait.
    """

    call: str
    options: dict[str, Any] = {}

    def open(self) -> Iterator[Item]:
        """Import the function, and call it.

        Raises:
            ConfigError: no such module or function, or it doesn't take those options.
        """
        module_name, _, function_name = self.call.partition(":")
        try:
            function: Callable[..., Iterable[Item]] = getattr(importlib.import_module(module_name), function_name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"source {self.call!r}: {error}") from error
        try:
            return iter(function(**self.options))
        except TypeError as error:
            raise ConfigError(f"source {self.call!r}: {error}: mind source.options") from error
