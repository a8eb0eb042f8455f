"""Preprocessing: the manifest's steps, exact on every processor, beside what one writes by hand without it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from edgeloop.preprocessing import LogMel, Normalize, Resize, Scale, preprocess

RNG = np.random.default_rng(0)


@pytest.mark.benchmark(group="scale 32x32x3 to float")
def test_scaling(beside) -> None:
    x, steps = RNG.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8), (Scale(1 / 255),)
    factor = np.float32(1 / 255)
    assert np.allclose(preprocess(steps, x), x * factor)
    beside(lambda: preprocess(steps, x), lambda: x * factor, "numpy by hand")


@pytest.mark.benchmark(group="resize 240x320x3 to 96x96, normalize")
def test_resizing(beside) -> None:
    x = RNG.integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
    mean, std = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
    steps = (Resize(96, 96), Normalize(mean, std))
    mean32, std32 = np.float32(mean), np.float32(std)
    if importlib.util.find_spec("cv2"):
        import cv2

        def by_hand() -> object:
            return (cv2.resize(x[0], (96, 96), interpolation=cv2.INTER_LINEAR) - mean32) / std32

        peer = f"OpenCV {cv2.__version__}, bilinear, numpy by hand"
    else:
        import PIL
        from PIL import Image

        def by_hand() -> object:
            image = Image.fromarray(x[0]).resize((96, 96), Image.Resampling.BILINEAR)
            return (np.asarray(image) - mean32) / std32

        peer = f"Pillow {PIL.__version__}, bilinear with antialiasing, numpy by hand"
    beside(lambda: preprocess(steps, x), by_hand, peer)


@pytest.mark.benchmark(group="log-mel of a second, 49 frames of 40 bands")
def test_spectra(beside) -> None:
    from edgeloop.preprocessing.signals import _triangles

    x = RNG.normal(size=(1, 16_000)).astype(np.float32)
    step = LogMel(16_000, 640, 320, 1024, 40, 20.0, 4000.0)
    bands = np.zeros((513, 40), np.float32)
    for band, (first, weights) in enumerate(_triangles(step)):
        bands[first : first + len(weights), band] = weights
    window = np.hanning(641)[:-1].astype(np.float32)

    def by_hand() -> object:
        frames = np.lib.stride_tricks.sliding_window_view(x[0], 640)[::320] * window
        power = np.abs(np.fft.rfft(frames, 1024)) ** 2
        return np.log(np.maximum(power @ bands, 1e-6))

    assert np.allclose(preprocess((step,), x)[0], by_hand(), atol=1e-2)
    beside(lambda: preprocess((step,), x), by_hand, "numpy by hand, with its FFT and BLAS")
