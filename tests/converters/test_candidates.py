from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeloop_converters.candidates import Candidate, best_of, excess, nearest_of, pareto_front
from edgeloop_converters.evaluate import Evaluation
from edgeloop_converters.proof import Comparison, Drop, Gate, Measurement
from edgeloop_converters.recipes import find_recipe

GATE = Gate("accuracy", Drop(0.01, relative=False), max_size_bytes=1000)


def candidate(drop: float, size: int, *, is_proxy: bool = False) -> Candidate:
    evaluation = Evaluation(size, 10, 10, 1, (), 3, {"CONV_2D": 1}, 100, None, ())
    return Candidate(
        recipe=find_recipe("int8"),
        model=b"",
        outputs=np.zeros(1),
        evaluation=evaluation,
        measurement=Measurement("accuracy", 0.9 - drop, 0.8, 1.0, 0.95, 0.1, 0.8, 100),
        comparison=Comparison("accuracy", 0.9, 0.9 - drop, drop, drop - 0.01, drop + 0.01, 0.95, 100),
        size_bytes=size,
        is_proxy=is_proxy,
    ).judged(GATE)


figures = st.lists(
    st.tuples(st.floats(-0.05, 0.2).map(lambda v: round(v, 3)), st.integers(100, 3000)), min_size=1, max_size=12
)


@given(figures)
def test_the_best_is_the_smallest_that_holds(pairs) -> None:
    made = [candidate(*p) for p in pairs]
    best = best_of(made)
    holding = [c for c in made if c.comparison.drop <= 0.01 and c.size_bytes <= 1000]
    assert (best is None) == (not holding)
    if best is not None:
        assert best.size_bytes == min(c.size_bytes for c in holding)
        assert excess(best) == 0


@given(figures)
def test_nothing_beats_a_member_of_the_front_and_all_others_are_beaten(pairs) -> None:
    made = [candidate(*p) for p in pairs]
    front = pareto_front(made)
    assert front
    points = {(c.comparison.drop, c.size_bytes) for c in made}
    for drop, size in points:
        beaten = any(d <= drop and s <= size and (d, s) != (drop, size) for d, s in points)
        assert ((drop, size) in {(c.comparison.drop, c.size_bytes) for c in front}) is not beaten
    assert [c.size_bytes for c in front] == sorted(c.size_bytes for c in front)


def test_an_untrained_proxy_is_never_the_result() -> None:
    proxy, real = candidate(0.0, 100, is_proxy=True), candidate(0.5, 5000)
    assert best_of([proxy]) is None
    assert nearest_of([proxy, real]) is real
    assert pareto_front([proxy, real]) == (real,)


def test_the_nearest_misses_by_the_smallest_share_of_its_budgets() -> None:
    a_little_large, far_too_large, drops = candidate(0.0, 1100), candidate(0.0, 2500), candidate(0.02, 900)
    assert nearest_of([far_too_large, drops, a_little_large]) is a_little_large
    assert excess(drops) == (0.02 - 0.01) / 0.01
