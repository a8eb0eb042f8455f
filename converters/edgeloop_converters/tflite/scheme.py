"""The ways to quantize a model, and what each one promises of the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from edgeloop.errors import ConfigError

__all__ = ["QuantizationWanted", "Scheme"]


class Scheme(str, Enum):
    """A way to quantize; `w` is for weights, `a` for activations, `i8` an 8-bit integer.

    Attributes:
        weights: the dtype that the weights of convolutions and dense layers are stored in.
        activations: the dtype of all other values; None when they stay float32.
    """

    weights: str
    activations: str | None

    FLOAT = "float", "float32", None
    FLOAT16 = "float16", "float16", None
    WEIGHT_ONLY_INT8 = "weight_only_wi8", "int8", None
    WEIGHT_ONLY_INT4 = "weight_only_wi4", "int4", None
    DYNAMIC_INT8 = "dynamic_wi8", "int8", None
    DYNAMIC_INT4 = "dynamic_wi4", "int4", None
    STATIC_INT8 = "static_wi8_ai8", "int8", "int8"
    STATIC_INT16X8 = "static_wi8_ai16", "int8", "int16"

    def __new__(cls, name: str, weights: str, activations: str | None) -> Scheme:
        """Let the name be the value, and the dtypes attributes."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.weights = weights
        member.activations = activations
        return member

    @property
    def static(self) -> bool:
        """Whether the ranges of activations are fixed beforehand, which takes calibration data."""
        return self.activations is not None


@dataclass(frozen=True)
class QuantizationWanted:
    """What was asked for: one scheme, and others for the layers whose output tensors' names match a pattern.

    Attributes:
        scheme: for all layers that no pattern matches.
        overrides: `(regular expression, scheme)`; the last one that is found in the name wins.
        dense_scales: whether a dense layer's weights have a scale for each output channel or one for all.
            Channels are more exact and cost up to 16 bytes each in the file, which is much for small layers;
            convolutions always have channels.
    """

    scheme: Scheme
    overrides: tuple[tuple[str, Scheme], ...] = ()
    dense_scales: Literal["channel", "tensor"] = "channel"

    def __post_init__(self) -> None:
        try:
            for pattern, _ in self.overrides:
                re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"the override {error.pattern!r} isn't a regular expression: {error}") from error

    def of(self, layer: str) -> Scheme:
        """The scheme for the layer whose output tensor has this name."""
        matching = [scheme for pattern, scheme in self.overrides if re.search(pattern, layer)]
        return matching[-1] if matching else self.scheme
