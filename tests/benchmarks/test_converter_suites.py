"""What the suites against peers conclude from figures; they themselves run for minutes, by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SUITES = Path(__file__).resolve().parents[2] / "benchmarks" / "suites" / "converters"


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SUITES))
    return importlib.import_module("front")


def measured(front: Any, accuracy: float, size_bytes: int, latency_ns: int) -> Any:
    rng = np.random.default_rng(latency_ns)
    rounds = [rng.integers(latency_ns - 20, latency_ns + 20, 10) for _ in range(20)]
    return front.Measured(accuracy, size_bytes, rounds)


def test_row_is_beaten_only_by_what_is_nowhere_worse(front: Any) -> None:
    plain = measured(front, 0.70, 90_000, 1000)
    assert front.beats(measured(front, 0.70, 80_000, 1000), plain)
    assert front.beats(measured(front, 0.70, 90_000, 800), plain)
    assert not front.beats(measured(front, 0.69, 80_000, 800), plain)
    assert not front.beats(measured(front, 0.71, 80_000, 1200), plain)
    assert not front.beats(plain, plain)


def test_latency_within_the_noise_counts_as_the_same(front: Any) -> None:
    one, other = measured(front, 0.70, 90_000, 1000), measured(front, 0.70, 90_000, 1001)
    assert not front.beats(one, other)
    assert not front.beats(other, one)


def test_what_runs_in_the_other_environment_imports_nothing_of_ours() -> None:
    for name in ("resnet8.py", "tfmot_worker.py"):
        source = (SUITES / name).read_text(encoding="utf-8")
        assert "import edgeloop" not in source
        assert "from edgeloop" not in source


def test_every_kind_of_input_is_judged_after_calibration_on_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITES))
    kinds = importlib.import_module("tinyml").kinds_of("kws")
    assert len(kinds) == 7
    assert all(others and kind not in others for kind, others in kinds.items())


def test_features_have_the_shapes_that_the_models_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUITES))
    sounds = importlib.import_module("sounds")
    rng = np.random.default_rng(0)
    for name, shape in (("ad01", (3, 640)), ("kws", (3, 49, 10, 1))):
        for sound in sounds.SOUNDS[name]:
            features = sounds.FEATURES[name](sound(rng, 3))
            assert features.shape == shape
            assert np.isfinite(features).all()
