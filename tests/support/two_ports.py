"""An artifact of a model with two inputs, whose first output is their sum."""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.manifest import InputPreparation, Manifest, ModelFile, utc_now
from edgeloop.preprocessing import Normalize
from small_graphs import sum_and_product

__all__ = ["two_ports"]


def two_ports(
    names: tuple[str, str] = ("my_a", "my_b"),
    *,
    version: int = 1,
    bias: float = 0.0,
    key: Ed25519PrivateKey | None = None,
    model: bytes | None = None,
) -> Artifact:
    """Float32 inputs (1, 4) that the manifest calls by `names`; `bias` is added to the second one."""
    model = model or sum_and_product()
    backend = open_backend(model)
    manifest = Manifest(
        name="two",
        version=version,
        created=utc_now(),
        model=ModelFile("0" * 64, 8),  # packing sets the real ones
        inputs=tuple(msgspec.structs.replace(s, name=n) for s, n in zip(backend.inputs, names, strict=True)),
        outputs=backend.outputs,
        task="regression",
        input_preparation={names[1]: InputPreparation((Normalize((-bias,), (1.0,)),))} if bias else {},
    )
    return pack_artifact(model, manifest, key=key)
