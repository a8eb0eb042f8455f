"""The models and inputs that the tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Published:
    """The MLPerf Tiny files, as published in 2020–21."""

    ad_float: bytes
    ad_int8: bytes
    kws_hybrid: bytes
    kws_int8: bytes


@dataclass(frozen=True)
class Converted:
    """What TensorFlow's converter makes of one small MobileNet-like net, `(32, 32, 3)` → 10 classes."""

    real: bytes
    int8: bytes
    float16: bytes
    dynamic: bytes
    lstm: bytes
    stream: bytes
    exotic: bytes


def images(samples: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(samples, 32, 32, 3)).astype(np.float32)


def features(samples: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Smooth random MFCC-like inputs of the keyword-spotting model."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.normal(size=(samples, 49, 10, 1)), axis=1)
    return (walks * 3 + rng.normal(size=(samples, 1, 10, 1)) * 5).astype(np.float32)


def spectra(samples: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Smooth random log-mel-like inputs of the anomaly-detection model."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.normal(size=(samples, 5, 128)), axis=2).reshape(samples, 640)
    return (walks - 30).astype(np.float32)
