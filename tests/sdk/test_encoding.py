"""Encoding gives the bits of preprocessing and quantization, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.encoding import Encoder
from edgeloop.errors import InputError
from edgeloop.manifest import TensorSpec
from edgeloop.preprocessing import CenterCrop, Impute, Normalize, Resize, Scale, Step, preprocess
from edgeloop.quantization import quantize, quantize_table

finite = st.floats(-300, 300, width=32)
scales = st.floats(0.015625, 8, width=32)
steps_of_three = st.lists(
    st.one_of(
        st.builds(Scale, finite, finite),
        st.builds(Normalize, st.tuples(finite, finite, finite), st.tuples(scales, scales, scales)),
    ),
    max_size=3,
)


def all_values(sensor: str) -> np.ndarray:
    """An image (256, 3) that has each value in each channel."""
    return np.repeat(np.arange(256, dtype=np.uint8).view(sensor)[:, None], 3, axis=1)


@given(
    steps=steps_of_three,
    scale=scales,
    zero_point=st.integers(-128, 127),
    stored=st.sampled_from(["int8", "uint8", "float32"]),
    sensor=st.sampled_from(["int8", "uint8"]),
)
def test_the_table_holds_what_the_steps_and_quantization_give_for_all_256_values(
    steps: list[Step], scale: float, zero_point: int, stored: str, sensor: str
) -> None:
    quantized = {} if stored == "float32" else {"scale": scale, "zero_point": zero_point}
    spec = TensorSpec("x", (1, 256, 3), stored, **quantized)
    x = all_values(sensor)
    real = preprocess(steps, x[None])
    table = quantize_table(spec, steps, x.dtype, 3)
    if not np.isfinite(real).all():
        assert table is None
        return
    assert table is not None
    encoder = Encoder(spec, steps, None, "model")
    assert np.array_equal(encoder(x), quantize(spec, real))
    assert np.array_equal(encoder(x[::-1]), quantize(spec, real[:, ::-1]))


@pytest.mark.parametrize(("sensor", "stored", "zero_point"), [("uint8", "int8", -128), ("int8", "uint8", 128)])
@pytest.mark.parametrize("times", [1, 4])
def test_a_camera_into_an_input_of_its_own_scale_keeps_every_value_apart(
    sensor: str, stored: str, zero_point: int, times: int
) -> None:
    spec = TensorSpec("x", (1, 256 * times, 3), stored, scale=1 / 255, zero_point=zero_point)
    x = np.tile(all_values(sensor), (times, 1))
    encoded = Encoder(spec, (Scale(1 / 255),), None, "model")(x)
    assert np.array_equal(encoded, quantize(spec, preprocess((Scale(1 / 255),), x[None])))
    assert len(np.unique(encoded)) == 256


@pytest.mark.parametrize(
    "steps",
    [
        (Resize(8, 6, "nearest"), Normalize((100, 110, 120), (50, 55, 60))),
        (CenterCrop(20, 20), Scale(0.5)),
        (Resize(8, 6), Scale(0.5)),
        (Scale(0.5), CenterCrop(4, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int32"])
@pytest.mark.parametrize("stored", ["int8", "int16", "float32"])
def test_any_steps_into_any_input_give_the_same_bits(steps: tuple[Step, ...], dtype: str, stored: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (17, 13, 3)).astype(dtype)
    real = preprocess(steps, image[None])
    quantized = {} if stored == "float32" else {"scale": 0.7, "zero_point": 3}
    spec = TensorSpec("x", real.shape, stored, **quantized)
    encoder = Encoder(spec, steps, image.shape, "model")
    assert np.array_equal(encoder(image), quantize(spec, real))
    assert np.array_equal(encoder.batch(np.stack([image, image])), quantize(spec, np.concatenate([real, real])))


def test_a_gray_image_gets_the_channel_that_the_model_wants() -> None:
    spec = TensorSpec("x", (1, 4, 4, 1), "float32")
    image = np.arange(30, dtype=np.uint8).reshape(5, 6)
    assert Encoder(spec, (Resize(4, 4),), (5, 6), "model")(image).shape == (1, 4, 4, 1)


def test_missing_values_are_refused_unless_a_step_fills_them() -> None:
    spec = TensorSpec("x", (1, 2), "float32")
    row = np.array([np.nan, 1])
    with pytest.raises(InputError, match="NaN or infinity"):
        Encoder(spec, (), None, "model")(row)
    assert Encoder(spec, (Impute((7, 8)),), None, "model")(row).tolist() == [[7, 1]]


def test_an_input_with_a_free_axis_is_refused() -> None:
    with pytest.raises(InputError, match="only the batch may be free"):
        Encoder(TensorSpec("x", (-1, -1, 3), "float32"), (), None, "model")


def test_steps_that_do_not_lead_to_the_model_are_refused() -> None:
    with pytest.raises(InputError, match=r"makes inputs of shape \(8, 8, 3\)"):
        Encoder(TensorSpec("x", (1, 9, 9, 3), "int8", 1, 0), (Resize(8, 8),), (20, 20, 3), "model")


@given(
    rows=st.lists(st.lists(st.floats(-(2.0**40), 2.0**40, width=32), min_size=3, max_size=3), min_size=1, max_size=4),
    scale=scales,
    zero_point=st.integers(-128, 127),
    stored=st.sampled_from(["int8", "uint8", "int16", "int32"]),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
)
def test_real_values_one_sample_after_another_get_the_bits_of_quantization(
    rows: list[list[float]], scale: float, zero_point: int, stored: str, dtype: str
) -> None:
    spec = TensorSpec("x", (1, 3), stored, scale=scale, zero_point=zero_point)
    encoder = Encoder(spec, (), None, "model")
    for row in rows:
        x = np.array(row).astype(dtype)
        assert np.array_equal(encoder(x), quantize(spec, x[None].astype(np.float32)))


@pytest.mark.parametrize("zero_point", [-128, -127, 0, 1, 88, 89, 127])
@pytest.mark.parametrize(("stored", "scale"), [("int8", 0.3910152316093445), ("int8", 1 / 255), ("uint8", 0.5)])
def test_real_values_around_every_threshold_get_the_bits_of_quantization(
    stored: str, scale: float, zero_point: int
) -> None:
    """All 129 float32 values around each k + 1/2 steps, from below the least stored value to above the largest."""
    zero_point += 128 * (stored == "uint8")
    spec = TensorSpec("x", (1, 261 * 129), stored, scale=scale, zero_point=zero_point)
    least = int(np.iinfo(stored).min) - zero_point
    halves = (np.arange(least - 3, least + 258) + 0.5).astype(np.float32) * np.float32(scale)
    x = (halves.view(np.int32)[:, np.newaxis] + np.arange(-64, 65, dtype=np.int32)).view(np.float32).reshape(-1)
    assert np.array_equal(Encoder(spec, (), None, "model")(x), quantize(spec, x[np.newaxis]))


@given(
    bits=st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8),
    scale=scales,
    zero_point=st.integers(-128, 127),
    stored=st.sampled_from(["int8", "uint8", "int16", "int32"]),
)
def test_any_32_bits_are_quantized_or_refused(bits: list[int], scale: float, zero_point: int, stored: str) -> None:
    x = np.array(bits, dtype=np.uint32).view(np.float32)
    spec = TensorSpec("x", (1, 8), stored, scale=scale, zero_point=zero_point)
    encoder = Encoder(spec, (), None, "model")
    with np.errstate(over="ignore"):  # x / scale may be infinite where x isn't: the largest stored value
        if np.isfinite(x).all():
            assert np.array_equal(encoder(x), quantize(spec, x[np.newaxis]))
        else:
            before = encoder(np.zeros(8, np.float32)).copy()
            with pytest.raises(InputError, match="NaN or infinity"):
                encoder(x)
            assert np.array_equal(encoder(np.zeros(8, np.float32)), before)


@pytest.mark.parametrize("sensor", ["int8", "uint8"])
@pytest.mark.parametrize("picks", [(), (CenterCrop(40, 32),)])
@given(steps=steps_of_three)
def test_a_large_image_for_a_float_input_gets_the_bits_of_its_steps(
    sensor: str, picks: tuple[Step, ...], steps: list[Step]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8).view(sensor)
    real = preprocess((*picks, *steps), image[np.newaxis])
    if not np.isfinite(real).all():
        return
    encoder = Encoder(TensorSpec("x", real.shape, "float32"), (*picks, *steps), image.shape, "model")
    assert encoder(image).tobytes() == real.tobytes()


def test_a_sensor_that_gives_what_the_input_stores_is_copied_into_the_given_memory() -> None:
    x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    memory = np.zeros((1, 2, 2, 3), np.uint8)
    spec = TensorSpec("x", (1, 2, 2, 3), "uint8", scale=0.5, zero_point=0)
    encoded = Encoder(spec, (Scale(0.5),), None, "m", memory)(x)
    assert encoded is memory
    assert np.array_equal(encoded[0], x)
