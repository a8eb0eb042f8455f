"""Every kind of operator over random shapes, strides, paddings and scales, against TFLite's reference kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

OPS_A_MODEL = 8
SANITIZERS = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SAME, VALID = 0, 1


Network: TypeAlias = Any  # the class in conftest.py


def options(name: str, **fields: Any) -> Any:
    made = getattr(schema, f"{name}T")()
    for field, value in fields.items():
        assert hasattr(made, field)
        setattr(made, field, value)
    return made


def image(net: Network) -> int:
    batch, depth = int(net.rng.choice([1, 1, 2])), int(net.rng.integers(1, 7))
    height, width = (int(n) for n in net.rng.integers(1, 8, 2))
    return net.activation((batch, height, width, depth))


def slide(net: Network, size: int, taps: int, stride: int, dilation: int, padding: int) -> int:
    fits = size if padding == SAME else size - (taps - 1) * dilation
    return -(-fits // stride)


def window(net: Network, x: int, *, dilates: bool) -> tuple[dict[str, int], tuple[int, int], tuple[int, int]]:
    """Random strides, padding and filter that leave at least one output."""
    rng = net.rng
    height, width = net.shape(x)[1:3]
    while True:
        taps = tuple(int(v) for v in rng.integers(1, 5, 2))
        stride = tuple(int(v) for v in rng.integers(1, 4, 2))
        dilation = tuple(int(v) for v in rng.integers(1, 3, 2)) if dilates and rng.random() < 0.3 else (1, 1)
        padding = int(rng.integers(2))
        made = tuple(
            slide(net, n, t, s, d, padding) for n, t, s, d in zip((height, width), taps, stride, dilation, strict=True)
        )
        if min(made) > 0:
            break
    fields = {"padding": padding, "strideH": stride[0], "strideW": stride[1]}
    if dilates:
        fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    return fields, (taps[0], taps[1]), (made[0], made[1])


def fused(net: Network) -> int:
    return int(net.rng.choice([0, 0, 1, 2, 3]))


def filters(
    net: Network, shape: tuple[int, ...], channels: int, axis: int, products: int, x: int
) -> tuple[list[int], int]:
    """Weights, a bias or none, and an output scale that makes use of int8."""
    rng = net.rng
    scales = np.exp(rng.uniform(-7, -3, channels if rng.random() < 0.7 else 1))
    weights = net.tensor(shape, scales=scales, values=rng.integers(-127, 128, shape), axis=axis)
    inputs = [x, weights]
    if (axis == 0 and len(shape) == 4) or rng.random() < 0.8:  # LiteRT refuses a CONV_2D without a bias
        reach = int(5000 * math.sqrt(products))
        bias = rng.integers(-reach, reach, channels)
        inputs.append(net.tensor((channels,), "int32", scales=net.scale_of(x) * scales, values=bias))
    spread = net.scale_of(x) * float(scales.mean()) * 5000 * math.sqrt(products)
    return inputs, float(spread / rng.choice([3, 40, 130, 1000]))


def conv(net: Network, x: int) -> int:
    fields, taps, made = window(net, x, dilates=True)
    depth = net.shape(x)[3]
    groups = int(net.rng.choice([g for g in range(1, depth + 1) if depth % g == 0])) if net.rng.random() < 0.3 else 1
    out = groups * int(net.rng.integers(1, 5))
    shape = (out, *taps, depth // groups)
    inputs, scale = filters(net, shape, out, 0, math.prod(shape[1:]), x)
    y = net.activation((net.shape(x)[0], *made, out), scale=scale)
    return net.op("CONV_2D", inputs, y, options("Conv2DOptions", fusedActivationFunction=fused(net), **fields))


def depthwise(net: Network, x: int) -> int:
    fields, taps, made = window(net, x, dilates=True)
    times = int(net.rng.integers(1, 4))
    out = net.shape(x)[3] * times
    inputs, scale = filters(net, (1, *taps, out), out, 3, math.prod(taps), x)
    y = net.activation((net.shape(x)[0], *made, out), scale=scale)
    fields |= {"depthMultiplier": times, "fusedActivationFunction": fused(net)}
    return net.op("DEPTHWISE_CONV_2D", inputs, y, options("DepthwiseConv2DOptions", **fields))


def dense(net: Network, x: int) -> int:
    rng, shape = net.rng, net.shape(x)
    rows, depth = shape[0], math.prod(shape[1:])
    units = int(rng.integers(1, 9))
    inputs, scale = filters(net, (units, depth), units, 0, depth, x)
    if len(net.graph.tensors[inputs[1]].quantization.scale) == 1 and rng.random() < 0.3:
        net.graph.tensors[inputs[1]].quantization.zeroPoint[0] = rng.integers(-20, 20)
    y = net.activation((rows, units), scale=scale)
    return net.op("FULLY_CONNECTED", inputs, y, options("FullyConnectedOptions", fusedActivationFunction=fused(net)))


def pool(kind: str) -> Callable[[Network, int], int]:
    def pool(net: Network, x: int) -> int:
        fields, taps, made = window(net, x, dilates=False)
        fields |= {"filterHeight": taps[0], "filterWidth": taps[1], "fusedActivationFunction": fused(net)}
        shape = net.shape(x)
        y = net.activation((shape[0], *made, shape[3]), like=x)
        return net.op(kind, [x], y, options("Pool2DOptions", **fields))

    return pool


def mean(net: Network, x: int) -> int:
    shape = net.shape(x)
    axes = [[1, 2], [2, 1], [-3, -2], [1], [3], [2, 3], [1, 2, 3]][int(net.rng.integers(7))]
    keep = bool(net.rng.integers(2))
    over = {a % 4 for a in axes}
    made = tuple(1 if i in over else n for i, n in enumerate(shape) if keep or i not in over)
    y = net.activation(made, scale=net.scale_of(x) * float(net.rng.uniform(0.1, 2)))
    axis = net.tensor((len(axes),), "int32", values=axes)
    return net.op("MEAN", [x, axis], y, options("ReducerOptions", keepDims=keep))


def elementwise(kind: str) -> Callable[[Network, int], int]:
    def elementwise(net: Network, x: int) -> int:
        rng, shape = net.rng, net.shape(x)
        other = tuple(n if rng.random() < 0.7 else 1 for n in shape) if rng.random() < 0.5 else shape
        other = other[int(rng.integers(4)) :] if rng.random() < 0.2 else other
        if rng.random() < 0.2:
            b = x
        elif rng.random() < 0.5:
            b = net.tensor(
                other, scales=net.scale(), zero=int(rng.integers(-128, 128)), values=rng.integers(-128, 128, other)
            )
        else:
            b = net.activation(other)
            net.graph.inputs.append(b)
        big = max(net.scale_of(x), net.scale_of(b))
        scale = big if kind == "ADD" else 50 * net.scale_of(x) * net.scale_of(b)
        made = np.broadcast_shapes(shape, net.shape(b))
        y = net.activation(made, scale=scale * float(rng.uniform(0.3, 4)))
        pair = [x, b] if rng.random() < 0.5 else [b, x]
        name = "AddOptions" if kind == "ADD" else "MulOptions"
        return net.op(kind, pair, y, options(name, fusedActivationFunction=fused(net)))

    return elementwise


def pad(net: Network, x: int) -> int:
    around = net.rng.integers(0, 3, (4, 2))
    made = tuple(int(n) for n in np.add(net.shape(x), around.sum(axis=1)))
    return net.op(
        "PAD", [x, net.tensor((4, 2), "int32", values=around)], net.activation(made, like=x), options("PadOptions")
    )


def reshape(net: Network, x: int) -> int:
    made = net.shape(x)[::-1]
    return net.op("RESHAPE", [x], net.activation(made, like=x), options("ReshapeOptions", newShape=list(made)))


def softmax(net: Network, x: int) -> int:
    beta = float(net.rng.choice([1.0, 1.0, 0.3, 5.0]))
    y = net.tensor(net.shape(x), scales=1 / 256, zero=-128)
    return net.op("SOFTMAX", [x], y, options("SoftmaxOptions", beta=beta))


def relu(kind: str) -> Callable[[Network, int], int]:
    def relu(net: Network, x: int) -> int:
        return net.op(kind, [x], net.activation(net.shape(x), scale=net.scale_of(x) * float(net.rng.uniform(0.2, 3))))

    return relu


def requantize(net: Network, x: int) -> int:
    y = net.activation(net.shape(x), scale=net.scale_of(x) * float(net.rng.uniform(0.2, 3)))
    return net.op("QUANTIZE", [x], y, options("QuantizeOptions"))


def from_float(net: Network, x: int) -> int:
    net.graph.inputs.remove(x)
    real = net.tensor(net.shape(x), "float32")
    net.graph.inputs.append(real)
    return net.op("QUANTIZE", [real], x, options("QuantizeOptions"))


def to_float(net: Network, x: int) -> int:
    return net.op("DEQUANTIZE", [x], net.tensor(net.shape(x), "float32"), options("DequantizeOptions"))


def concatenation(net: Network, x: int) -> int:
    shape, axis = net.shape(x), int(net.rng.integers(-4, 4))
    parts = [x]
    for _ in range(int(net.rng.integers(1, 4))):
        other = list(shape)
        other[axis] = int(net.rng.integers(1, 4))
        parts.append(net.activation(tuple(other), like=x))
        net.graph.inputs.append(parts[-1])
    made = list(shape)
    made[axis] = sum(net.shape(p)[axis] for p in parts)
    return net.op(
        "CONCATENATION", parts, net.activation(tuple(made), like=x), options("ConcatenationOptions", axis=axis)
    )


OPS: dict[str, Callable[[Network, int], int]] = {
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": dense,
    "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": pool("MAX_POOL_2D"),
    "MEAN": mean,
    "ADD": elementwise("ADD"),
    "MUL": elementwise("MUL"),
    "PAD": pad,
    "RESHAPE": reshape,
    "SOFTMAX": softmax,
    "RELU": relu("RELU"),
    "RELU6": relu("RELU6"),
    "QUANTIZE": requantize,
    "QUANTIZE from float": from_float,
    "DEQUANTIZE": to_float,
    "CONCATENATION": concatenation,
}
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "ADD", "MUL", "PAD", "RELU", "QUANTIZE")
quick = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a seed shrinks to nothing simpler
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("kind", OPS)
@quick
@given(seed=st.integers(0, 2**32 - 1))
def test_an_operator_gives_the_reference_kernels_bits(
    kind: str,
    seed: int,
    network: Callable[[int], Any],
    build: Callable[..., Any],
    reference: Callable[..., Any],
    samples: Callable[..., Any],
) -> None:
    net = network(seed)
    for _ in range(OPS_A_MODEL):
        x = image(net)
        net.graph.inputs.append(x)
        net.graph.outputs.append(OPS[kind](net, x))
    compare(net.finish(), seed, build, reference, samples)


@settings(quick, max_examples=6)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_chain_of_operators_that_share_the_arena_gives_the_reference_kernels_bits(
    seed: int,
    network: Callable[[int], Any],
    build: Callable[..., Any],
    reference: Callable[..., Any],
    samples: Callable[..., Any],
) -> None:
    net = network(seed)
    x = net.activation((int(net.rng.integers(1, 3)), 9, 7, 5))
    net.graph.inputs.append(x)
    for kind in net.rng.choice(LAYERS, 8):
        x = OPS[kind](net, x)
        if net.rng.random() < 0.15:
            net.graph.outputs.append(x)
    net.graph.outputs.append(dense(net, x))
    compare(net.finish(), seed, build, reference, samples)


def compare(model: bytes, seed: int, build: Any, reference: Any, samples: Any) -> None:
    inputs = samples(model, 12, seed)
    for found, wanted in zip(build(model, flags=SANITIZERS)(inputs), reference(model, inputs), strict=True):
        np.testing.assert_array_equal(found, wanted)
