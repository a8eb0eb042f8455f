"""The inputs of a model: how each is encoded, and how several become the one row that is observed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeloop.encoding import Encoder
from edgeloop.errors import ManifestDamagedError
from edgeloop.manifest import InputPreparation, Manifest, TensorSpec

__all__ = ["as_row", "encoders_of"]

Array: TypeAlias = NDArray[Any]


def encoders_of(
    manifest: Manifest, inputs: Sequence[TensorSpec], source: str, memory: Array | None = None
) -> list[Encoder]:
    """One encoder for each of the model's inputs, in its order.

    Args:
        manifest: says how samples become inputs.
        inputs: the model's, as the interpreter gives them.
        source: of the artifact, for messages.
        memory: of a single input, to write into; see `Encoder`.

    Raises:
        ManifestDamagedError: the manifest prepares inputs that the model doesn't have.
        InputError: the steps don't bring an input's samples to its shape.
    """
    if len(inputs) == 1 and not manifest.input_preparation:
        return [Encoder(inputs[0], manifest.preprocessing, manifest.sample_shape, manifest.name, memory)]
    names = [spec.name for spec in inputs]
    if manifest.preprocessing or manifest.sample_shape is not None:
        raise ManifestDamagedError(
            f"{source}: its manifest has one preprocessing for the inputs {', '.join(names)}: convert the model again, "
            "with steps for each input by its name"
        )
    unknown = sorted(set(manifest.input_preparation) - set(names))
    if unknown:
        raise ManifestDamagedError(
            f"{source}: its manifest prepares the input {unknown[0]!r}, and the model has {', '.join(names)}"
        )
    ready = [manifest.input_preparation.get(name, InputPreparation()) for name in names]
    return [
        Encoder(
            spec,
            its.preprocessing,
            its.sample_shape,
            f"{manifest.name}: {spec.name}" if len(names) > 1 else manifest.name,
            memory if len(names) == 1 else None,
        )
        for spec, its in zip(inputs, ready, strict=True)
    ]


def as_row(encoders: Sequence[Encoder], arrays: Sequence[Array]) -> Array:
    """What is observed of a sample: itself, or several inputs flattened one after another, float32."""
    sensed = [encoder.sensed(array) for encoder, array in zip(encoders, arrays, strict=True)]
    return sensed[0] if len(sensed) == 1 else np.concatenate([values.reshape(-1) for values in sensed])
