"""A signed artifact of the tiny model, and a real broker."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.signing import PrivateKey
from tiny_models import CLASSES, FEATURES, tiny_model


@pytest.fixture(scope="session")
def key() -> PrivateKey:
    return PrivateKey.generate()


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    x = np.random.default_rng(0).normal(size=(500, FEATURES)).astype(np.float32)
    scores = np.random.default_rng(1).dirichlet([1] * CLASSES, 500).astype(np.float32)
    return fit_baseline(x, scores, summary="columns", classes=CLASSES)


@pytest.fixture(scope="session")
def make_artifact(key: PrivateKey, baseline: Baseline):
    def make(version: int = 1, *, name: str = "tiny", signed: bool = True, **fields: object) -> Artifact:
        model = tiny_model()
        backend = open_backend(model)
        values: dict[str, object] = {
            "name": name,
            "version": version,
            "created": utc_now(),
            "model": ModelFile(hashlib.sha256(model).hexdigest(), len(model)),
            "inputs": backend.inputs,
            "outputs": backend.outputs,
            "task": "classification",
            "labels": ("a", "b", "c"),
            "baseline": baseline,
            **fields,
        }
        return pack_artifact(model, Manifest(**values), key=key if signed else None)

    return make
