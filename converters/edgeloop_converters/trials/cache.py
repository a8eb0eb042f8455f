"""Finished trials on disk, by the hash of what they were: a search that was interrupted goes on where it stopped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.trials.trial import Trialled

__all__ = ["TrialCache", "cache_folder"]


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/edgeloop/trials`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop" / "trials"


class TrialCache:
    """One folder a trial: `result.json`, `model.tflite`, `float.tflite`, `output-I.npy`; whole, or not there.

    Args:
        folder: where they are; made if absent.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Trialled | None:
        """A finished trial, or None; one that can't be read counts as none."""
        try:
            found = msgspec.json.decode((self.folder / key / "result.json").read_bytes(), type=Trialled)
        except (OSError, msgspec.DecodeError):
            return None
        return msgspec.structs.replace(found, cached=True)

    def model(self, key: str) -> bytes:
        """The file that a trial made. Raises `OSError`."""
        return (self.folder / key / "model.tflite").read_bytes()

    def float_model(self, key: str) -> bytes | None:
        """The same model before quantization; None where that is the original's. Raises `OSError`."""
        path = self.folder / key / "float.tflite"
        return path.read_bytes() if path.exists() else None

    def outputs(self, key: str) -> tuple[NDArray[Any], ...]:
        """The file's outputs on the evaluation inputs, one (n, …) array each. Raises `OSError`."""
        return tuple(np.load(path) for path in sorted((self.folder / key).glob("output-*.npy")))

    def keep(self, key: str, made: Path) -> None:
        """Take over a folder that a worker has filled; the rename is what makes it visible."""
        target = self.folder / key
        shutil.rmtree(target, ignore_errors=True)
        made.replace(target)
