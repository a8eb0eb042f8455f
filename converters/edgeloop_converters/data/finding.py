"""One thing that is wrong, or may be, with a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EXAMPLES", "Finding"]

EXAMPLES = 10  # how many indices a finding carries: enough to look at, short enough for a report


@dataclass(frozen=True)
class Finding:
    """What was found, where, and what to do.

    Args:
        code: a stable name for programs, in snake case.
        severity: "error" when what is measured on this data can't be trusted, "warning" when it may be.
        message: one or two sentences: what, where, what to do.
        count: how many rows, features or classes it concerns.
        examples: at most `EXAMPLES` indices of them (rows of the evaluation set unless the message says
            otherwise), the clearest first.
    """

    code: str
    severity: Literal["warning", "error"]
    message: str
    count: int
    examples: tuple[int, ...] = ()
