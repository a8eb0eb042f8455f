"""The recipes that come along, by name. Names say what is done, in the order in which it is done."""

from __future__ import annotations

from typing import NamedTuple

from edgeloop.errors import ConfigError
from edgeloop_converters.recipes.recipe import Recipe, read_recipe
from edgeloop_converters.recipes.steps import (
    Augmentation,
    Cluster,
    Compile,
    CorrectBias,
    Distil,
    Equalize,
    Prune,
    QuantizationAware,
)

__all__ = ["CATALOGUE", "Entry", "find_recipe", "prune_distil_int8"]


class Entry(NamedTuple):
    """A recipe of the catalogue: what it gives, in a sentence."""

    recipe: Recipe
    gives: str


def prune_distil_int8(ratio: float, epochs: int, *, augment: Augmentation = "none") -> Recipe:
    """Remove a share of the channels, learn from the original again, compile to full-integer int8."""
    steps = (
        Prune(ratio=ratio, round_to=8),
        Distil(epochs=epochs, augment=augment, learning_rate=5e-3),
        Compile(scheme="int8"),
    )
    return Recipe(f"prune-{ratio * 100:g}-distil-int8", steps)


def _litert(name: str, **options: object) -> Recipe:
    return Recipe(name, (Compile(tool="litert-quantizer", **options),))  # type: ignore[arg-type]  # checked by the tests


_ENTRIES = (
    Entry(Recipe("float32", (Compile(scheme="float32"),)), "the original, for comparison"),
    Entry(Recipe("float16", (Compile(scheme="float16"),)), "half the size, float32 inside: no faster"),
    Entry(
        Recipe("dynamic-int8", (Compile(scheme="dynamic_int8"),)),
        "a quarter of the size without data; slower than float where XNNPACK's partition breaks (depthwise layers)",
    ),
    Entry(
        Recipe("int8", (Compile(scheme="int8"),)),
        "a quarter of the size; integers only; much faster where the processor has int8 dot products (VNNI, SDOT)",
    ),
    Entry(_litert("int8-litert", scheme="int8"), "the same by litert-quantizer; also for float .tflite files"),
    Entry(
        _litert("int8-litert-least-error", scheme="int8", ranges="least_error"),
        "ranges that clip what is rare, for activations with outliers",
    ),
    Entry(
        _litert("int8-litert-compensated", scheme="int8", rounding="compensated"),
        "weights rounded so that errors make up for each other: better for dense layers and 1 × 1 convolutions",
    ),
    Entry(
        _litert("int8-litert-compact", scheme="int8", dense_scales="tensor", rounding="compensated"),
        "one scale for each dense layer, rounded likewise: smaller where dense layers are many and small",
    ),
    Entry(
        Recipe("int8-equalize-correct-bias", (Equalize(), CorrectBias(), Compile(scheme="int8"))),
        "for networks with unbalanced channels, without any training",
    ),
    Entry(
        Recipe("int8-qat", (QuantizationAware(epochs=3), Compile(scheme="int8"))),
        "weights trained through the rounding, where int8 alone loses too much",
    ),
    Entry(
        Recipe("int16x8", (Compile(scheme="int16x8"),)), "int16 activations: nearly float's answers, but slow on CPUs"
    ),
    Entry(
        _litert("int4-weights", scheme="weight_only_int4"),
        "an eighth of the size where LiteRT has int4 kernels; activations stay float",
    ),
    Entry(
        Recipe("cluster-16-int8", (Cluster(clusters=16), Compile(scheme="int8"))),
        "16 distinct weights a layer: compresses better in transit",
    ),
    Entry(prune_distil_int8(0.25, 10), "a quarter of the channels less, trained by the original"),
    Entry(prune_distil_int8(0.5, 15), "half of the channels: about a tenth of float32's size"),
    Entry(Recipe("as-is", (Compile(scheme="as_is"),)), "packages a .tflite file unchanged"),
)
CATALOGUE: dict[str, Entry] = {entry.recipe.name: entry for entry in _ENTRIES}


def find_recipe(name: str) -> Recipe:
    """A recipe by its name in the catalogue, or from a `.toml` file.

    Raises:
        OSError: the file can't be read.
        ConfigError: there is none of that name, or the file is no recipe.
    """
    if name.endswith(".toml"):
        return read_recipe(name)
    if name not in CATALOGUE:
        raise ConfigError(f"unknown recipe {name!r}: use one of {', '.join(CATALOGUE)}, or a .toml file")
    return CATALOGUE[name].recipe
