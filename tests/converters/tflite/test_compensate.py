"""Compensated rounding makes a layer's output, not its weights, come out nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.errors import ConfigError
from edgeloop_converters.recipes import Compile, Recipe, RecipeData, apply_recipe
from edgeloop_converters.tflite import QuantizationWanted, Scheme, compensate, quantize, repair, run
from edgeloop_converters.tflite.compensate import round_compensated
from tflite_samples import Published, spectra


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), per_channel=st.booleans())
def test_rounded_weights_are_steps_of_the_scale_that_a_quantizer_finds(seed: int, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((rng.integers(1, 6), rng.integers(1, 9)))
    x = rng.standard_normal((rng.integers(1, 20), weights.shape[1]))
    rounded = round_compensated(weights, x.T @ x / len(x), per_channel=per_channel)
    axis = 1 if per_channel else None
    scale = np.abs(weights).max(axis=axis, keepdims=True) / 127
    assert np.abs(rounded).max(axis=axis, keepdims=True) == pytest.approx(scale * 127)
    assert np.abs(rounded / scale - np.rint(rounded / scale)).max() < 1e-6


def test_correlated_inputs_make_the_output_more_exact_than_nearest_rounding() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 64)) + 0.05 * rng.standard_normal((500, 64))
    weights = rng.standard_normal((16, 64))
    scale = np.abs(weights).max() / 127
    nearest = np.rint(weights / scale) * scale
    rounded = round_compensated(weights, x.T @ x / len(x), per_channel=False)
    errors = [np.square(x @ (w - weights).T).mean() for w in (rounded, nearest)]
    assert errors[0] < 0.3 * errors[1]


def test_weights_of_zero_stay_zero() -> None:
    assert not round_compensated(np.zeros((3, 4)), np.zeros((4, 4)), per_channel=True).any()


def test_autoencoder_loses_a_third_less_at_the_same_size(published: Published) -> None:
    wanted = QuantizationWanted(Scheme.STATIC_INT8, dense_scales="tensor")
    plain, calibration, x = repair(published.ad_float).model, spectra(150, 1), spectra(100, 2)
    real = run(plain, x)[0]
    rounded = compensate(plain, calibration, dense_scales="tensor")
    made = [quantize(m, wanted, calibration).model for m in (rounded.model, plain)]
    errors = [np.sqrt(np.square(run(m, x)[0] - real).mean()) for m in made]
    assert "10 layers" in rounded.changes[0]
    assert len(made[0]) == len(made[1])
    assert errors[0] < 0.67 * errors[1]


def test_recipe_says_that_it_rounded_and_refuses_what_has_no_8_bit_weights(published: Published) -> None:
    x = spectra(40, 1)
    step = Compile(scheme="int8", tool="litert-quantizer", rounding="compensated")
    notes = apply_recipe(Recipe("r", (step,)), published.ad_float, RecipeData(x, x), seed=0).notes
    assert any("make up for each other" in note for note in notes)
    with pytest.raises(ConfigError, match="8-bit weights"):
        Recipe("r", (Compile(scheme="float16", tool="litert-quantizer", rounding="compensated"),))
    with pytest.raises(ConfigError, match="use tool 'litert-quantizer'"):
        Recipe("r", (Compile(scheme="int8", rounding="compensated"),))
