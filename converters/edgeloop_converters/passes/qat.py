"""Quantization-aware training: fine-tune through the rounding that the integer model will do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError
from edgeloop_converters.passes.channels import DEPTHWISE, RESHAPERS, kind_of
from edgeloop_converters.passes.checks import Arrays, check_inputs, check_targets
from edgeloop_converters.passes.fold import fold_batch_norm
from edgeloop_converters.passes.graph import Call, consumers, read_calls, walk
from edgeloop_converters.passes.kernels import kernels_of
from edgeloop_converters.passes.outputs import Loss
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.training import Augment, Keep, Schedule, TrainReport, train
from edgeloop_converters.passes.tune import label_losses

if TYPE_CHECKING:
    import keras

__all__ = ["quantization_aware"]

FEWEST_BITS, MOST_BITS = 2, 16
ACTIVATION_BITS = 8
DECAY = 0.99
NARROWEST = 1e-6

FUSED = frozenset({"ReLU", "Relu", "Relu6"})
PASSING = RESHAPERS | {
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "Identity", "MaxPooling1D", "MaxPooling2D"),
    *(
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "ZeroPadding1D",
        "ZeroPadding2D",
        "Cropping1D",
        "Cropping2D",
    ),
    *("Softmax",),
}
FIXED_RANGE = frozenset({"softmax", "sigmoid", "tanh"})


def quantization_aware(
    model: keras.Model,
    x: Arrays,
    y: Arrays,
    *,
    epochs: int,
    bits: int = 8,
    learning_rate: float = 1e-4,
    batch_size: int = 64,
    seed: int = 0,
    keep: Collection[Keep] = (),
    loss: Loss | None = None,
    augment: Augment | None = None,
) -> Passed[TrainReport]:
    """Fold batch normalization, then train with weights and activations rounded as integer kernels do.

    Weights are rounded symmetrically with a scale for each channel, activations to 8 bits over a range that
    follows an exponential moving average; the gradient passes straight through the rounding (Jacob et al.,
    "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
    2018). An activation is rounded where TensorFlow Lite has a tensor: not between a layer and the ReLU
    that is fused into it. What comes back is a plain float model with the trained weights, for any
    converter's post-training quantization.

    Args:
        model: a built functional or Sequential model, trained.
        x: inputs, shape (n, ...); a list or a dict by input name for several.
        y: targets, one for each input; a list or a dict by output name for several outputs.
        epochs: passes over the data.
        bits: of the weights, 2 to 16.
        learning_rate: the highest learning rate of the schedule; small, for the model is trained.
        batch_size: examples a step.
        seed: the same seed gives the same weights on the same machine.
        keep: see `fine_tune`.
        loss: a Keras loss for every output; None takes the one that fits the output and its targets.
        augment: see `Schedule`.

    Raises:
        ConfigError: an option is out of its range.
        DataError: `x` or `y` doesn't fit the model, or holds NaN.
        ModelError: the graph can't be read, or training diverged.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ConfigError(f"bits is {bits!r}: it must be {FEWEST_BITS} to {MOST_BITS}")
    schedule = Schedule(epochs, learning_rate, batch_size, seed, augment, keep)
    tuned = fold_batch_norm(model).model
    inputs = check_inputs(tuned, x)
    targets = check_targets(tuned, y, len(inputs[0]))
    losses = label_losses(tuned, targets, loss)
    forward = quantized_forward(tuned, inputs, batch_size, bits)

    def compute(batch: list[Any], wanted: list[Any]) -> Any:
        return sum(one(want, got) for one, want, got in zip(losses, wanted, forward(batch), strict=True))

    return Passed(tuned, train(tuned, [*inputs, *targets], compute, schedule))


def quantized_forward(
    model: keras.Model, inputs: Sequence[NDArray[Any]], batch_size: int, bits: int
) -> Callable[[list[Any]], list[Any]]:
    """A training-mode forward pass that rounds weights and activations; its ranges start from one batch."""
    import tensorflow as tf

    calls = read_calls(model)
    points = rounded_points(model, calls)
    first = [tf.constant(a[:batch_size], t.dtype) for a, t in zip(inputs, model.inputs, strict=True)]
    seen = observe(model, first)
    ranges = {
        point: (tf.Variable(min(low, 0.0)), tf.Variable(max(high, 0.0, NARROWEST)))
        for point, (low, high) in seen.items()
        if point in points or (point < 0 and first[-1 - point].dtype == tf.float32)
    }

    def rounded(point: int, value: Any) -> Any:
        if point not in ranges:
            return value
        low, high = ranges[point]
        low.assign(DECAY * low + (1 - DECAY) * tf.minimum(tf.reduce_min(value), 0.0))
        high.assign(DECAY * high + (1 - DECAY) * tf.maximum(tf.reduce_max(value), NARROWEST))
        return tf.quantization.fake_quant_with_min_max_vars(value, low, high, num_bits=ACTIVATION_BITS)

    def forward(batch: list[Any]) -> list[Any]:
        position = iter(range(len(calls)))

        def apply(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return rounded(next(position), call_rounded(layer, bits, *args, **kwargs))

        return walk(model, [rounded(-1 - i, value) for i, value in enumerate(batch)], apply)

    return forward


def rounded_points(model: keras.Model, calls: Sequence[Call]) -> set[int]:
    """The positions of the calls whose result is a tensor of its own in the integer model."""
    readers = consumers(calls)
    outputs = {id(tensor) for tensor in model.outputs}
    points = set()
    for position, call in enumerate(calls):
        if len(call.outputs) != 1 or kind_of(call.layer) in PASSING or activation_of(call.layer) in FIXED_RANGE:
            continue
        tensor = call.outputs[0]
        following = readers.get(id(tensor), [])
        fused = len(following) == 1 and id(tensor) not in outputs and is_fused(following[0].layer)
        if not fused and str(tensor.dtype) == "float32":
            points.add(position)
    return points


def activation_of(layer: Any) -> str:
    """The name of a layer's activation function; empty if it has none."""
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))


def is_fused(layer: Any) -> bool:
    """Whether the converter fuses this activation into the layer before it."""
    kind = kind_of(layer)
    if kind == "ReLU":
        return layer.max_value in {None, 6} and not layer.negative_slope and not layer.threshold
    return kind in FUSED or (kind == "Activation" and activation_of(layer) in {"relu", "relu6", "linear"})


def observe(model: keras.Model, inputs: list[Any]) -> dict[int, tuple[float, float]]:
    """The range of each call's result, by position, and of each input, by -1 - position, on one batch."""
    seen = {-1 - i: extent(value) for i, value in enumerate(inputs)}

    def apply(layer: Any, *args: Any, **kwargs: Any) -> Any:
        value = layer(*args, **kwargs)
        seen[sum(point >= 0 for point in seen)] = extent(value)
        return value

    walk(model, inputs, apply)
    return seen


def extent(value: Any) -> tuple[float, float]:
    """The smallest and the largest entry of a tensor (of the first, where a layer returns several)."""
    import keras

    array = np.asarray(keras.tree.flatten(value)[0], dtype=np.float64)
    return float(array.min()), float(array.max())


def call_rounded(layer: Any, bits: int, *args: Any, **kwargs: Any) -> Any:
    """Call a layer in training mode with its kernels rounded."""
    import keras

    if "training" in inspect.signature(layer.call).parameters:
        kwargs = {"training": True, **kwargs}
    kernels = kernels_of(layer)
    if not kernels:
        return layer(*args, **kwargs)
    depthwise = kind_of(layer) in DEPTHWISE
    with keras.StatelessScope(state_mapping=[(k, round_kernel(k, bits, depthwise=depthwise)) for k in kernels]):
        return layer(*args, **kwargs)


def round_kernel(kernel: Any, bits: int, *, depthwise: bool) -> Any:
    """A kernel's value as symmetric integers, scaled by channel, would hold it; straight through."""
    import tensorflow as tf

    channels = int(np.prod(kernel.shape[-2:])) if depthwise else kernel.shape[-1]
    flat = tf.reshape(kernel.value, [-1, channels])
    limit = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(flat), axis=0), NARROWEST))
    rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        flat, -limit, limit, num_bits=bits, narrow_range=True
    )
    return tf.reshape(rounded, kernel.shape)
