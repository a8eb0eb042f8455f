"""What the summaries of a signal say of tones, noise, silence and what is broken."""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop.baseline import fit_baseline
from edgeloop.errors import ConfigError, InputError
from edgeloop.profile import Profiler
from edgeloop.signal_summaries import SIGNAL_SUMMARIES
from edgeloop.summaries import summarize, summary_names

SAMPLES = 1024


def tone(frequency: float, amplitude: float = 1.0, offset: float = 0.0) -> np.ndarray:
    """A sine at so many cycles a sample."""
    return (offset + amplitude * np.sin(2 * np.pi * frequency * np.arange(SAMPLES))).astype(np.float32)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SAMPLES).astype(np.float32)


def one(window: np.ndarray) -> dict[str, float]:
    return dict(zip(SIGNAL_SUMMARIES, summarize("signal", window[np.newaxis])[0].tolist(), strict=True))


def test_a_tone_is_where_it_is_and_not_flat() -> None:
    found = one(tone(0.125, amplitude=3, offset=2))
    assert found["offset"] == pytest.approx(2, abs=0.01)
    assert found["level"] == pytest.approx(3 / np.sqrt(2), rel=0.01)
    assert found["crest"] == pytest.approx(np.sqrt(2), rel=0.01)
    assert found["crossings"] == pytest.approx(0.25, rel=0.02)
    assert found["centroid"] == pytest.approx(0.25, rel=0.02)
    assert found["flatness"] < 0.001


def test_white_noise_is_flat_and_spread_over_the_whole_band() -> None:
    found = one(noise())
    assert found["flatness"] > 0.5  # a periodogram's logarithm is biased: e^-0.577 of 1
    assert found["centroid"] == pytest.approx(0.5, abs=0.05)
    assert found["crossings"] == pytest.approx(0.5, abs=0.05)


def test_a_gain_changes_the_level_alone() -> None:
    quiet, loud = one(noise()), one(100 * noise())
    assert loud["level"] == pytest.approx(100 * quiet["level"], rel=1e-4)
    for name in ("crest", "crossings", "centroid", "flatness"):
        assert loud[name] == pytest.approx(quiet[name], rel=1e-3), name


def test_knocks_raise_the_crest_and_a_hum_lowers_the_centroid() -> None:
    knocking = noise()
    knocking[::200] += 12
    assert one(knocking)["crest"] > 2 * one(noise())["crest"]
    assert one(noise() + tone(0.01, amplitude=5))["centroid"] < 0.6 * one(noise())["centroid"]


def test_silence_is_zeros_and_a_broken_sample_is_missing() -> None:
    assert one(np.full(SAMPLES, 7, np.float32)) == dict.fromkeys(SIGNAL_SUMMARIES, 0.0) | {"offset": 7.0}
    broken = noise()
    broken[3] = np.inf
    assert np.isnan(summarize("signal", broken[np.newaxis])).all()


def test_channels_are_averaged_and_other_shapes_refused() -> None:
    mono = noise()
    assert np.array_equal(
        summarize("signal", np.stack([mono, mono], axis=-1)[np.newaxis]), summarize("signal", mono[np.newaxis])
    )
    for shape in ((4, 7), (4,), (4, 8, 2, 2)):
        with pytest.raises(InputError, match="at least 8"):
            summarize("signal", np.zeros(shape))
    with pytest.raises(ConfigError, match="columns, image, signal"):
        summarize("sound", np.zeros((1, 8)))  # type: ignore[arg-type]  # what a user may write


def test_a_baseline_of_signals_sees_a_worn_bearing() -> None:
    healthy = np.stack([noise(seed) for seed in range(200)])
    baseline = fit_baseline(healthy, None, summary="signal")
    assert tuple(feature.name for feature in baseline.inputs) == summary_names("signal", (SAMPLES,))
    worn = np.stack([noise(seed) for seed in range(200, 300)])
    worn[:, ::128] += 15
    profiler = Profiler(baseline)
    counts = dict(
        zip(SIGNAL_SUMMARIES, profiler.profile(worn, np.empty((100, 0))).split(baseline.features), strict=True)
    )
    assert counts["crest"][-2] == 100, "all of them in the highest tenth"
