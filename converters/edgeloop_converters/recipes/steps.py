"""The steps that a recipe is made of: what each takes, and where in a recipe it may stand."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

__all__ = [
    "STEPS",
    "AnyStep",
    "Augmentation",
    "Cluster",
    "Compile",
    "CompileScheme",
    "CorrectBias",
    "Distil",
    "Equalize",
    "Factorize",
    "FineTune",
    "Fold",
    "Prune",
    "QuantizationAware",
    "Sparsify",
    "TimeClass",
    "Tool",
]

CompileScheme = Literal[
    "float32", "float16", "dynamic_int8", "int8", "int16x8", "weight_only_int8", "weight_only_int4", "dynamic_int4",
    "as_is",
]  # fmt: skip
Tool = Literal["tensorflow", "litert-quantizer"]
Augmentation = Literal["none", "shift", "flip_shift", "noise"]
TimeClass = Literal["seconds", "minutes"]

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", kw_only=True):
    """What all steps have: where they stand (`stage`, ascending), what they need, and what they cost."""

    stage: ClassVar[int]
    needs_data: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    time: ClassVar[TimeClass] = "seconds"
    gives: ClassVar[str]


class Prune(_Step, frozen=True, tag="prune"):
    """See `passes.prune_channels`."""

    stage: ClassVar[int] = 1
    gives: ClassVar[str] = "fewer channels: smaller and faster, to be trained again afterwards"
    ratio: Share | dict[str, Share]
    round_to: Positive = 4
    min_channels: Positive = 4


class Factorize(_Step, frozen=True, tag="factorize"):
    """See `passes.factorize`; one of `rank` and `energy`."""

    stage: ClassVar[int] = 1
    gives: ClassVar[str] = "two thin layers for one wide one where that has fewer weights"
    rank: Positive | None = None
    energy: Share | None = None


class Sparsify(_Step, frozen=True, tag="sparsify"):
    """See `passes.sparsify`."""

    stage: ClassVar[int] = 2
    gives: ClassVar[str] = "zero weights: the file compresses better, the model isn't faster"
    sparsity: Share | dict[str, Share]
    scope: Literal["layer", "model"] = "layer"


class Cluster(_Step, frozen=True, tag="cluster"):
    """See `passes.cluster_weights`."""

    stage: ClassVar[int] = 2
    gives: ClassVar[str] = "few distinct weights: the file compresses better, the model isn't faster"
    clusters: Annotated[int, msgspec.Meta(ge=2)] | dict[str, int] = 16


class Distil(_Step, frozen=True, tag="distil"):
    """See `passes.distil`; the teacher is the model that the recipe is applied to."""

    stage: ClassVar[int] = 0
    needs_data: ClassVar[bool] = True
    time: ClassVar[TimeClass] = "minutes"
    gives: ClassVar[str] = "most of what earlier steps lost, learnt from the original; needs no labels"
    epochs: Positive
    temperature: Annotated[float, msgspec.Meta(ge=1)] = 4.0
    learning_rate: Rate = 1e-3
    batch_size: Positive = 64
    label_weight: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    augment: Augmentation = "none"


class FineTune(_Step, frozen=True, tag="fine_tune"):
    """See `passes.fine_tune`."""

    stage: ClassVar[int] = 0
    needs_data: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    time: ClassVar[TimeClass] = "minutes"
    gives: ClassVar[str] = "some of what earlier steps lost, learnt from labels"
    epochs: Positive
    learning_rate: Rate = 1e-3
    batch_size: Positive = 64
    augment: Augmentation = "none"


class Fold(_Step, frozen=True, tag="fold"):
    """See `passes.fold_batch_norm`."""

    stage: ClassVar[int] = 3
    gives: ClassVar[str] = "batch normalization inside the layer before it, as the converter does too"


class Equalize(_Step, frozen=True, tag="equalize"):
    """See `passes.equalize`."""

    stage: ClassVar[int] = 4
    gives: ClassVar[str] = "channels of like range: one scale a tensor loses less"


class QuantizationAware(_Step, frozen=True, tag="quantization_aware"):
    """See `passes.quantization_aware`."""

    stage: ClassVar[int] = 5
    needs_data: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    time: ClassVar[TimeClass] = "minutes"
    gives: ClassVar[str] = "weights that bear the rounding, learnt from labels"
    epochs: Positive
    bits: Annotated[int, msgspec.Meta(ge=2, le=16)] = 8
    learning_rate: Rate = 1e-4
    batch_size: Positive = 64
    augment: Augmentation = "none"


class CorrectBias(_Step, frozen=True, tag="correct_bias"):
    """See `passes.correct_bias`."""

    stage: ClassVar[int] = 6
    needs_data: ClassVar[bool] = True
    gives: ClassVar[str] = "biases that make up for the mean error of rounded weights"
    bits: Annotated[int, msgspec.Meta(ge=2, le=16)] = 8
    per_channel: bool = True


class Compile(_Step, frozen=True, tag="compile"):
    """From the model to the `.tflite` file; the last step of every recipe.

    `int8` and `int16x8` are integer only, inputs and outputs too. `overrides` gives other schemes to the layers whose
    output's name a regular expression matches (`litert-quantizer` only): `{"softmax": "float32"}`. `as_is` packages a
    `.tflite` file unchanged. See `tflite.quantize`, `tflite.equalize` and `tflite.compensate` for the others, which
    TensorFlow's converter doesn't know.
    """

    stage: ClassVar[int] = 7
    gives: ClassVar[str] = "the file"
    scheme: CompileScheme
    tool: Tool = "tensorflow"
    calibration: Positive = 200
    ranges: Literal["min_max", "least_error"] = "min_max"
    dense_scales: Literal["channel", "tensor"] = "channel"
    equalize: bool = False
    rounding: Literal["nearest", "compensated"] = "nearest"
    overrides: dict[str, CompileScheme] = {}


AnyStep: TypeAlias = (
    Prune
    | Factorize
    | Sparsify
    | Cluster
    | Distil
    | FineTune
    | Fold
    | Equalize
    | QuantizationAware
    | CorrectBias
    | Compile
)
STEPS: dict[str, type[_Step]] = {str(kind.__struct_config__.tag): kind for kind in _Step.__subclasses__()}
