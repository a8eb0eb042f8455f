"""Every preprocessing step, on inputs that are made of integers, so that any machine makes the same.

Run as a program, it prints the digests of what this machine makes of them.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

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
    preprocess,
)


def integers(*shape: int, below: int = 256) -> np.ndarray:
    """Knuth's multiplicative hash of 0, 1, 2, …"""
    count = int(np.prod(shape))
    return ((np.arange(count, dtype=np.uint64) * 2654435761 % 2**32) >> 8).reshape(shape) % below


IMAGES = integers(3, 17, 23, 3).astype(np.uint8)
SIGNALS = (integers(3, 4000, below=65536).astype(np.float32) - 32768) / 32768
TABLE = np.where(integers(40, 4) % 7 == 0, np.nan, integers(40, 4).astype(np.float32) / 7)
ROWS = np.array([["red", 1, "3.5"], ["blue", 9, ""], [None, 2, "-1"]], dtype=object)

CASES: dict[str, tuple[tuple[Step, ...], np.ndarray]] = {
    "scale": ((Scale(1 / 255, -0.3),), IMAGES),
    "normalize": ((Normalize((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),), IMAGES),
    "nearest": ((Resize(9, 40, "nearest"), Scale(1 / 127.5, -1)), IMAGES),
    "bilinear": ((Resize(31, 8), Normalize((100.0,), (50.0,))), IMAGES),
    "crop": ((CenterCrop(20, 10),), IMAGES),
    "impute": ((Impute((1.5, 2.5, 0.0, -1.0), (0, 3)),), TABLE),
    "vocabulary": ((Vocabulary((Category(0, ("blue", "red")), Category(1, (1, 2))), one_hot=True), Scale(0.1)), ROWS),
    "frames": ((Frames(400, 160), Scale(2.0)), SIGNALS),
    "log_mel_htk": ((LogMel(16000, 400, 160, 512, 40, 20.0, 7600.0),), SIGNALS),
    "log_mel_slaney": ((LogMel(16000, 480, 320, 1024, 64, 0.0, 8000.0, floor=1e-10, scale="slaney"),), SIGNALS),
}


def digests() -> dict[str, str]:
    """SHA-256 of each case's shape and bytes, its first 16 digits."""
    found = {}
    for name, (steps, x) in CASES.items():
        out = preprocess(steps, x)
        found[name] = hashlib.sha256(repr(out.shape).encode() + out.astype("<f4").tobytes()).hexdigest()[:16]
    return found


if __name__ == "__main__":
    print(json.dumps({"numpy": np.__version__, "digests": digests()}))
