"""Candidates: what trials have made, measured on the user's data and held against the budgets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from edgeloop_converters.evaluate import SLOWER, Evaluation, Speed, slower_finding
from edgeloop_converters.proof import Comparison, Gate, Measurement, Verdict, judge
from edgeloop_converters.recipes import Recipe
from edgeloop_converters.tflite import Finding

__all__ = ["Candidate", "best_of", "excess", "is_slower_than_float", "nearest_of", "pareto_front"]

NOT_JUDGED = Verdict(())
LEAST_LIMIT = 0.005  # a drop of 0 is allowed: by how much it is missed is told in half points then


@dataclass(frozen=True, eq=False)
class Candidate:
    """One file and what was measured of it.

    Args:
        recipe: how it was made.
        model: the flatbuffer.
        outputs: what the metric is computed of, (n, …).
        evaluation: see there.
        measurement: the metric, with its interval.
        comparison: against the original.
        size_bytes: of the artifact: the flatbuffer and the manifest.
        speed: None until it was measured.
        verdict: against the gate; of what was measured so far.
        is_proxy: made to learn size and latency only: it was not trained, and can't be the result.
        float_model: the same model before quantization; None where that is the original's.
        seconds: what the trial took.
        notes: what each step did.
    """

    recipe: Recipe
    model: bytes
    outputs: NDArray[Any]
    evaluation: Evaluation
    measurement: Measurement
    comparison: Comparison
    size_bytes: int
    speed: Speed | None = None
    verdict: Verdict = NOT_JUDGED
    is_proxy: bool = False
    float_model: bytes | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What `tflite.check` says, and, loudest, whether it is slower than float."""
        slower = slower_finding(self.recipe, self.speed, self.evaluation) if self.speed is not None else None
        return self.evaluation.findings if slower is None else (slower, *self.evaluation.findings)

    @property
    def latency_us(self) -> float | None:
        """The median of a call."""
        return None if self.speed is None else self.speed.latency.median_us

    def judged(self, gate: Gate) -> Candidate:
        """The same with its verdict."""
        verdict = judge(
            gate,
            comparison=self.comparison,
            measurement=self.measurement,
            size_bytes=self.size_bytes,
            latency_us=self.latency_us,
        )
        return replace(self, verdict=verdict)


def best_of(candidates: Iterable[Candidate]) -> Candidate | None:
    """The smallest of those that hold every budget, of equals the one that drops least; None when there is none."""
    holding = [c for c in candidates if c.verdict.holds and not c.is_proxy]
    return min(holding, key=lambda c: (c.size_bytes, c.comparison.drop), default=None)


def nearest_of(candidates: Iterable[Candidate]) -> Candidate | None:
    """The one that misses its budgets by the least, added up; None when there is none at all."""
    return min((c for c in candidates if not c.is_proxy), key=excess, default=None)


def is_slower_than_float(candidate: Candidate) -> bool:
    """Whether the original runs faster on this machine, by more than noise."""
    return candidate.speed is not None and candidate.speed.of_original.value > SLOWER


def excess(candidate: Candidate) -> float:
    """By how much the budgets are missed, each as a share of its limit, added up."""
    total = 0.0
    for budget in candidate.verdict.budgets:
        if not budget.holds and budget.measured is not None:
            least = LEAST_LIMIT if budget.name == "max_drop" else 1e-9
            total += (budget.measured - budget.limit) / max(abs(budget.limit), least)
        elif not budget.holds:
            total += 1.0
    return total


def pareto_front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those that none other beats in drop, size and latency at once, the smallest first.

    Latency counts with two digits: what differs by less is noise.
    """

    def figures(c: Candidate) -> tuple[float, float, float]:
        return c.comparison.drop, float(c.size_bytes), float(f"{c.latency_us or 0.0:.2g}")

    real = [c for c in candidates if not c.is_proxy]
    front = [
        c
        for c in real
        if not any(
            all(a <= b for a, b in zip(figures(o), figures(c), strict=True)) and figures(o) != figures(c) for o in real
        )
    ]
    return tuple(sorted(front, key=lambda c: c.size_bytes))
