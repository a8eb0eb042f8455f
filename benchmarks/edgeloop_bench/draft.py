"""What is known so far of an artifact while a run goes on: a failure or Ctrl-C ends it, and loses nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from edgeloop.errors import ConfigError, ModelError
from edgeloop.histogram import histogram
from edgeloop.latency import Ratio, Rounds, ratio, summarize
from edgeloop.order import median_interval
from edgeloop_bench.result import (
    Accuracy,
    Energy,
    Memory,
    Operator,
    Scenario,
    ScenarioKind,
    Stage,
    SubjectResult,
    Throughput,
    Warmup,
)
from edgeloop_bench.subject import Subject

__all__ = ["Draft", "scenario_of"]


@dataclass
class Draft:
    """One artifact's figures, as they come. `times` are single-stream, by threads: one array for each opening."""

    subject: Subject
    loads_us: list[float] = field(default_factory=list)
    firsts_us: list[float] = field(default_factory=list)
    warmup: Warmup | None = None
    is_steady: bool = True
    times: dict[int, Rounds] = field(default_factory=dict)
    others: list[Scenario] = field(default_factory=list)
    stages: tuple[Stage, ...] = ()
    operators: tuple[Operator, ...] = ()
    memory: Memory | None = None
    energy: Energy | None = None
    accuracy: Accuracy | None = None
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """What goes wrong with the model in here ends its figures, and nobody else's."""
        try:
            yield
        except ConfigError:  # the same for every model: nothing can be measured
            raise
        except (ModelError, RuntimeError, ValueError) as error:
            self.error = " ".join(str(error).split())

    def ratio_to(self, first: Draft, *, alpha: float = 0.05) -> Ratio | None:
        """Of the single-stream latency to `first`'s, over the openings that both have."""
        threads = next(iter(self.times), None)
        if threads is None or threads not in first.times:
            return None
        own, its = self.times[threads], first.times[threads]
        paired = min(len(own), len(its))
        return ratio(own[:paired], its[:paired], alpha=alpha) if paired else None

    def result(self, first: Draft) -> SubjectResult:
        """What is known by now; `first` is the artifact that the others are compared with."""
        single = tuple(
            scenario_of("single-stream", rounds, threads=threads) for threads, rounds in self.times.items() if rounds
        )
        return SubjectResult(
            name=self.subject.name,
            sha256=self.subject.sha256,
            file_bytes=self.subject.file_bytes,
            load_us=_median(self.loads_us),
            first_us=_median(self.firsts_us),
            warmup=self.warmup,
            scenarios=(*single, *self.others),
            stages=self.stages,
            operators=self.operators,
            memory=self.memory,
            energy=self.energy,
            accuracy=self.accuracy,
            ratio=None if self is first else self.ratio_to(first),
            error=self.error,
        )


def scenario_of(
    kind: ScenarioKind,
    rounds: Rounds,
    *,
    threads: int,
    batch: int = 1,
    per_s: Callable[[int], float] | None = None,
    missed: int | None = None,
    offered_per_s: float | None = None,
) -> Scenario:
    """A scenario from its calls.

    Args:
        kind: of it.
        rounds: the nanoseconds of the calls of each opening.
        threads: of the interpreter.
        batch: inputs in one call.
        per_s: the inputs a second of an opening by its number; None is one call after another.
        missed: deadlines.
        offered_per_s: the rate that was asked for.
    """
    rates = [batch * 1e9 / float(its.mean()) if per_s is None else per_s(i) for i, its in enumerate(rounds)]
    return Scenario(
        kind=kind,
        threads=threads,
        batch=batch,
        latency=summarize(rounds),
        throughput=Throughput(float(np.median(rates)), median_interval(rates)),
        histogram=histogram(np.concatenate(rounds) / 1e3).pack(),
        missed=missed,
        offered_per_s=offered_per_s,
    )


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None
