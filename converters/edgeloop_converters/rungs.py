"""The recipes that a search makes up: pruned shapes, untrained and trained, and training through the rounding."""

from __future__ import annotations

from edgeloop_converters.recipes import Compile, Distil, Prune, QuantizationAware, Recipe
from edgeloop_converters.recipes.steps import Augmentation

__all__ = ["MOST_EPOCHS", "ROUND_TO", "START_S", "qat_recipe", "shape_only", "trained", "ways_to_train"]

ROUND_TO = (8, 4)  # kernels work on 8 channels at once, 12 take as long as 16; but 12 are smaller
START_S = 6.0  # a trial's start: TensorFlow, the model, the compilation
MOST_EPOCHS, QAT_EPOCHS = 30, 3


def qat_recipe() -> Recipe:
    """Weights trained through the rounding."""
    return Recipe("int8-qat", (QuantizationAware(epochs=QAT_EPOCHS), Compile(scheme="int8")))


def shape_only(prune: Prune) -> Recipe:
    """A pruned model without any training: its size and latency are already those of the trained one."""
    return Recipe(f"{name_of(prune)}-int8 (untrained)", (prune, Compile(scheme="int8")))


def name_of(prune: Prune) -> str:
    """A pruning step as a part of a recipe's name."""
    share = prune.ratio * 100 if isinstance(prune.ratio, float) else 0.0
    return f"prune-{share:g}" + (f"-by-{prune.round_to}" if prune.round_to != ROUND_TO[0] else "")


def ways_to_train(augment: Augmentation) -> tuple[Distil, ...]:
    """Distillation from the original, brisk and brisker: a pruned network has far to go, and little time."""
    return tuple(Distil(epochs=1, learning_rate=rate, augment=augment) for rate in (5e-3, 1e-2))


def trained(prune: Prune, way: Distil, epochs: int) -> Recipe:
    """The recipe that prunes, trains in this way, and compiles."""
    distil = Distil(epochs=epochs, learning_rate=way.learning_rate, augment=way.augment)
    name = f"{name_of(prune)}-distil-{epochs}-{way.learning_rate:g}-int8"
    return Recipe(name, (prune, distil, Compile(scheme="int8")))
