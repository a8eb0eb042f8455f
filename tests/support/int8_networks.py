"""Small int8 networks: of single operators, built with LiteRT's own schema, and two that TensorFlow converts."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.manifest import Manifest, ModelFile
from edgeloop_converters.tflite import serialize

TYPES = {"int8": 9, "int16": 7, "int32": 2, "float32": 0}


class Network:
    """A model in the making: tensors and operators are appended."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        scales: Any = None,
        zero: int = 0,
        values: Any = None,
        axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{len(self.graph.tensors)}".encode(), list(shape), TYPES[dtype]
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, dtype).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scales is not None:
            scales = np.atleast_1d(np.asarray(scales, np.float32))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def activation(self, shape: tuple[int, ...], like: int | None = None, scale: float | None = None) -> int:
        """An int8 tensor of random quantization, or of that of another one."""
        if like is not None:
            quantization = self.graph.tensors[like].quantization
            return self.tensor(shape, scales=quantization.scale, zero=int(quantization.zeroPoint[0]))
        zero = int(self.rng.choice([-128, 127, 0, self.rng.integers(-128, 128)]))
        return self.tensor(shape, scales=self.scale() if scale is None else scale, zero=zero)

    def scale(self) -> float:
        return float(np.exp(self.rng.uniform(np.log(1e-3), np.log(0.5))))

    def scale_of(self, tensor: int) -> float:
        return float(self.graph.tensors[tensor].quantization.scale[0])

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[tensor].shape)

    def op(self, kind: str, inputs: list[int], output: int, options: Any = None) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output

    def finish(self) -> bytes:
        return serialize(self.model)


def dense(depth: int, units: int, seed: int) -> bytes:
    """A fully connected layer and a softmax."""
    net = Network(seed)
    x = net.tensor((1, depth), scales=0.1, zero=3)
    weights = net.tensor((units, depth), scales=0.02, values=net.rng.integers(-127, 128, (units, depth)))
    logits, y = net.tensor((1, units), scales=0.05, zero=-4), net.tensor((1, units), scales=1 / 256, zero=-128)
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    net.op("FULLY_CONNECTED", [x, weights, -1], logits, schema.FullyConnectedOptionsT())
    net.op("SOFTMAX", [logits], y, softmax)
    net.graph.inputs, net.graph.outputs = [x], [y]
    return net.finish()


def artifact_of(model: bytes) -> Artifact:
    """An unsigned artifact of a classifier."""
    backend = open_backend(model)
    manifest = Manifest(
        name="tiny",
        version=1,
        created="2026-01-01T00:00:00+00:00",
        model=ModelFile(sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model)),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="classification",
    )
    return pack_artifact(model, manifest)


@functools.cache
def converted_networks() -> dict[str, bytes]:
    """A residual net and a MobileNet-like one, converted to int8 by TensorFlow."""
    import warnings

    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    layers = keras.layers

    def residual() -> Any:
        x = inputs = keras.Input((12, 12, 3))
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        for channels, stride in ((8, 1), (16, 2), (24, 2)):
            y = layers.Conv2D(channels, 3, strides=stride, padding="same", activation="relu")(x)
            y = layers.Conv2D(channels, 3, padding="same")(y)
            same = stride == 1 and x.shape[-1] == channels
            x = x if same else layers.Conv2D(channels, 1, strides=stride)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
        x = layers.AveragePooling2D(3)(x)
        return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))

    def mobile() -> Any:
        x = inputs = keras.Input((20, 20, 1))
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(
            layers.ZeroPadding2D(((0, 1), (1, 0)))(x)
        )
        for channels, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (48, 2)):
            y = layers.Conv2D(2 * x.shape[-1], 1, activation="relu6")(x)
            y = layers.DepthwiseConv2D(3, strides=stride, padding="same", activation="relu6")(y)
            y = layers.Conv2D(channels, 1)(y)
            x = layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y
        gate = layers.Conv2D(x.shape[-1], 1, activation="relu6", bias_initializer="ones")(
            layers.GlobalAveragePooling2D(keepdims=True)(x)
        )
        x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(layers.Multiply()([x, gate])))
        return keras.Model(inputs, layers.Dense(6, activation="softmax")(x))

    def convert(net: Any) -> bytes:
        rng = np.random.default_rng(2)
        for weights in net.trainable_weights:  # untrained nets fade out, and answer the same to everything
            if len(weights.shape) > 1:
                weights.assign(rng.normal(size=weights.shape) * np.sqrt(2.5 / np.prod(weights.shape[:-1])))
        depthwise = [layer for layer in net.layers if isinstance(layer, layers.DepthwiseConv2D)]
        for layer in depthwise:
            layer.kernel.assign(layer.kernel * np.sqrt(layer.kernel.shape[2]))
        data = np.random.default_rng(1).normal(size=(30, 1, *net.input_shape[1:])).astype(np.float32)
        converter = tf.lite.TFLiteConverter.from_keras_model(net)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in data)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of statistics that it doesn't need
            return bytes(converter.convert())

    return {"residual": convert(residual()), "mobile": convert(mobile())}
