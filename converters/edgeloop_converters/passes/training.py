"""The training loop under fine-tuning, distillation and quantization-aware training."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.passes.checks import check_at_least
from edgeloop_converters.passes.kernels import kernels_of

if TYPE_CHECKING:
    import keras

__all__ = ["Augment", "Keep", "Schedule", "TrainReport", "train"]

Keep = Literal["zeros", "clusters"]
Augment = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]

WARM_UP = 0.05


@dataclass(frozen=True)
class TrainReport:
    """How a training went.

    Args:
        losses: the mean loss of each epoch, regularization included.
        steps: how many batches were trained on.
    """

    losses: tuple[float, ...]
    steps: int


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train: Adam, a short warm-up, then a cosine down to zero.

    Args:
        epochs: passes over the data, at least 1.
        learning_rate: the highest learning rate.
        batch_size: examples a step.
        seed: decides the order of the examples, the augmentation and the dropout.
        augment: changes a batch of inputs, shape (batch, ...), with a random generator; for models with one
            input.
        keep: "zeros" keeps zero weights zero, "clusters" keeps equal weights of a kernel equal.

    Raises:
        ConfigError: a value is out of its range.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    augment: Augment | None = None
    keep: Collection[Keep] = ()

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch_size", self.batch_size, 1)
        check_at_least("seed", self.seed, 0)
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate is {self.learning_rate!r}: it must be above 0")
        unknown = sorted(set(self.keep) - {"zeros", "clusters"})
        if isinstance(self.keep, str) or unknown:
            raise ConfigError(f"keep is {self.keep!r}: give a collection of 'zeros' and 'clusters'")


def train(
    model: keras.Model,
    data: Sequence[NDArray[Any]],
    loss: Callable[[list[Any], list[Any]], Any],
    schedule: Schedule,
) -> TrainReport:
    """Train `model` in place.

    Args:
        model: a flat functional model of our own; its weights change.
        data: the inputs in the model's order, then whatever else `loss` reads, each of shape (n, ...).
        loss: from a batch of the inputs and of the rest to a scalar tensor; runs inside a `tf.function`.
        schedule: how long and how fast.

    Raises:
        ConfigError: augmentation for a model with several inputs.
        ModelError: the loss became NaN or infinite, or nothing in the model is trainable.
    """
    import keras
    import tensorflow as tf

    count, inputs = len(data[0]), len(model.inputs)
    if schedule.augment is not None and inputs != 1:
        raise ConfigError(f"augment changes one input, and model {model.name!r} has {inputs}: augment the data before")
    if not model.trainable_variables:
        raise ModelError(f"nothing in model {model.name!r} is trainable: set layer.trainable = True")
    batches = math.ceil(count / schedule.batch_size)
    steps = batches * schedule.epochs
    warm = max(1, int(steps * WARM_UP))
    rates = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm), warmup_target=schedule.learning_rate, warmup_steps=warm
    )
    optimizer = keras.optimizers.Adam(rates)
    optimizer.build(model.trainable_variables)
    projections = projections_of(model, schedule.keep)
    seed_dropout(model, schedule.seed)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]  # TensorFlow ships no types
    def step(batch: list[Any]) -> Any:
        with tf.GradientTape() as tape:
            value = loss(batch[:inputs], batch[inputs:])
            if model.losses:
                value += tf.add_n(model.losses)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(
            [
                g if g is not None else tf.zeros_like(v)
                for g, v in zip(gradients, model.trainable_variables, strict=True)
            ]
        )
        for project in projections:
            project()
        return value

    rng = np.random.default_rng(schedule.seed)
    losses = []
    for epoch in range(schedule.epochs):
        total = 0.0
        for rows in np.array_split(rng.permutation(count), batches):
            batch = [array[rows] for array in data]
            if schedule.augment is not None:
                batch[0] = schedule.augment(batch[0], rng)
            tensors = [tf.constant(a, t.dtype) for a, t in zip(batch, model.inputs, strict=False)]
            total += float(step([*tensors, *map(tf.constant, batch[inputs:])])) * len(rows)
        losses.append(total / count)
        if not math.isfinite(losses[-1]):
            raise ModelError(
                f"training model {model.name!r} diverged in epoch {epoch + 1}, to a loss of {losses[-1]}: "
                "lower learning_rate"
            )
    return TrainReport(tuple(losses), steps)


def seed_dropout(model: keras.Model, seed: int) -> None:
    """Give each layer that draws random numbers a state that follows from `seed`."""
    for position, layer in enumerate(model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.asarray([seed, position], dtype=generator.state.dtype))


def projections_of(model: keras.Model, keep: Collection[Keep]) -> list[Callable[[], None]]:
    """Functions that restore, after a step, what is to be kept of each kernel."""
    kernels = [kernel for layer in model.layers for kernel in kernels_of(layer)] if keep else []
    projections = []
    for kernel in kernels:
        values, labels = np.unique(np.asarray(kernel), return_inverse=True)
        if "clusters" in keep and len(values) <= labels.size / 2:
            projections.append(share(kernel, labels.reshape(-1), len(values)))
        if "zeros" in keep:
            projections.append(mask(kernel, np.asarray(kernel) != 0))
    return projections


def mask(kernel: Any, alive: NDArray[np.bool_]) -> Callable[[], None]:
    """A function that sets the weights that are not `alive` to zero again."""
    factor = alive.astype(kernel.dtype)
    return lambda: kernel.assign(kernel * factor)


def share(kernel: Any, labels: NDArray[np.intp], clusters: int) -> Callable[[], None]:
    """A function that sets the weights of each cluster to their mean (Han et al., ICLR 2016)."""
    import tensorflow as tf

    counts = np.bincount(labels, minlength=clusters).astype(kernel.dtype)

    def project() -> None:
        sums = tf.math.unsorted_segment_sum(tf.reshape(kernel.value, [-1]), labels, clusters)
        kernel.assign(tf.reshape(tf.gather(sums / counts, labels), kernel.shape))

    return project
