"""Recorded conversions as lines: what a user compares them by, and which of them can be compared at all."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["brief", "differences", "table_of"]

Run = tuple[str, dict[str, Any]]
HEADER = ("run", "on", "recipe", "metric", "drop", "bytes", "smaller", "µs", "faster", "holds")
LEFT = ("run", "on", "recipe", "holds")


def brief(facts: dict[str, Any]) -> dict[str, Any]:
    """What a line of the list shows.

    `times_smaller` and `times_faster` are against the original in the same run: latencies of two runs stand for two
    states of a machine, and perhaps for two machines.
    """
    before, after = facts["before"], facts["after"]
    return {
        "created": facts["created"],
        "recipe": facts["recipe"]["name"],
        "seed": facts["recipe"]["seed"],
        "holds": facts["holds"],
        "missed": [b["name"] for b in facts["budgets"] if not b["holds"]],
        "metric": after["metric"],
        "value": after["value"],
        "drop": facts["drop"],
        "size_bytes": facts["size_bytes"],
        "times_smaller": before["size_bytes"] / after["size_bytes"],
        "latency_us": after["latency_us"],
        "times_faster": before["latency_us"] / after["latency_us"] if after["latency_us"] else None,
        "judged_on": judged_on(facts),
    }


def judged_on(facts: dict[str, Any]) -> str:
    """What makes runs comparable: the evaluation data and the original's value on it, as one short word."""
    before = facts["before"]
    return f"{facts['provenance'].get('evaluation.sha256', '')[:8]}:{before['metric']}={before['value']:.6g}"


def table_of(runs: Sequence[Run]) -> str:
    """Runs as lines, and below them what the letters in the column `on` stand for."""
    letters: dict[str, str] = {}
    rows = [HEADER]
    for run, facts in runs:
        b = brief(facts)
        letter = letters.setdefault(b["judged_on"], string.ascii_uppercase[len(letters) % 26])
        faster = f"{b['times_faster']:.1f}×" if b["times_faster"] is not None else "–"
        holds = "yes" if b["holds"] else "no: " + ", ".join(b["missed"] or ["the target"])
        figures = (f"{b['metric']} {b['value']:.4f}", f"{b['drop']:.4f}", f"{b['size_bytes']:,}")
        speed = (f"{b['times_smaller']:.1f}×", f"{b['latency_us']:.1f}", faster)
        rows.append((run, letter, b["recipe"], *figures, *speed, holds))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = ["  ".join(aligned(row, widths)).rstrip() for row in rows]
    if len(letters) > 1:
        known = ", ".join(f"{letter} {what}" for what, letter in letters.items())
        lines.append(f"only runs of the same letter were judged on the same data, against the same original: {known}")
    return "\n".join(lines)


def aligned(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    """Words to the left, numbers to the right."""
    for name, cell, width in zip(HEADER, row, widths, strict=True):
        yield cell.ljust(width) if name in LEFT else cell.rjust(width)


def differences(runs: Sequence[Run]) -> str:
    """In which recipe options, seeds and data the runs differ, one line each; what is the same isn't told."""
    told = {run: options_of(facts) for run, facts in runs}
    names = sorted({name for options in told.values() for name in options})
    lines = []
    for name in names:
        values = [str(options.get(name, "–")) for options in told.values()]
        if len(set(values)) > 1:
            lines.append(f"  {name:32}" + "  ".join(value[:24].ljust(24) for value in values).rstrip())
    return (
        "\n".join(["they differ in:", *lines]) if lines else "they differ in nothing that was recorded of their making"
    )


def options_of(facts: dict[str, Any]) -> dict[str, Any]:
    """A run's recipe, seed and data, flat."""
    recipe = facts["recipe"]
    steps = {f"{s['step']}.{name}": v for s in recipe["steps"] for name, v in s.items() if name != "step"}
    return {"seed": recipe["seed"], **steps, **{n: v for n, v in facts["provenance"].items() if n.endswith(".sha256")}}
