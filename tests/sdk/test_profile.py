from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeloop.baseline import Baseline, bin_counts, fit_baseline, output_features
from edgeloop.errors import DataError, InputError, MessageError
from edgeloop.profile import Profile, Profiler, pack_counts, unpack_counts
from edgeloop.summaries import IMAGE_SUMMARIES, summarize

BASELINE = fit_baseline(
    np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32),
    np.random.default_rng(1).dirichlet([1, 1, 1], 300).astype(np.float32),
    summary="columns",
    classes=3,
)
any_float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(0, 12))
    x = draw(hnp.arrays(np.float32, (n, 3), elements=any_float32))
    outputs = draw(hnp.arrays(np.float32, (n, 3), elements=st.floats(0, 1, width=32)))
    return x, outputs


def profile_of(batch: tuple[np.ndarray, np.ndarray]) -> Profile:
    return Profiler(BASELINE).profile(*batch)


@given(batches(), batches(), batches())
def test_merging_is_associative_and_commutative(a, b, c) -> None:
    p, q, r = profile_of(a), profile_of(b), profile_of(c)
    assert (p + q) + r == p + (q + r)
    assert p + q == q + p
    assert p + Profiler(BASELINE).empty() == p


@given(batches(), batches())
def test_merging_equals_the_profile_of_the_concatenated_data(a, b) -> None:
    both = np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])
    assert profile_of(a) + profile_of(b) == profile_of(both)


@given(batches())
def test_every_sample_is_counted_once_per_feature(batch) -> None:
    profile = profile_of(batch)
    for counts in profile.split(BASELINE.features):
        assert counts.sum() == profile.n == len(batch[0])


def test_a_missing_value_has_a_bin_of_its_own() -> None:
    profile = profile_of((np.full((5, 3), np.nan, np.float32), np.full((5, 3), 1 / 3, np.float32)))
    for counts in profile.split(BASELINE.features)[:3]:
        assert counts[-1] == 5


def test_infinity_falls_into_the_outer_bins() -> None:
    edges = np.array([0, 1], dtype=np.float32)
    assert bin_counts(edges, np.array([-np.inf, np.inf, np.nan], dtype=np.float32)).tolist() == [1, 0, 1, 1]


def test_profiles_over_other_bins_do_not_add_up() -> None:
    with pytest.raises(InputError, match="other baselines"):
        _ = profile_of((np.zeros((1, 3)), np.zeros((1, 3)))) + Profile(np.zeros(4, dtype=np.int64), 0)


@given(hnp.arrays(np.int64, st.integers(0, 50), elements=st.integers(0, 2**63 - 1)))
def test_counts_survive_the_wire(counts) -> None:
    assert np.array_equal(unpack_counts(pack_counts(counts)), counts)


@given(st.binary(max_size=40))
def test_any_bytes_are_counts_or_a_message_error(raw: bytes) -> None:
    try:
        counts = unpack_counts(raw)
    except MessageError:
        return
    assert (counts >= 0).all()


def test_ten_features_of_twenty_bins_fit_into_a_kilobyte() -> None:
    data = np.random.default_rng(2).normal(size=(60_000, 10)).astype(np.float32)
    baseline = fit_baseline(data, None, summary="columns", bins=20)
    assert len(pack_counts(Profiler(baseline).profile(data, None).counts)) <= 1000


def test_too_little_data_makes_no_baseline() -> None:
    with pytest.raises(DataError, match="at least 50"):
        fit_baseline(np.zeros((49, 2)), None, summary="columns")


def test_the_baseline_holds_the_training_data_s_own_counts() -> None:
    assert isinstance(BASELINE, Baseline)
    for feature in BASELINE.features:
        assert sum(feature.counts) == 300


def test_entropy_and_confidence_are_those_of_the_definition() -> None:
    found = output_features(np.array([[0.5, 0.5], [1.0, 0.0]], dtype=np.float32), 2)
    assert found[0] == pytest.approx([0.5, np.log(2), 0], rel=1e-5)
    assert found[1] == pytest.approx([1.0, 0.0, 0], abs=1e-6)


class TestImageSummaries:
    @staticmethod
    def one(image: np.ndarray) -> dict[str, float]:
        return dict(zip(IMAGE_SUMMARIES, summarize("image", image[np.newaxis])[0].tolist(), strict=True))

    def test_brightness_and_contrast_are_mean_and_deviation(self) -> None:
        image = np.random.default_rng(0).uniform(0, 255, (16, 16)).astype(np.float32)
        found = self.one(image)
        assert found["brightness"] == pytest.approx(image.mean(), rel=1e-5)
        assert found["contrast"] == pytest.approx(image.std(), rel=1e-5)

    def test_blur_lowers_sharpness_whatever_the_contrast(self) -> None:
        image = np.random.default_rng(0).uniform(0, 1, (32, 32)).astype(np.float32)
        blurred = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3
        assert self.one(blurred)["sharpness"] < 0.8 * self.one(image)["sharpness"]
        assert self.one(image * 0.3 + 5)["sharpness"] == pytest.approx(self.one(image)["sharpness"], rel=1e-3)

    def test_noise_is_estimated_beside_structure(self) -> None:
        ramp = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.float32)
        noise = np.random.default_rng(0).normal(0, 3, ramp.shape).astype(np.float32)
        assert self.one(ramp)["noise"] == pytest.approx(0, abs=1e-3)
        assert self.one(ramp + noise)["noise"] == pytest.approx(3, rel=0.1)

    def test_a_flat_image_gives_zeros(self) -> None:
        assert self.one(np.full((8, 8, 3), 7, dtype=np.uint8)) == {
            "brightness": 7,
            "contrast": 0,
            "sharpness": 0,
            "noise": 0,
        }

    def test_what_is_no_image_is_refused(self) -> None:
        with pytest.raises(InputError, match="3 × 3"):
            summarize("image", np.zeros((5, 2, 2)))
