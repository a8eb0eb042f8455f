"""The sampler: a coin for each input, with its probability kept, beside drawing rows without replacement by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop.sampler import pick, rarity, uncertainty

ROWS, EXPECTED = 1000, 20
RNG = np.random.default_rng(0)


@pytest.mark.benchmark(group="pick 20 of 1,000 inputs by three scores")
def test_picking(beside) -> None:
    raw = RNG.gamma(0.3, size=(ROWS, 10)).astype(np.float32)
    outputs = raw / raw.sum(axis=1, keepdims=True)
    seen = RNG.integers(1, 500, 10).astype(np.float64)
    novel = RNG.random(ROWS)

    def scores() -> dict:
        return {"uncertain": uncertainty(outputs), "rare": rarity(outputs.argmax(axis=1), seen), "novel": novel}

    def by_hand() -> object:
        best = np.stack(list(scores().values())).max(axis=0)
        return RNG.choice(ROWS, EXPECTED, replace=False, p=best / best.sum())

    beside(lambda: pick(scores(), EXPECTED, RNG), by_hand, "numpy's choice without replacement, same scores")
