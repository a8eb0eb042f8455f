"""The gate: what an artifact must keep to, and whether it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgeloop.errors import ConfigError
from edgeloop_converters.proof.compare import Comparison, Measurement
from edgeloop_converters.proof.units import Drop, format_bytes, format_us

__all__ = ["Budget", "Gate", "Verdict", "judge"]


@dataclass(frozen=True)
class Gate:
    """The budgets that an artifact must keep; None is no budget.

    Args:
        metric: the name of the metric that counts.
        max_drop: by how much it may get worse than the original's.
        max_size_bytes: of the artifact's file.
        max_latency_us: of one call, as it was measured.
        min_over_trivial: by how much the metric must beat the trivial answer, in its own unit.

    Raises:
        ConfigError: a limit is negative or not a number.
    """

    metric: str = "accuracy"
    max_drop: Drop | None = None
    max_size_bytes: int | None = None
    max_latency_us: float | None = None
    min_over_trivial: float | None = None

    def __post_init__(self) -> None:
        limits = {
            "max_drop": self.max_drop.amount if self.max_drop is not None else None,
            "max_size_bytes": self.max_size_bytes,
            "max_latency_us": self.max_latency_us,
            "min_over_trivial": self.min_over_trivial,
        }
        for name, value in limits.items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"gate: {name} must be 0 or more, got {value}")


@dataclass(frozen=True)
class Budget:
    """One budget against what was measured.

    Args:
        name: of the gate's field.
        measured: in `unit`; None when it wasn't measured.
        limit: in `unit`.
        unit: "bytes", "us", or the metric's name.
        holds: whether it keeps to the limit; what wasn't measured, or is NaN, doesn't.
        sentence: the same in words.
    """

    name: str
    measured: float | None
    limit: float
    unit: str
    holds: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """All budgets of a gate.

    Args:
        budgets: one for each limit that the gate states.
    """

    budgets: tuple[Budget, ...]

    @property
    def holds(self) -> bool:
        """Whether every budget holds; a gate without any does."""
        return all(b.holds for b in self.budgets)

    @property
    def text(self) -> str:
        """One line a budget."""
        return "\n".join(f"{'holds' if b.holds else 'FAILS'}  {b.sentence}" for b in self.budgets)


def judge(
    gate: Gate,
    *,
    comparison: Comparison | None = None,
    measurement: Measurement | None = None,
    size_bytes: int | None = None,
    latency_us: float | None = None,
) -> Verdict:
    """Hold what was measured against the gate.

    A drop is judged on its point estimate; its paired interval is told, so that a verdict that hangs on
    the draw of the samples shows. A budget whose measurement is missing doesn't hold.

    Args:
        gate: the budgets.
        comparison: the artifact's metric against the original's.
        measurement: the artifact's metric against the trivial answer.
        size_bytes: of the artifact's file.
        latency_us: of one call.

    Raises:
        ConfigError: a measurement is of another metric than the gate's.
    """
    for found in (comparison, measurement):
        if found is not None and found.metric != gate.metric:
            raise ConfigError(f"gate: the budget is on {gate.metric}, but {found.metric} was measured")
    budgets = []
    if gate.max_drop is not None:
        budgets.append(judge_drop(gate.max_drop, gate.metric, comparison))
    if gate.min_over_trivial is not None:
        budgets.append(judge_trivial(gate.min_over_trivial, gate.metric, measurement))
    if gate.max_size_bytes is not None:
        size = None if size_bytes is None else float(size_bytes)
        budgets.append(judge_limit("max_size_bytes", "size", size, float(gate.max_size_bytes), "bytes"))
    if gate.max_latency_us is not None:
        budgets.append(judge_limit("max_latency_us", "latency", latency_us, gate.max_latency_us, "us"))
    return Verdict(tuple(budgets))


def judge_drop(allowed: Drop, metric: str, found: Comparison | None) -> Budget:
    if found is None:
        return unmeasured("max_drop", f"{metric}'s drop", allowed.amount, metric)
    limit = allowed.limit(found.original)
    holds = found.drop <= limit + rounding(found.original)
    unsure = found.low <= limit < found.high
    sentence = (
        f"{metric} {change(found)} ({found.confidence:.0%} interval of the drop "
        f"{found.low + 0.0:.4g} to {found.high + 0.0:.4g}, n={found.n}); "
        f"at most {limit:.4g}" + (f" ({allowed})" if allowed.relative else "") + " is allowed"
        + ("; the interval holds the limit, so more samples could turn this" if unsure else "")
    )  # fmt: skip
    return Budget("max_drop", found.drop, limit, metric, holds, sentence)


def change(found: Comparison) -> str:
    """What became of the metric, in words: an error that rises gets worse."""
    if found.drop == 0:
        return f"stays at {found.artifact:.4g}"
    worse = "rises" if found.artifact > found.original else "drops"
    verb = worse if found.drop > 0 else "improves"
    return f"{verb} by {abs(found.drop):.4g}, from {found.original:.4g} to {found.artifact:.4g}"


def judge_trivial(limit: float, metric: str, found: Measurement | None) -> Budget:
    if found is None:
        return unmeasured("min_over_trivial", f"{metric} over the trivial answer", limit, metric)
    holds = found.over_trivial >= limit - rounding(found.value)
    sentence = (
        f"{metric} is {found.value:.4g} ({found.confidence:.0%} interval {found.low:.4g} to "
        f"{found.high:.4g}, n={found.n}), {abs(found.over_trivial):.4g} "
        f"{'better' if found.over_trivial >= 0 else 'worse'} than the trivial answer's {found.trivial:.4g}; "
        f"at least {limit:.4g} better is asked for"
    )
    return Budget("min_over_trivial", found.over_trivial, limit, metric, holds, sentence)


def judge_limit(name: str, what: str, measured: float | None, limit: float, unit: Literal["bytes", "us"]) -> Budget:
    if measured is None:
        return unmeasured(name, what, limit, unit)
    show = format_bytes if unit == "bytes" else format_us
    holds = measured <= limit
    sentence = f"the {what} is {show(measured)}, {'within' if holds else 'over'} the limit of {show(limit)}"
    if show(measured) == show(limit) and measured != limit:
        sentence += f" ({measured:,.10g} against {limit:,.10g} {unit})"
    return Budget(name, measured, limit, unit, holds, sentence)


def unmeasured(name: str, what: str, limit: float, unit: str) -> Budget:
    return Budget(name, None, limit, unit, False, f"the {what} wasn't measured, so its budget can't hold")


def rounding(value: float) -> float:
    """A drop of 0.9 - 0.89 is 0.01 to the user, and 0.010000000000000009 to the processor."""
    return 1e-9 * max(1.0, abs(value))
