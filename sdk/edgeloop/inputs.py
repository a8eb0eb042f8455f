"""The inputs of a model: how each is encoded, and how several become the one row that is observed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeloop.encoding import Encoder
from edgeloop.errors import ManifestDamagedError
from edgeloop.manifest import InputPreparation, Manifest, TensorSpec

__all__ = ["as_row", "encoders_of", "from_row", "sample_shapes"]

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


def sample_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """The shape of a sample as its sensor gives it, by the input's name, in the model's order."""
    shapes = {}
    for spec in manifest.inputs:
        own = manifest.input_preparation.get(spec.name, InputPreparation()).sample_shape
        shape = manifest.sample_shape if len(manifest.inputs) == 1 and own is None else own
        shapes[spec.name] = spec.shape[1:] if shape is None else shape
    return shapes


def from_row(shapes: Mapping[str, tuple[int, ...]], row: Array) -> dict[str, Array]:
    """The inputs of a sample from the row that `as_row` made of them.

    Args:
        shapes: theirs, by name, in the order of the model that the row comes from.
        row: flat.
    """
    found, start = {}, 0
    for name, shape in shapes.items():
        end = start + math.prod(shape)
        found[name] = row[start:end].reshape(shape)
        start = end
    return found
