"""What the suites print: a table for a person, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from edgeloop_converters.facts import finite

__all__ = ["give", "table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        )

    return "\n".join((line(head), "  ".join("-" * w for w in widths), *map(line, rows)))


def give(found: Any, text: str, *, as_json: bool) -> None:
    """Print what was found, in one of the two forms, to standard output."""
    print(json.dumps(finite(msgspec.to_builtins(found)), indent=1) if as_json else text)
