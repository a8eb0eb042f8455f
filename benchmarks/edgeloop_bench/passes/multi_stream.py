"""Inputs that come at a fixed rate, whether the model is ready or not: how late answers are, and how many too late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeloop.latency import Rounds
from edgeloop_bench.draft import Draft, scenario_of
from edgeloop_bench.passes.single_stream import LEAST_WARMUP
from edgeloop_bench.result import Settings
from edgeloop_bench.subject import open_subject

__all__ = ["Answered", "answer_arrivals", "measure_multi_stream"]

SPIN_NS = 200_000
"""A sleep ends some 60 µs late (the timer's slack): the rest of the way to an input is waited for awake."""


@dataclass(frozen=True)
class Answered:
    """What an arrival schedule has led to.

    Args:
        latency_ns: (n,) from each input's scheduled time to its answer.
        elapsed_s: from the first input's time to the last answer.
    """

    latency_ns: NDArray[np.int64]
    elapsed_s: float


def answer_arrivals(
    call: Callable[[], object],
    count: int,
    period_ns: int,
    *,
    clock: Callable[[], int] = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Answered:
    """Answer `count` inputs that come every `period_ns`, one after another.

    An input's latency counts from when it was due, not from when the model got to it: an answer that takes long makes
    the inputs behind it late, and a count from the call's own start would leave that out ("coordinated omission": G.
    Tene, "How NOT to Measure Latency", 2013).

    Args:
        call: the model.
        count: inputs.
        period_ns: between two of them.
        clock: monotonic nanoseconds.
        sleep: waits so many seconds.
    """
    latency = np.empty(count, dtype=np.int64)
    start = clock() + period_ns
    done = start
    for i in range(count):
        due = start + i * period_ns
        while (ahead := due - clock()) > 0:
            if ahead > SPIN_NS:
                sleep((ahead - SPIN_NS) / 1e9)
        call()
        done = clock()
        latency[i] = done - due
    return Answered(latency, (done - start) / 1e9)


def measure_multi_stream(draft: Draft, settings: Settings, rate_per_s: float) -> None:
    """Measure one model at `rate_per_s`, with the first number of threads.

    Source: V. J. Reddi et al., "MLPerf Inference Benchmark", ISCA 2020: a query each time constant, and the share of
    them that weren't answered within it.
    """
    period_ns = round(1e9 / rate_per_s)
    deadline_ns = period_ns if settings.deadline_us is None else settings.deadline_us * 1e3
    wanted = max(settings.min_runs, settings.seconds * rate_per_s)
    count = -(-int(wanted) // settings.openings)
    rounds: Rounds = []
    rates: list[float] = []
    for _ in range(settings.openings):
        rng = np.random.default_rng(settings.seed)
        opened = open_subject(draft.subject, settings, threads=settings.threads[0], rng=rng)
        for _ in range(LEAST_WARMUP):
            opened.invoke()
        answered = answer_arrivals(opened.invoke, count, period_ns)
        rounds.append(answered.latency_ns)
        # The last input's own period belongs to the time: n inputs at a rate take n periods.
        rates.append(count / max(answered.elapsed_s, count * period_ns / 1e9))
    draft.others.append(
        scenario_of(
            "multi-stream",
            rounds,
            threads=settings.threads[0],
            per_s=rates.__getitem__,
            missed=int(sum((its > deadline_ns).sum() for its in rounds)),
            offered_per_s=rate_per_s,
        )
    )
