"""Knowledge distillation: train a small model to answer as a large one does, on data that needs no labels."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.passes.checks import Arrays, check_at_least, check_inputs, check_targets
from edgeloop_converters.passes.graph import flatten
from edgeloop_converters.passes.outputs import Loss, OutputKind, output_kinds
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.training import Augment, Keep, Schedule, TrainReport, train
from edgeloop_converters.passes.tune import as_list, label_losses, pack

if TYPE_CHECKING:
    import keras

__all__ = ["distil"]

TINY = 1e-7


def distil(
    student: keras.Model,
    teacher: keras.Model,
    x: Arrays,
    *,
    epochs: int,
    temperature: float = 4.0,
    learning_rate: float = 1e-3,
    batch_size: int = 64,
    seed: int = 0,
    y: Arrays | None = None,
    label_weight: float = 0.0,
    keep: Collection[Keep] = (),
    augment: Augment | None = None,
) -> Passed[TrainReport]:
    """Train a copy of `student` to give the answers of `teacher` on `x`.

    For a softmax output, or a linear one that comes with class numbers in `y`, the loss is the
    Kullback-Leibler divergence of the outputs softened by `temperature`, times its square (Hinton et al.,
    "Distilling the knowledge in a neural network", 2015); for other outputs it is the mean squared error.

    Args:
        student: a built model with the inputs and the outputs of `teacher`.
        teacher: the model to learn from; it isn't changed.
        x: inputs, shape (n, ...); a list or a dict by input name for several. No labels are needed.
        epochs: passes over the data.
        temperature: softens both distributions, at least 1.
        learning_rate: the highest learning rate of the schedule.
        batch_size: examples a step.
        seed: the same seed gives the same weights on the same machine.
        y: targets, where there are any; then `label_weight` must be above 0.
        label_weight: the share of the loss on `y` in the whole, in [0, 1).
        keep: see `fine_tune`.
        augment: see `Schedule`; the teacher answers the same augmented batch.

    Raises:
        ConfigError: an option is out of its range.
        DataError: `x` or `y` doesn't fit the model, or holds NaN.
        ModelError: the two models' inputs or outputs differ, a graph can't be read, or training diverged.
    """
    schedule = Schedule(epochs, learning_rate, batch_size, seed, augment, keep)
    check_at_least("temperature", temperature, 1)
    if not 0 <= label_weight < 1 or (y is None) != (label_weight == 0):
        raise ConfigError(f"label_weight is {label_weight!r}: it must be in (0, 1) with labels y, and 0 without")
    taught, master = flatten(student), flatten(teacher)
    check_same_faces(taught, master)
    inputs = check_inputs(taught, x)
    targets = check_targets(taught, y, len(inputs[0])) if y is not None else []
    hard = label_losses(taught, targets) if targets else []
    soft_only: list[Loss | None] = [None] * len(master.outputs)
    kinds: list[OutputKind] = [
        "softmax" if targets and kind == "linear" and is_class_loss(loss) else kind
        for kind, loss in zip(output_kinds(master), hard or soft_only, strict=True)
    ]
    logits = [kind == "linear" for kind in output_kinds(master)]
    soft = [soft_loss(kind, temperature, from_logits=raw) for kind, raw in zip(kinds, logits, strict=True)]

    def compute(batch: list[Any], wanted: list[Any]) -> Any:
        lessons = as_list(master(pack(master, batch), training=False))
        answers = as_list(taught(pack(taught, batch), training=True))
        value = sum(one(lesson, got) for one, lesson, got in zip(soft, lessons, answers, strict=True))
        if not hard:
            return value
        labelled = sum(one(want, got) for one, want, got in zip(hard, wanted, answers, strict=True))
        return (1 - label_weight) * value + label_weight * labelled

    return Passed(taught, train(taught, [*inputs, *targets], compute, schedule))


def is_class_loss(loss: Any) -> bool:
    """Whether a loss that was found to fit takes class numbers."""
    import keras

    return isinstance(loss, keras.losses.SparseCategoricalCrossentropy)


def soft_loss(kind: OutputKind, temperature: float, *, from_logits: bool) -> Callable[[Any, Any], Any]:
    """The loss between the teacher's and the student's answers at one output.

    A softmax output's logarithm differs from its logits by a constant only, which a softened softmax
    doesn't see: so no logits have to be dug out of the models.
    """
    import tensorflow as tf

    def squared(lesson: Any, answer: Any) -> Any:
        return tf.reduce_mean(tf.math.squared_difference(lesson, answer))

    def divergence(lesson: Any, answer: Any) -> Any:
        if not from_logits:
            lesson, answer = tf.math.log(lesson + TINY), tf.math.log(answer + TINY)
        lesson, answer = tf.nn.log_softmax(lesson / temperature), tf.nn.log_softmax(answer / temperature)
        return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(lesson) * (lesson - answer), axis=-1))

    return divergence if kind == "softmax" else squared


def check_same_faces(student: keras.Model, teacher: keras.Model) -> None:
    """Raise `ModelError` unless both models have the same shapes of inputs and of outputs."""
    for what in ("inputs", "outputs"):
        ours, theirs = ([tuple(t.shape) for t in getattr(model, what)] for model in (student, teacher))
        if ours != theirs:
            raise ModelError(f"the student's {what} have shapes {ours}, the teacher's {theirs}: they must be the same")
