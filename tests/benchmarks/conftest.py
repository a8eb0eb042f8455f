"""What the benchmarks' tests share: results that nobody measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop_bench.result import BenchResult

SUITES = Path(__file__).resolve().parents[2] / "benchmarks" / "suites"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a module of `benchmarks/suites` by its name."""
    monkeypatch.syspath_prepend(str(SUITES))
    return importlib.import_module


@pytest.fixture
def synthetic(suite: Callable[[str], Any]) -> Callable[..., BenchResult]:
    """One synthetic run; see `synthetic_run`. It is never an INVALID one by chance."""
    module = suite("synthetic_results")

    def make(seed: int = 0, *, board: int = 0, models: tuple[int, ...] = (0, 2), **options: Any) -> BenchResult:
        rng = np.random.default_rng(seed)
        run: BenchResult = module.synthetic_run(rng, board=board, models=models, **options)
        while not run.verdict.valid:
            run = module.synthetic_run(rng, board=board, models=models, **options)
        return run

    return make
