"""Sizes, durations and drops as people write them: "60kB", "2ms", "1%", "0.5pt"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgeloop.errors import ConfigError

__all__ = ["Drop", "format_bytes", "format_us", "parse_bytes", "parse_drop", "parse_us"]

QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµμ%]*)\s*")
# SI and IEC 80000-13: k is 1000, Ki is 1024. "KB" is what many write for kB.
BYTES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
MICROSECONDS = {"us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Drop:
    """By how much a metric may get worse.

    Args:
        amount: 0.01 for "1%", 0.005 for "0.5pt", 0.02 for "0.02".
        relative: whether it is a share of the original's value, or in the metric's own unit.
    """

    amount: float
    relative: bool

    def limit(self, original: float) -> float:
        """The largest drop allowed, in the metric's own unit."""
        return self.amount * abs(original) if self.relative else self.amount

    def __str__(self) -> str:
        return f"{self.amount * 100:g} % of the original" if self.relative else f"{self.amount:g}"


def parse_bytes(text: str | float) -> int:
    """A size in bytes: 60000, "60kB" (1 kB is 1000 bytes), "64KiB" (1 KiB is 1024).

    Raises:
        ConfigError: it isn't a size.
    """
    number, unit = split(text, "a size", '"60kB", "64KiB", or a number of bytes')
    if unit not in BYTES:
        raise ConfigError(f"size {text!r}: unknown unit {unit!r}; use one of {', '.join(u for u in BYTES if u)}")
    return math.floor(number * BYTES[unit])


def parse_us(text: str | float) -> float:
    """A duration in microseconds: "2ms", "500us", "0.1s"; a bare number is refused: of what?

    Raises:
        ConfigError: it isn't a duration, or has no unit.
    """
    number, unit = split(text, "a duration", '"2ms" or "500us"')
    if unit not in MICROSECONDS:
        known = "has no unit" if not unit else f"has the unknown unit {unit!r}"
        raise ConfigError(f"duration {text!r} {known}; use us, ms or s")
    return number * MICROSECONDS[unit]


def parse_drop(text: str | float) -> Drop:
    """A drop: "1%" is relative to the original's value, "0.5pt" is percentage points (0.005), 0.02 is as is.

    Raises:
        ConfigError: it isn't a drop.
    """
    number, unit = split(text, "a drop", '"1%" of the original, "0.5pt" (percentage points), or 0.005')
    if unit not in ("", "%", "pt"):
        raise ConfigError(f'drop {text!r}: unknown unit {unit!r}; use "1%" of the original, "0.5pt", or 0.005')
    return Drop(number if unit == "" else number / 100, relative=unit == "%")


def split(text: str | float, what: str, examples: str) -> tuple[float, str]:
    found = QUANTITY.fullmatch(str(text))
    if found is None or not math.isfinite(float(found[1])):
        raise ConfigError(f"{text!r} isn't {what}; write {examples}")
    return float(found[1]), found[2]


def format_bytes(size_bytes: float) -> str:
    """A size with three digits: "61.2 kB"."""
    return scaled(size_bytes, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))) or f"{size_bytes:.0f} B"


def format_us(duration_us: float) -> str:
    """A duration with three digits: "1.25 ms"."""
    return scaled(duration_us, (("s", 1e6), ("ms", 1e3))) or f"{duration_us:.3g} µs"


def scaled(value: float, units: tuple[tuple[str, float], ...]) -> str | None:
    """The value in the largest unit in which it isn't below 1, rounded as it will be shown."""
    for unit, factor in units:
        if value >= 0.9995 * factor:
            shown = value / factor
            return f"{shown:.3g} {unit}" if shown < 999.5 else f"{shown:.0f} {unit}"
    return None
