"""A signed artifact of the tiny model, and a real broker."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop.artifact import Artifact, pack_artifact, write_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.config import AgentConfig
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.sources import Arrays, PythonSource
from tiny_models import CLASSES, FEATURES, tiny_model


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    x = np.random.default_rng(0).normal(size=(500, FEATURES)).astype(np.float32)
    scores = np.random.default_rng(1).dirichlet([1] * CLASSES, 500).astype(np.float32)
    return fit_baseline(x, scores, summary="columns", classes=CLASSES)


@pytest.fixture(scope="session")
def make_artifact(key: Ed25519PrivateKey, baseline: Baseline):
    def make(version: int = 1, *, name: str = "tiny", signed: bool = True, sign: int = 1, **fields: object) -> Artifact:
        model = tiny_model(sign)
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


@pytest.fixture
def agent_config(tmp_path: Path, make_artifact, key: Ed25519PrivateKey) -> AgentConfig:
    """An agent's, with all its files in `tmp_path`, and no broker."""
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(public)
    write_artifact(tmp_path / "v1.tflite", make_artifact(version=1))
    return AgentConfig(
        device="cam-1",
        directory=str(tmp_path / "state"),
        broker="mqtt://127.0.0.1:1",
        trusted_keys=(str(tmp_path / "key.pub"),),
        source=PythonSource("edgeloop.no_such_module:f"),
        artifact=str(tmp_path / "v1.tflite"),
        predictions=str(tmp_path / "predictions.jsonl"),
        window_s=0.2,
        sample_bytes_per_day=1e9,
    )


@pytest.fixture
def steady(agent_config: AgentConfig, tmp_path: Path) -> AgentConfig:
    """A source that never ends."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32))
    source = Arrays(str(tmp_path / "x.npy"), rate_hz=300, loop=True)
    return msgspec.structs.replace(agent_config, source=source)
