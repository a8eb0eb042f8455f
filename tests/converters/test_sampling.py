from __future__ import annotations

import importlib.util
import sys
import time

import pytest

from edgeloop_converters.attempts import Attempts, Limits
from edgeloop_converters.prepare import prepare
from edgeloop_converters.proof import Drop, Gate
from edgeloop_converters.sampling import sample
from edgeloop_converters.trials import TrialCache

pytestmark = pytest.mark.tf


@pytest.fixture
def attempts(digit_task, tmp_path):
    model, train, held_out, steps = digit_task
    prepared = prepare(model, train, held_out, preprocessing=steps, seed=0)
    gate = Gate(max_drop=Drop(0.05, relative=False), max_size_bytes=12_000)
    with Attempts(prepared, gate, TrialCache(tmp_path), Limits(workers=0), tell=lambda _: None) as made:
        yield made


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna isn't installed (extra `search`)")
@pytest.mark.filterwarnings("ignore::UserWarning")  # optuna's word on what it calls experimental
def test_sampling_finds_what_holds_and_trains_nothing_that_is_too_large(attempts) -> None:
    skipped: list[str] = []
    best = sample(attempts, augment="none", epoch_s=0.5, deadline=time.monotonic() + 60, skipped=skipped)
    assert skipped == []
    assert best is not None
    assert best.verdict.holds
    proxies = {c.recipe.steps[0]: c for c in attempts.candidates if c.is_proxy}
    for c in attempts.candidates:
        assert c.is_proxy or proxies[c.recipe.steps[0]].size_bytes <= 12_000


def test_without_optuna_the_search_says_what_it_did_not_try(attempts, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    skipped: list[str] = []
    assert sample(attempts, augment="none", epoch_s=0.5, deadline=time.monotonic() + 60, skipped=skipped) is None
    assert skipped[0].endswith("pip install 'edgeloop[search]'")
