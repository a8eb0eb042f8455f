"""Figures of suites: where each stands in a suite's document, what was promised of it, and whether we are behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Figure",
    "Promise",
    "Row",
    "State",
    "at_least",
    "at_most",
    "exactly",
    "judge",
    "micro",
    "one",
    "significant",
]

State = Literal["holds", "MISSED", "behind", "level", "ahead", "", "not in its output"]
Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Promise:
    """What a figure must reach."""

    sign: Literal["≤", "≥", "="]
    bound: float

    def holds(self, value: float) -> bool:
        """Whether `value` reaches it."""
        if self.sign == "=":
            return value == self.bound
        return value <= self.bound if self.sign == "≤" else value >= self.bound

    def distance(self, value: float) -> float:
        """How many times off `value` is: above 1 is missed, and 2 by twice as much as was promised."""
        if self.sign == "=" or not self.bound or not value:
            return 1.0 if self.holds(value) else math.inf
        return value / self.bound if self.sign == "≤" else self.bound / value


@dataclass(frozen=True)
class Figure:
    """One number of a suite.

    Args:
        what: it is, as a reader who doesn't know the suite understands it.
        read: finds it in the suite's document.
        unit: of it.
        promise: what it must reach; None where nothing was promised.
        peer: what it is held against in the same run.
        ratio: finds how many times the peer's number it is: a number, or one with its interval as `{"value", "ci"}`.
        better: which way is better, where there is no promise.
    """

    what: str
    read: Read
    unit: str = ""
    promise: Promise | None = None
    peer: str = ""
    ratio: Read | None = None
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True)
class Row:
    """A figure that was measured.

    Args:
        figure: which.
        value: None where it isn't in the document.
        ratio: to the peer's, and its 95 % interval, if any.
        state: how it stands; promises come first, and where there is none, the peer.
        distance: how many times off it is, for the order of what is behind.
    """

    figure: Figure
    value: float | None
    ratio: float | None
    ci: tuple[float, float] | None
    state: State
    distance: float


def at_most(bound: float) -> Promise:
    """A promise not to pass `bound`."""
    return Promise("≤", bound)


def at_least(bound: float) -> Promise:
    """A promise to reach `bound`."""
    return Promise("≥", bound)


def exactly(bound: float) -> Promise:
    """A promise to be `bound`."""
    return Promise("=", bound)


def one(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> Any:
    """The row that has all of `wanted`; a text is compared by its beginning, since versions end names."""

    def fits(row: Mapping[str, Any]) -> bool:
        return all(
            str(row[name]).startswith(value) if isinstance(value, str) else row[name] == value
            for name, value in wanted.items()
        )

    return next(row for row in rows if fits(row))


def micro(what: str, group: str, peer: str) -> Figure:
    """A group of pytest-benchmark's file: our median and the ratio to the peer, both of the turns."""

    def turns(document: Any) -> Any:
        ours = (b for b in document["benchmarks"] if b["group"] == group and "in_turns" in b["extra_info"])
        return next(ours)["extra_info"]["in_turns"]

    return Figure(what, lambda d: turns(d)["ours_us"], "µs", peer=peer, ratio=lambda d: turns(d)["ratio"])


def judge(figure: Figure, document: Any) -> Row:
    """Read a figure in a suite's document, and say how it stands. A suite that skipped a peer has no ratio to it."""
    value = _found(figure.read, document)
    if value is None:
        return Row(figure, None, None, None, "not in its output", math.inf)
    ratio, ci = _ratio(_found(figure.ratio, document) if figure.ratio else None)
    number = float(value)
    if figure.promise is not None:
        state: State = "holds" if figure.promise.holds(number) else "MISSED"
        return Row(figure, number, ratio, ci, state, figure.promise.distance(number))
    if ratio is None:
        return Row(figure, number, None, None, "", 0.0)
    off = ratio if figure.better == "lower" else 1 / ratio if ratio else math.inf
    is_level = ci is not None and ci[0] <= 1 <= ci[1]
    return Row(figure, number, ratio, ci, "level" if is_level else "behind" if off > 1 else "ahead", off)


def significant(value: float) -> str:
    """Three significant digits, with separators of thousands."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _found(read: Read, document: Any) -> Any:
    try:
        return read(document)
    except (LookupError, TypeError, ValueError, ZeroDivisionError, StopIteration):
        return None


def _ratio(found: Any) -> tuple[float | None, tuple[float, float] | None]:
    if isinstance(found, Mapping):
        ci = found.get("ci")
        return float(found["value"]), None if ci is None else (float(ci[0]), float(ci[1]))
    return None if found is None else float(found), None
