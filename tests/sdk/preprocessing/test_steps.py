"""What each preprocessing step computes, against definitions written down another way."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import InputError
from edgeloop.preprocessing import (
    Category,
    CenterCrop,
    Frames,
    Impute,
    LogMel,
    Normalize,
    Resize,
    Scale,
    Step,
    Vocabulary,
    check_steps,
    preprocess,
    sensed,
)
from edgeloop.preprocessing.exact import log, power_spectrum
from preprocessing_cases import CASES, SIGNALS, integers


@pytest.mark.parametrize("name", CASES)
def test_a_row_of_a_batch_comes_out_as_it_does_alone(name: str) -> None:
    steps, x = CASES[name]
    together = preprocess(steps, x)
    assert together.dtype == np.float32
    for i in range(len(x)):
        assert np.array_equal(preprocess(steps, x[i : i + 1])[0], together[i], equal_nan=True)


def test_normalize_is_per_channel() -> None:
    x = integers(2, 4, 4, 3).astype(np.float32)
    mean, std = np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32)
    assert np.array_equal(Normalize((1, 2, 3), (4, 5, 6))(x), (x - mean) / std)
    with pytest.raises(InputError, match="3 means for inputs of shape"):
        Normalize((1, 2, 3), (4, 5, 6))(x[..., :2])


@given(have=st.integers(1, 40), want=st.integers(1, 40))
def test_nearest_takes_the_pixel_under_the_center(have: int, want: int) -> None:
    row = np.arange(have, dtype=np.float32).reshape(1, 1, have)
    expected = np.floor((np.arange(want) + 0.5) * have / want + 1e-9)
    assert Resize(1, want, "nearest")(row)[0, 0].tolist() == expected.tolist()


@given(have=st.integers(1, 40), want=st.integers(1, 40))
def test_bilinear_follows_half_pixel_centers(have: int, want: int) -> None:
    row = integers(1, 1, have).astype(np.float32)
    centers = np.clip((np.arange(want) + 0.5) * have / want - 0.5, 0, have - 1)
    expected = np.interp(centers, np.arange(have), row[0, 0])
    assert Resize(1, want)(row)[0, 0] == pytest.approx(expected, abs=1e-3)
    assert Resize(want, 1)(row.reshape(1, have, 1))[0, :, 0] == pytest.approx(expected, abs=1e-3)


def test_a_resize_to_the_same_size_changes_nothing() -> None:
    image = integers(1, 9, 7, 3).astype(np.float32)
    assert np.array_equal(Resize(9, 7)(image), image)
    assert np.array_equal(Resize(9, 7, "nearest")(image), image)


def test_a_crop_takes_the_middle_and_a_border_is_zero() -> None:
    image = np.arange(1, 26, dtype=np.float32).reshape(1, 5, 5)
    assert CenterCrop(3, 2)(image)[0].tolist() == [[7, 8], [12, 13], [17, 18]]
    padded = CenterCrop(6, 5)(image)[0]
    assert np.array_equal(padded[:5], image[0])
    assert not padded[5].any()


def test_impute_fills_and_keeps_visible_what_was_missing() -> None:
    x = np.array([[1, np.nan], [np.nan, 4]], dtype=np.float32)
    assert Impute((10, 20), (1, 0))(x).tolist() == [[1, 20, 1, 0], [10, 4, 0, 1]]
    with pytest.raises(InputError, match="rows of 2 columns"):
        Impute((10, 20))(x[:, :1])


def test_a_vocabulary_numbers_its_categories_and_the_unknown_is_zero() -> None:
    integer = Vocabulary((Category(1, (7, 3)),))
    x = np.array([[0.5, 3], [1.5, 7], [2.5, 4], [3.5, np.nan]])
    assert preprocess((integer,), x).tolist() == [[0.5, 2], [1.5, 1], [2.5, 0], [3.5, 0]]
    one_hot = Vocabulary((Category(1, (7, 3)),), one_hot=True)
    assert preprocess((one_hot,), x)[:2].tolist() == [[0.5, 0, 0, 1], [1.5, 0, 1, 0]]


@pytest.mark.parametrize("dtype", [object, "U8"])
def test_a_vocabulary_of_strings_reads_the_other_columns_as_numbers(dtype: object) -> None:
    x = np.array([["cat", "1.5"], ["dog", ""], ["", "2"]]).astype(dtype)
    steps = (Vocabulary((Category(0, ("dog", "cat")),)), Impute((0, 9)))
    assert preprocess(steps, x).tolist() == [[2, 1.5], [1, 9], [0, 2]]
    assert sensed(steps, x)[:, 0].tolist() == [2, 1, 0]
    with pytest.raises(InputError, match="column 1 has no vocabulary of strings"):
        preprocess(steps, np.array([["cat", "many"]]))
    with pytest.raises(InputError, match="strings where the first step is a vocabulary"):
        preprocess((Scale(1),), x)


def test_frames_overlap_and_are_whole() -> None:
    x = np.arange(10, dtype=np.float32)[None]
    assert Frames(4, 3)(x)[0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    with pytest.raises(InputError, match="frames of 11 samples don't fit"):
        Frames(11, 1)(x)


@given(st.floats(1e-300, 1e300))
def test_the_exact_logarithm_is_right(x: float) -> None:
    assert log(np.array([x]))[0] == pytest.approx(np.log(x), rel=4e-16, abs=4e-16)


@pytest.mark.parametrize(("length", "size"), [(1, 1), (2, 2), (3, 8), (400, 512), (1024, 1024)])
def test_the_power_spectrum_is_that_of_an_fft(length: int, size: int) -> None:
    frames = (integers(5, length) - 128.0) / 128
    expected = np.abs(np.fft.rfft(frames, size)) ** 2
    found = power_spectrum(frames, size).T
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5 * expected.max())


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_log_mel_is_what_its_definition_says(scale: str) -> None:
    step = LogMel(16000, 400, 160, 512, 40, 20, 7600, floor=1e-6, scale=scale)
    to_mel, to_hz = MELS[scale]
    window = np.hanning(401)[:-1]
    corners = to_hz(np.linspace(to_mel(20.0), to_mel(7600.0), 42))
    bins = np.fft.rfftfreq(512, 1 / 16000)
    filters = np.stack([np.interp(bins, corners[i : i + 3], [0, 1, 0]) for i in range(40)], axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(SIGNALS, 400, axis=1)[:, ::160]
    expected = np.log(np.maximum((np.abs(np.fft.rfft(frames * window, 512)) ** 2) @ filters, 1e-6))
    assert step(SIGNALS) == pytest.approx(expected, abs=1e-4)


def test_silence_is_the_floor() -> None:
    step = LogMel(16000, 400, 160, 512, 40, 20, 7600, floor=1e-3)
    assert step(np.zeros((1, 400), np.float32)) == pytest.approx(np.log(1e-3))


LOG_MEL = (
    '{"step": "log_mel", "sample_rate_hz": 8000, "frame_length": 400, "frame_hop": 160, "fft_size": 512, "bands": 4, '
    '"low_hz": 0, "high_hz": 4000}'
)
MELS = {
    "htk": (lambda f: 2595 * np.log10(1 + f / 700), lambda m: 700 * (10 ** (m / 2595) - 1)),
    "slaney": (
        lambda f: np.where(f < 1000, f * 3 / 200, 15 + 27 * np.log(np.maximum(f, 1) / 1000) / np.log(6.4)),
        lambda m: np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27)),
    ),
}


@pytest.mark.parametrize(
    ("json", "said"),
    [
        ('{"step": "normalize", "mean": [1, 2], "std": [1]}', "2 means and 1 standard deviations"),
        ('{"step": "normalize", "mean": [1], "std": [0]}', "above 0"),
        ('{"step": "resize", "height": 0, "width": 3}', ">= 1"),
        ('{"step": "resize", "height": 3, "width": 3, "method": "cubic"}', "cubic"),
        ('{"step": "impute", "values": [1], "indicators": [1]}', "indicators for"),
        ('{"step": "vocabulary", "columns": [{"column": 0, "values": ["a", "a"]}]}', "one twice"),
        ('{"step": "vocabulary", "columns": [{"column": 0, "values": ["a", 1]}]}', "mixes strings and integers"),
        ('{"step": "vocabulary", "columns": []}', "at least one column"),
        (LOG_MEL.replace("512", "500"), "a power of two"),
        (LOG_MEL.replace("4000", "4001"), "half the sample rate"),
        (LOG_MEL.replace("}", ', "floor": 0}'), "must be above 0"),
        ('{"step": "scale", "factor": 1, "times": 2}', "unknown field `times`"),
        ('{"step": "rotate"}', "rotate"),
    ],
)
def test_a_step_that_makes_no_sense_does_not_validate(json: str, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.json.decode(json, type=Step)


@pytest.mark.parametrize(
    ("steps", "sample", "model", "said"),
    [
        ((Resize(8, 8),), (20, 30, 3), (8, 8, 1), r"makes inputs of shape \(8, 8, 3\)"),
        ((Scale(1), Resize(8, 8)), (64,), (8, 8), r"step 1 \(resize\): images are"),
        ((LogMel(16000, 400, 160, 512, 40, 20, 7600),), (100,), (1, 40), r"step 0 \(log_mel\): frames of 400 samples"),
        ((), (4,), (5,), r"model takes \(5,\)"),
    ],
)
def test_steps_that_do_not_fit_the_model_are_named(steps, sample, model, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_steps(steps, sample, model)


def test_a_gray_image_may_lack_its_channel() -> None:
    check_steps((Resize(8, 8),), (20, 30), (8, 8, 1))
