"""Latency of one or several calls, measured in turns so that what disturbs one disturbs all.

A round gives each call a turn of some milliseconds: long enough that its code and data are in the caches, short enough
that a change of clock frequency or a busy neighbour meets all of them alike. Every second round goes backwards. The
first call of a turn is made and not counted, since it pays for what the call before it has pushed out of the caches.

Single calls are not independent (a slow one has slow neighbours), so intervals are taken over rounds, not calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.order import median_interval

__all__ = ["Latency", "Ratio", "Rounds", "measure", "ratio", "sample_rounds", "summarize"]

TURN_NS = 5_000_000
_ENOUGH_FOR_P99 = 1000

Rounds = list[NDArray[np.int64]]
"""The nanoseconds of calls: one array for each turn, or for whatever else may be taken as independent of the others."""


class Latency(msgspec.Struct, frozen=True):
    """What one call took.

    Args:
        n: calls that were counted.
        rounds: arrays that they came in.
        median_us: the median of the rounds' medians.
        median_ci_us: its 95 % confidence interval by order statistics; None under 6 rounds.
        min_us: the fastest call.
        p90_us: 90 % of the calls were at least as fast.
        p99_us: 99 % were; None where fewer than 1,000 calls carry it.
    """

    n: int
    rounds: int
    median_us: float
    median_ci_us: tuple[float, float] | None
    min_us: float
    p90_us: float
    p99_us: float | None


class Ratio(msgspec.Struct, frozen=True):
    """How much longer one call takes than another, measured in the same rounds.

    Args:
        value: the median over the rounds of (its median / the other's median); 2 is twice as slow.
        ci: its 95 % confidence interval by order statistics; None under 6 rounds.
        rounds: pairs that it is taken over.
    """

    value: float
    ci: tuple[float, float] | None
    rounds: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves 1 out."""
        return self.ci is not None and not self.ci[0] <= 1 <= self.ci[1]


def sample_rounds(
    calls: Mapping[str, Callable[[], object]],
    *,
    min_time_s: float,
    min_runs: int,
    warmup: int,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Rounds]:
    """Time every call in turns until each has both its time and its runs.

    Args:
        calls: by name; each is called without arguments, and what it returns is dropped.
        min_time_s: that the counted calls of each name take together, at least.
        min_runs: counted calls of each name, at least.
        warmup: calls of each name before the first round, at least 1; they also tell how many make a turn.
        clock: monotonic nanoseconds.

    Returns:
        By name, in the order of `calls`, equally many rounds each.
    """
    turns = {name: _turn_length(call, max(1, warmup), clock) for name, call in calls.items()}
    rounds: dict[str, Rounds] = {name: [] for name in calls}
    runs = dict.fromkeys(calls, 0)
    spent_ns = dict.fromkeys(calls, 0)
    order = list(calls)
    while any(runs[name] < min_runs or spent_ns[name] < min_time_s * 1e9 for name in calls):
        for name in order:
            times = _turn(calls[name], turns[name], clock)
            rounds[name].append(times)
            runs[name] += len(times)
            spent_ns[name] += int(times.sum())
        order.reverse()
    return rounds


def _turn_length(call: Callable[[], object], warmup: int, clock: Callable[[], int]) -> int:
    typical_ns = max(1.0, float(np.median(_turn(call, warmup, clock))))
    return max(1, round(TURN_NS / typical_ns))


def _turn(call: Callable[[], object], count: int, clock: Callable[[], int]) -> NDArray[np.int64]:
    call()
    times = []
    for _ in range(count):
        start = clock()
        call()
        times.append(clock() - start)
    return np.array(times, dtype=np.int64)


def summarize(rounds: Rounds) -> Latency:
    """The latency of one call from its rounds, of which there is at least one."""
    calls_us = np.concatenate(rounds) / 1e3
    medians_us = _medians(rounds) / 1e3
    return Latency(
        n=len(calls_us),
        rounds=len(rounds),
        median_us=float(np.median(medians_us)),
        median_ci_us=median_interval(medians_us),
        min_us=float(calls_us.min()),
        p90_us=float(np.percentile(calls_us, 90)),
        p99_us=float(np.percentile(calls_us, 99)) if len(calls_us) >= _ENOUGH_FOR_P99 else None,
    )


def ratio(of: Rounds, to: Rounds, *, alpha: float = 0.05) -> Ratio:
    """How much longer `of` takes than `to`, paired by round; both come from one `sample_rounds`.

    The interval's confidence is 1 - `alpha`: less is for who looks more than once.

    Raises:
        ValueError: they have not equally many rounds.
    """
    if len(of) != len(to):
        raise ValueError(f"{len(of)} rounds can't be paired with {len(to)}: they are not from one run")
    pairs = _medians(of) / _medians(to)
    return Ratio(value=float(np.median(pairs)), ci=median_interval(pairs, alpha=alpha), rounds=len(pairs))


def measure(
    calls: Mapping[str, Callable[[], object]], *, min_time_s: float = 1.0, min_runs: int = 100, warmup: int = 20
) -> dict[str, Latency]:
    """The latency of each call, by name: `sample_rounds` and `summarize` in one."""
    rounds = sample_rounds(calls, min_time_s=min_time_s, min_runs=min_runs, warmup=warmup)
    return {name: summarize(its) for name, its in rounds.items()}


def _medians(rounds: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    return np.array([np.median(r) for r in rounds], dtype=np.float64)
