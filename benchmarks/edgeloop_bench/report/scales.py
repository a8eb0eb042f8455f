"""Axes and words for times and sizes: 1-2-5 on a logarithmic axis, each tick with its unit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["format_bytes", "format_us", "linear_axis", "log_axis", "short"]

_TIMES = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"), (1e-3, "ns"))
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_MOST_TICKS = 7


def format_us(us: float | None, digits: int = 3) -> str:
    """1234.5 as "1.23 ms"; None is a dash."""
    return _format(us, _TIMES, digits)


def format_bytes(size: float | None, digits: int = 3) -> str:
    """51234 as "51.2 kB"; None and 0, an unknown size, are a dash."""
    return _format(size or None, _SIZES, digits)


def _format(value: float | None, units: tuple[tuple[float, str], ...], digits: int) -> str:
    if value is None:
        return "–"
    scale, unit = next((u for u in units if abs(value) >= u[0]), units[-1])
    scaled = value / scale
    if scaled == 0:
        return f"0 {unit}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(scaled))))
    return f"{scaled:,.{places}f} {unit}"


def short(name: str, most: int = 40) -> str:
    """A name with its middle left out where it is long: what tells names apart is at their ends."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[len(name) - (most - 1 - head) :]}"


def log_axis(
    values: Iterable[float], title: str, *, unit: str = "us", margin: float = 1.15, least: float = 2.0
) -> dict[str, Any]:
    """Plotly's settings of a logarithmic axis over positive `values`, in microseconds ("us") or bytes ("bytes").

    It spans a factor of `least` at least: an axis of the values' own width would make noise look like a difference.
    """
    found = [v for v in values if v > 0]
    low, high = (min(found) / margin, max(found) * margin) if found else (1.0, 10.0)
    if high / low < least:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(least), middle * math.sqrt(least)
    ticks = _ticks(low, high)
    units = _TIMES if unit == "us" else _SIZES
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [_tick(t, units) for t in ticks],
        "title": {"text": title},
    }


def _tick(value: float, units: tuple[tuple[float, str], ...]) -> str:
    scale, unit = next((u for u in units if value >= u[0] * (1 - 1e-9)), units[-1])
    return f"{value / scale:.4g} {unit}"


def _ticks(low: float, high: float) -> list[float]:
    """Round values within, by 1-2-5 of a decade, by decades where these are many, by even steps where they are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    if len(ticks) >= 3:
        return ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]
    return _even(low, high)


def linear_axis(top: float, title: str, *, unit: str) -> dict[str, Any]:
    """Plotly's settings of an axis from 0 to somewhat beyond `top`, in microseconds ("us") or bytes ("bytes")."""
    units = _TIMES if unit == "us" else _SIZES
    ticks = _even(0.0, top)
    return {
        "range": [0, top * 1.3],
        "tickvals": ticks,
        "ticktext": ["0", *(_tick(t, units) for t in ticks[1:])],
        "title": {"text": title},
    }


def _even(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
