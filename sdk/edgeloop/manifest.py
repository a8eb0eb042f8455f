"""The manifest: what an artifact says of itself.

It travels inside the artifact as JSON (see `edgeloop.artifact`), so that everything that a device must know of a
model arrives in one file and is covered by one signature.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

import msgspec

from edgeloop.baseline import Baseline
from edgeloop.errors import ManifestDamagedError
from edgeloop.preprocessing import Step

__all__ = [
    "FORMAT",
    "Golden",
    "InputPreparation",
    "Manifest",
    "ModelFile",
    "Recipe",
    "Task",
    "TensorSpec",
    "decode_manifest",
    "encode_manifest",
    "utc_now",
]

FORMAT = 1
"""The manifest's format. A reader refuses a higher one; a new optional field does not raise it."""

Task = Literal["classification", "regression", "anomaly", "other"]
Dtype = Literal["float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input or output of the model, in the order in which the interpreter lists them.

    `shape` has the batch axis first; -1 is an axis whose size is free. `scale` and `zero_point` are those of
    an integer tensor: real = scale × (stored - zero_point). `unit` is the physical unit of the real values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Dtype
    scale: float | None = None
    zero_point: int | None = None
    unit: str | None = None


class InputPreparation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one input of several is made of what its sensor gives; fields as the manifest's own for a single input."""

    preprocessing: tuple[Step, ...] = ()
    sample_shape: tuple[Count, ...] | None = None


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The flatbuffer that the manifest belongs to."""

    sha256: Sha256
    size_bytes: Annotated[int, msgspec.Meta(ge=8)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the artifact was made from the model; the same recipe, model, data and seed give the same bytes."""

    name: str
    steps: tuple[dict[str, Any], ...] = ()
    seed: int = 0


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A self-check: raw input bytes and the raw output that the reference kernels give for it.

    Kernels differ between processors by some steps (docs/decisions.md, 14), so `atol` says, in the output's
    real units, what is still the same answer. Bytes are in C order, little-endian, one entry per tensor.
    """

    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]
    atol: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an artifact says of itself. See the fields' own types; times are ISO 8601 in UTC.

    `version` grows with every artifact of one `name`: a device never goes back to a lower one. `metrics` holds what
    was measured when it was made, by name (`accuracy`, `latency_us`, `original.accuracy`, …). `provenance` says
    where it came from (tool versions, the hashes of the model and of the data). `baseline` is None for an artifact
    that nobody wants to monitor.

    `preprocessing` brings a sensor's sample, of shape `sample_shape` (None: the model's own), to what the model takes;
    for a model with several inputs `input_preparation` does, by the input's name. `temperature` scales a classifier's
    confidence (Guo et al., 2017): it is that of softmax(log p / temperature), and the answer stays.
    """

    name: Name
    version: Annotated[int, msgspec.Meta(ge=1)]
    created: str
    model: ModelFile
    inputs: Annotated[tuple[TensorSpec, ...], msgspec.Meta(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], msgspec.Meta(min_length=1)]
    task: Task
    format: Count = FORMAT
    labels: tuple[str, ...] = ()
    preprocessing: tuple[Step, ...] = ()
    sample_shape: tuple[Count, ...] | None = None
    input_preparation: dict[str, InputPreparation] = {}
    temperature: Annotated[float, msgspec.Meta(gt=0)] | None = None
    recipe: Recipe | None = None
    metrics: dict[str, float] = {}
    baseline: Baseline | None = None
    golden: Golden | None = None
    provenance: dict[str, str] = {}
    expires: str | None = None

    def is_expired(self, now: datetime) -> bool:
        """Whether `now` (aware) is past `expires`; False where there is none."""
        return self.expires is not None and datetime.fromisoformat(self.expires) <= now


def utc_now() -> str:
    """The time as the manifest writes it: ISO 8601, UTC, whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON with sorted keys and no white space: equal manifests give equal bytes, and few."""
    return msgspec.json.encode(manifest, order="sorted")


def decode_manifest(raw: bytes, source: str) -> Manifest:
    """Read and validate a manifest; `source` names the file in the error.

    Raises:
        ManifestDamagedError: not JSON, not the right fields or types, or a newer format.
    """
    try:
        head = msgspec.json.decode(raw, type=_Head)
        if head.format > FORMAT:
            raise ManifestDamagedError(
                f"{source}: its manifest has format {head.format}, this edgeloop reads up to {FORMAT}: upgrade edgeloop"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
        if manifest.expires is not None and not re.search(r"(Z|[+-]\d\d:\d\d)$", manifest.expires):
            raise ManifestDamagedError(f"{source}: `expires` is {manifest.expires!r}, a time without a zone")
        if manifest.expires is not None:
            datetime.fromisoformat(manifest.expires)
    except (msgspec.DecodeError, ValueError) as error:
        if isinstance(error, ManifestDamagedError):
            raise
        raise ManifestDamagedError(f"{source}: its manifest doesn't validate: {error}") from error
    return manifest


class _Head(msgspec.Struct):
    format: int = FORMAT
