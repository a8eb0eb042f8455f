"""Running models with either kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import DataError, ModelError
from edgeloop_converters.tflite import agreement, run
from edgeloop_converters.tflite.interpreter import dequantize, to_tensor
from tflite_samples import Converted, Published, features, images, spectra


def test_quantized_model_takes_and_gives_real_values(published: Published) -> None:
    x = features(3, 0)
    (raw,) = run(published.kws_int8, x, raw=True)
    (real,) = run(published.kws_int8, x)
    assert raw.dtype == np.int8
    assert real.dtype == np.float32
    assert np.allclose(real, (raw.astype(np.float32) + 128) / 256)
    assert real.sum(axis=1) == pytest.approx(1, abs=0.05)


def test_integer_inputs_pass_as_they_are(published: Published) -> None:
    x = spectra(3, 0)
    quantized = np.clip(np.rint(x / 0.3910152316093445) + 89, -128, 127).astype(np.int8)
    assert np.array_equal(run(published.ad_int8, x)[0], run(published.ad_int8, quantized)[0])


def test_inputs_by_name(published: Published) -> None:
    x = spectra(2, 0)
    assert np.array_equal(run(published.ad_float, {"input_1": x})[0], run(published.ad_float, x)[0])
    with pytest.raises(DataError, match="input_2"):
        run(published.ad_float, {"input_2": x})


def test_no_samples_is_an_error(published: Published) -> None:
    with pytest.raises(DataError, match="shape"):
        run(published.ad_float, np.zeros((0, 640), np.float32))


def test_kernels_agree_as_far_as_is_said(published: Published) -> None:
    x = features(60, 5)
    found = agreement(published.kws_int8, x)
    fast, exact = (run(published.kws_int8, x, kernels=k, raw=True)[0] for k in ("default", "reference"))
    assert found.samples == 60
    assert found.max_steps == np.abs(fast.astype(int) - exact.astype(int)).max()
    assert found.max_abs == pytest.approx(found.max_steps / 256)
    assert found.top1 == (fast.argmax(1) == exact.argmax(1)).mean()
    assert found.top1 > 0.9


def test_float_models_have_no_steps(published: Published) -> None:
    found = agreement(published.ad_float, spectra(4, 0))
    assert found.max_steps is None
    assert found.max_abs < 1e-2


@pytest.mark.tf
def test_samples_do_not_see_each_other(converted: Converted) -> None:
    x = np.random.default_rng(0).normal(size=(3, 8, 3)).astype(np.float32)
    together = run(converted.lstm, x)[0]
    alone = np.concatenate([run(converted.lstm, x[k : k + 1])[0] for k in range(3)])
    assert np.array_equal(together, alone)


@pytest.mark.tf
def test_resource_variables_carry_on_as_in_a_stream(converted: Converted) -> None:
    totals = run(converted.stream, np.ones((3, 4), np.float32))[0]
    assert totals[:, 0].tolist() == [1, 2, 3]


@pytest.mark.tf
def test_more_threads_give_the_same_answers(converted: Converted) -> None:
    x = images(3, 0)
    assert np.array_equal(run(converted.int8, x, threads=2)[0], run(converted.int8, x)[0])


def test_damaged_model_is_an_error(published: Published) -> None:
    with pytest.raises(ModelError):
        run(published.kws_int8[:20_000], features(1, 0))


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20),
    st.floats(0.01, 2),
    st.integers(-128, 127),
)
def test_quantizing_and_back_is_off_by_half_a_step(values: list[float], scale: float, zero_point: int) -> None:
    detail = {
        "dtype": np.int8,
        "quantization": (scale, zero_point),
        "quantization_parameters": {
            "scales": np.array([scale]), "zero_points": np.array([zero_point]), "quantized_dimension": 0
        },
    }  # fmt: skip
    real = np.array(values, np.float32)
    held = np.clip(real, (-128 - zero_point) * scale, (127 - zero_point) * scale)
    assert np.abs(dequantize(to_tensor(real, detail), detail) - held).max() <= scale * 0.5001 + 1e-4
