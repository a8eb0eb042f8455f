"""The monitor: p-values of a window's features, beside scipy's test of the same tables by hand.

scipy's tail is that of χ², which calls too many windows of a few samples different; ours is calibrated for the window's
n by a bootstrap (`edgeloop_fleet.drift.GNull`), which is done once for each n and isn't in the time of a window.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop_fleet.drift import GNull, psi

FEATURES, BINS, N, TRAINING = 10, 20, 200, 5000
RNG = np.random.default_rng(0)


@pytest.mark.benchmark(group="monitor: p-values of a window of 10 features")
def test_scoring_a_window(beside) -> None:
    import scipy
    from scipy.stats import chi2_contingency

    baseline = RNG.multinomial(TRAINING, np.full(BINS, 1 / BINS), FEATURES)
    window = RNG.multinomial(N, np.full(BINS, 1 / BINS), FEATURES)
    nulls = [GNull(row, seed=i) for i, row in enumerate(baseline)]

    def ours() -> object:
        return [null.p_value(row) for null, row in zip(nulls, window, strict=True)], psi(window, baseline)

    def by_hand() -> object:
        p_values = []
        for row, its in zip(window, baseline, strict=True):
            table = np.stack([row, its])
            p_values.append(chi2_contingency(table[:, table.any(axis=0)], lambda_="log-likelihood").pvalue)
        p, q = (window + 0.5) / (N + BINS / 2), (baseline + 0.5) / (TRAINING + BINS / 2)
        return p_values, ((p - q) * np.log(p / q)).sum(axis=-1)

    assert np.allclose(ours()[1], by_hand()[1])
    beside(ours, by_hand, f"scipy {scipy.__version__}'s chi2_contingency, numpy by hand")
