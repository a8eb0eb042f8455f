"""The observer's share of a processor: kept by what looking costs, and unbiased whatever is left out."""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop.allowance import Allowance, draw


def spent(share: float, rates: list[int], row_s: float, batch_s: float = 0.0) -> list[float]:
    """What was spent in each second, of batches of 256 at these rates; some take twice as long as others."""
    allowance, rng, found = Allowance(share), np.random.default_rng(0), []
    for second, rate in enumerate(rates):
        batches = max(1, rate // 256)
        found.append(0.0)
        for batch in range(batches):
            n = rate // batches
            rows, _ = draw(n, allowance.affords(n, second + batch / batches), rng)
            cost_s = (len(rows) * row_s + batch_s * (len(rows) > 0)) * rng.choice([0.67, 1.33])
            allowance.spend(len(rows), cost_s)
            found[-1] += cost_s
    return found


@pytest.mark.parametrize("batch_s", [0.0, 3e-3])
@pytest.mark.parametrize("rate", [3_000, 10_000, 50_000])
def test_it_takes_no_more_than_its_share_and_nearly_all_of_it(rate: int, batch_s: float) -> None:
    seconds = spent(0.1, [rate] * 60, row_s=300e-6, batch_s=batch_s)
    assert 0.085 < np.mean(seconds[5:]) < 0.105


def test_where_there_is_time_for_all_all_are_looked_at() -> None:
    allowance = Allowance(0.1)
    for batch in range(200):
        part = allowance.affords(500, batch * 1.0)
        assert part == 1 or batch < 10  # it starts with little
        allowance.spend(int(500 * part), 0.09 * part)


def test_a_flood_is_not_looked_at_on_credit_and_ends_with_it() -> None:
    seconds = spent(0.1, [100] * 20 + [100_000] * 20 + [100] * 20, row_s=100e-6)
    assert sum(seconds[20:40]) < 0.1 * 20 + 0.6
    assert np.mean(seconds[45:]) == pytest.approx(100 * 100e-6, rel=0.2)


@pytest.mark.parametrize("part", [0.9, 0.3, 0.02, 1 / 256])
@pytest.mark.parametrize("rows", [5, 64, 700])
def test_every_row_is_drawn_with_the_probability_that_is_said(rows: int, part: float) -> None:
    rng, total = np.random.default_rng(0), 6_000
    hits, said = np.zeros(rows), 0.0
    for _ in range(total):
        drawn, said = draw(rows, part, rng)
        hits[drawn] += 1
    assert said == pytest.approx(part, rel=0.5)
    error = np.sqrt(said * (1 - said) / total)
    assert np.abs(hits / total - said).max() < 5 * error
