"""Over a clock that the calls themselves move, so that every figure is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeloop.latency import TURN_NS, measure, ratio, sample_rounds, summarize


class Machine:
    """A clock, and calls that take as long as they are told."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []

    def clock(self) -> int:
        return self.now_ns

    def call(self, name: str, took_ns: Callable[[], int]) -> Callable[[], None]:
        def call() -> None:
            self.log.append(name)
            self.now_ns += took_ns()

        return call


def test_every_call_gets_its_time_and_its_runs() -> None:
    machine = Machine()
    calls = {"slow": machine.call("slow", lambda: 20_000_000), "fast": machine.call("fast", lambda: 1_000_000)}
    rounds = sample_rounds(calls, min_time_s=0.1, min_runs=30, warmup=3, clock=machine.clock)
    assert {len(r) for r in rounds.values()} == {30}
    slow, fast = summarize(rounds["slow"]), summarize(rounds["fast"])
    assert (slow.n, slow.median_us, slow.median_ci_us) == (30, 20_000, (20_000, 20_000))
    assert (fast.n, fast.median_us) == (30 * TURN_NS // 1_000_000, 1000)


def test_turns_alternate_and_their_first_call_is_not_counted() -> None:
    machine = Machine()
    calls = {name: machine.call(name, lambda: TURN_NS) for name in "ab"}
    rounds = sample_rounds(calls, min_time_s=0, min_runs=3, warmup=1, clock=machine.clock)
    warmup, turns = machine.log[:4], machine.log[4:]
    assert "".join(warmup) == "aabb"
    assert "".join(turns) == "aabbbbaaaabb"
    assert [len(turn) for turn in rounds["a"]] == [1, 1, 1]


def test_the_ratio_is_of_pairs_and_outlives_a_machine_that_slows_down() -> None:
    machine = Machine()
    pace = iter(np.repeat(np.linspace(1, 9, 400), 2).tolist())  # every round slower than the last one

    def took(ns: int) -> Callable[[], int]:
        return lambda: int(ns * next(pace))

    calls = {"a": machine.call("a", took(10_000_000)), "b": machine.call("b", took(11_000_000))}
    rounds = sample_rounds(calls, min_time_s=0, min_runs=100, warmup=1, clock=machine.clock)
    found = ratio(rounds["b"], rounds["a"])
    assert found.value == pytest.approx(1.1, rel=0.02)
    assert found.ci is not None
    assert found.ci[0] <= 1.1 <= found.ci[1]
    assert found.differs


def test_equal_calls_do_not_differ() -> None:
    rng = np.random.default_rng(3)
    noise = [np.array(rng.lognormal(10, 0.3, size=20), dtype=np.int64) for _ in range(60)]
    assert not ratio(noise[:30], noise[30:]).differs


def test_p99_is_told_only_where_a_thousand_calls_carry_it() -> None:
    few, enough = np.arange(1, 1000) * 1000, np.arange(1, 1001) * 1000
    assert summarize([few]).p99_us is None
    assert summarize([enough]).p99_us == pytest.approx(990, abs=0.1)
    assert summarize([enough]).p90_us == pytest.approx(900.1)


def test_what_was_not_measured_together_is_not_compared() -> None:
    times = [np.array([1000]), np.array([1000])]
    with pytest.raises(ValueError, match="not from one run"):
        ratio(times, times[:1])


def test_real_calls_are_told_apart() -> None:
    found = measure({"short": lambda: sum(range(100)), "long": lambda: sum(range(10_000))}, min_time_s=0.02)
    assert found["long"].median_us > found["short"].median_us > 0
    assert found["short"].n >= 100
