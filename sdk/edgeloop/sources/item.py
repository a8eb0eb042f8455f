"""What sources yield: an input, or word of one that couldn't be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

__all__ = ["Item", "SkippedItem", "SourceItem"]


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One input from a source: `x` (or several by name) without a batch axis, in real units; `ref` names it there."""

    x: NDArray[Any] | dict[str, NDArray[Any]]
    ref: str = ""


@dataclass(frozen=True, slots=True)
class SkippedItem:
    """An input that couldn't be read; the source goes on.

    Args:
        reason: what is counted: one of a few phrases, without what differs from item to item.
        ref: names the input at its source.
        detail: what exactly was wrong.
    """

    reason: str
    ref: str = ""
    detail: str = ""


Item: TypeAlias = SourceItem | SkippedItem
