"""Turning a dynamic-range model back into the float model that it stands for.

Some published "float" files hold int8 weights already (TensorFlow's converter with its default optimization
and no data). They can't be quantized further, and a quantizer leaves them as they are. What the first
rounding of the weights lost stays lost; activations were float all along.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop.errors import ModelError
from edgeloop_converters.tflite.facts import describe
from edgeloop_converters.tflite.flatbuffer import DTYPES, as_list, parse, serialize, text
from edgeloop_converters.tflite.repair import Repaired

__all__ = ["restore_float"]


def restore_float(model: bytes) -> Repaired:
    """Dequantize int8 weights to float32; the activations must be float already.

    The restored model computes with these weights in float32. The given one quantizes its activations on the
    fly, so the outputs differ by that.

    Raises:
        ModelError: the model is damaged, has quantized activations, or weights that aren't int8.
    """
    facts = describe(model)
    quantized = [t for t in facts.tensors if t.scales]
    if not quantized:
        return Repaired(model, ())
    activations = [t.name for t in quantized if not t.constant]
    other = [f"{t.name}: {t.dtype}" for t in quantized if t.dtype != "int8"]
    if activations or other or facts.subgraphs > 1 or "DEQUANTIZE" in facts.op_counts:
        raise ModelError(
            f"the model is quantized already ({(activations + other or list(facts.op_counts))[0]!r}), "
            "and not in its weights only: quantize the float model that it came from"
        )
    tree = parse(model)
    for facts_of in quantized:
        make_float(tree, tree.subgraphs[0].tensors[facts_of.index])
    names = ", ".join(t.name for t in quantized[:2])
    return Repaired(
        serialize(tree),
        (f"turned {len(quantized)} int8 weights of a dynamic-range model back into float32 ({names}…)",),
    )


def make_float(tree: schema.ModelT, tensor: schema.TensorT) -> None:
    """Replace one int8 tensor's values by the real numbers that they stand for, in a buffer of its own."""
    if DTYPES[tensor.type] != "int8":
        raise ModelError(f"tensor {text(tensor.name)!r} isn't int8")
    values = np.frombuffer(bytes(tree.buffers[tensor.buffer].data), np.int8).reshape(as_list(tensor.shape))
    scales = np.asarray(tensor.quantization.scale, np.float32)
    zero_points = np.asarray(as_list(tensor.quantization.zeroPoint) or [0] * len(scales), np.float32)
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[tensor.quantization.quantizedDimension] = len(scales)
    real = (values.astype(np.float32) - zero_points.reshape(shape)) * scales.reshape(shape)
    tree.buffers.append(schema.BufferT(data=np.frombuffer(real.astype("<f4").tobytes(), np.uint8)))
    tree.buffers[tensor.buffer].data = None
    tensor.buffer = len(tree.buffers) - 1
    tensor.type = schema.TensorType.FLOAT32
    tensor.quantization = None
