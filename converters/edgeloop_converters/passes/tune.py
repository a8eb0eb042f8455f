"""Fine-tuning on labelled data, with what earlier passes made of the weights kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from edgeloop_converters.passes.checks import Arrays, check_inputs, check_targets
from edgeloop_converters.passes.graph import flatten
from edgeloop_converters.passes.outputs import Loss, loss_for, output_kinds
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.training import Augment, Keep, Schedule, TrainReport, train

if TYPE_CHECKING:
    import keras

__all__ = ["fine_tune", "label_losses"]


def fine_tune(
    model: keras.Model,
    x: Arrays,
    y: Arrays,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
    keep: Collection[Keep] = (),
    loss: Loss | None = None,
    augment: Augment | None = None,
) -> Passed[TrainReport]:
    """Train a copy of `model` further.

    Args:
        model: a built functional or Sequential model.
        x: inputs, shape (n, ...); a list or a dict by input name for several.
        y: targets, one for each input; a list or a dict by output name for several outputs.
        epochs: passes over the data.
        learning_rate: the highest learning rate of the schedule.
        batch_size: examples a step.
        seed: the same seed gives the same weights on the same machine.
        keep: "zeros" keeps pruned weights zero (after `sparsify`), "clusters" keeps shared weights shared
            (after `cluster_weights`).
        loss: a Keras loss for every output; None takes the one that fits the output and its targets.
        augment: see `Schedule`.

    Raises:
        ConfigError: an option is out of its range.
        DataError: `x` or `y` doesn't fit the model, or holds NaN.
        ModelError: the graph can't be read, or training diverged.
    """
    schedule = Schedule(epochs, learning_rate, batch_size, seed, augment, keep)
    tuned = flatten(model)
    inputs = check_inputs(tuned, x)
    targets = check_targets(tuned, y, len(inputs[0]))
    losses = label_losses(tuned, targets, loss)

    def compute(batch: list[Any], wanted: list[Any]) -> Any:
        answers = as_list(tuned(pack(tuned, batch), training=True))
        return sum(one(want, got) for one, want, got in zip(losses, wanted, answers, strict=True))

    return Passed(tuned, train(tuned, [*inputs, *targets], compute, schedule))


def label_losses(model: keras.Model, targets: list[Any], loss: Loss | None = None) -> list[Loss]:
    """The loss of each output of a flat model: `loss`, or the one that fits; raises `DataError`."""
    kinds = output_kinds(model)
    return [
        loss or loss_for(name, kind, tuple(tensor.shape), y)
        for name, kind, tensor, y in zip(model.output_names, kinds, model.outputs, targets, strict=True)
    ]


def pack(model: keras.Model, flat: list[Any]) -> Any:
    """Inputs in the structure that `model` expects."""
    import keras

    return keras.tree.pack_sequence_as(model.input, flat)


def as_list(outputs: Any) -> list[Any]:
    """Outputs of any structure as a flat list."""
    import keras

    return list(keras.tree.flatten(outputs))
