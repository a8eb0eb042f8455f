"""Each call beside its peer: both by pytest-benchmark, and their ratio in turns, which one after another can't give.

Calls of 0.1 ms and longer are compared by processor time, unless they wait for a disk: on a busy machine a call of some
milliseconds is interrupted and a shorter one isn't, so that their times would say more of the scheduler than of them.
Shorter ones are compared by the clock on the wall, since reading the processor's takes as long as they do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgeloop.latency import ratio, sample_rounds, summarize

IN_TURNS_S = float(os.environ.get("EDGELOOP_BENCH_TURNS_S", "1.0"))
SHORT_S = 1e-4

Call = Callable[[], object]


@pytest.fixture(params=["edgeloop", "peer"])
def beside(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., None]:
    """Measure `ours` or `peer`, by the parameter; with ours goes the ratio to the peer, of turns in one loop."""

    def measure(ours: Call, peer: Call, name: str, *, waits: bool = False) -> None:
        benchmark.extra_info["peer"] = name
        if request.param == "edgeloop":
            benchmark.extra_info["in_turns"] = in_turns(ours, peer, waits=waits)
        benchmark(ours if request.param == "edgeloop" else peer)

    return measure


def in_turns(ours: Call, peer: Call, *, waits: bool) -> dict[str, Any]:
    ours()
    start_s = time.perf_counter()
    ours()
    is_short = time.perf_counter() - start_s < SHORT_S
    clock = time.perf_counter_ns if waits or is_short else time.process_time_ns
    calls = {"ours": ours, "peer": peer}
    rounds = sample_rounds(calls, min_time_s=IN_TURNS_S, min_runs=30, warmup=5, clock=clock)
    return {
        "clock": "processor" if clock is time.process_time_ns else "wall",
        "ours_us": summarize(rounds["ours"]).median_us,
        "peer_us": summarize(rounds["peer"]).median_us,
        "ratio": msgspec.to_builtins(ratio(rounds["ours"], rounds["peer"])),
    }


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """pytest-benchmark's file names the host; ours tells nothing of whose machine it is."""
    machine_info.pop("node", None)
