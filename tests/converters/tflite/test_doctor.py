"""The doctor finds the layer that was hurt, says why, and what to try."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeloop.errors import ModelError
from edgeloop_converters.tflite import (
    Diagnosis,
    LayerDiagnosis,
    QuantizationWanted,
    Scheme,
    describe,
    diagnose,
    parse,
    quantize,
    repair,
    serialize,
)
from edgeloop_converters.tflite.kernels import Kernels
from edgeloop_converters.tflite.match import match
from tflite_samples import Converted, Published, features, images, spectra

STATIC = QuantizationWanted(Scheme.STATIC_INT8)


def kinds(layer: LayerDiagnosis) -> set[str]:
    return {cause.kind for cause in layer.causes}


@pytest.mark.tf
@pytest.mark.parametrize("kernels", ["default", "reference"])
def test_tensorflows_int8_model_is_matched_layer_by_layer(converted: Converted, kernels: Kernels) -> None:
    found = diagnose(converted.real, converted.int8, images(10, 2), kernels=kernels)
    assert found.unmatched == ()
    assert len(found.layers) == len(describe(converted.real).ops)
    assert all(layer.added_nrmse is not None for layer in found.layers)
    last = next(layer for layer in found.layers if layer.op == "FULLY_CONNECTED")
    assert last.nrmse > (last.added_nrmse or 0)  # what came before is in the one and not in the other


@pytest.mark.tf
@pytest.mark.parametrize("scheme", [Scheme.FLOAT16, Scheme.WEIGHT_ONLY_INT8, Scheme.DYNAMIC_INT8])
def test_float_activations_are_compared_too(converted: Converted, scheme: Scheme) -> None:
    made = quantize(converted.real, QuantizationWanted(scheme)).model
    found = diagnose(converted.real, made, images(4, 2))
    assert found.unmatched == ()
    assert min(layer.sqnr_db for layer in found.layers) > 25


def damaged_layer(model: bytes, index: int) -> bytes:
    """Give the output of one operator a fifth of its range, as if calibration had missed the large values."""
    tree = parse(model)
    main = tree.subgraphs[0]
    quantization = main.tensors[main.operators[index].outputs[0]].quantization
    quantization.scale = [float(quantization.scale[0]) / 5]
    for op in main.operators:  # its readers' biases are scaled by input scale × weight scale
        if len(op.inputs) > 2 and op.inputs[0] == main.operators[index].outputs[0]:
            bias = main.tensors[op.inputs[2]]
            bias.quantization.scale = [float(s) / 5 for s in bias.quantization.scale]
            values = np.frombuffer(tree.buffers[bias.buffer].data.tobytes(), np.int32) * 5
            tree.buffers.append(schema.BufferT(data=np.frombuffer(values.astype("<i4").tobytes(), np.uint8)))
            bias.buffer = len(tree.buffers) - 1
    return serialize(tree)


@pytest.mark.tf
@pytest.mark.parametrize("index", [1, 4])
def test_layer_with_a_range_that_is_too_narrow_comes_first(converted: Converted, index: int) -> None:
    made = quantize(converted.real, STATIC, images(30, 1)).model
    found = diagnose(converted.real, damaged_layer(made, index), images(10, 2))
    assert found.layers[0].index == index
    assert {"calibration_too_narrow", "saturated"} <= kinds(found.layers[0])
    healthy = [layer for layer in found.layers if layer.index not in (index, index + 1)]
    assert all((layer.added_nrmse or 0) < 0.3 * (found.layers[0].added_nrmse or 0) for layer in healthy)


def test_calibration_on_quiet_data_is_found(kws_real: bytes) -> None:
    made = quantize(kws_real, STATIC, features(30, 1) * 0.2).model
    found = diagnose(kws_real, made, features(20, 2))
    narrow = [layer for layer in found.layers if "calibration_too_narrow" in kinds(layer)]
    assert len(narrow) >= 5
    assert narrow[0].causes[0].cost_bytes == 0


def test_calibration_on_loud_data_is_found(kws_real: bytes) -> None:
    made = quantize(kws_real, STATIC, features(30, 1) * 12).model
    found = diagnose(kws_real, made, features(20, 2))
    assert sum("calibration_too_wide" in kinds(layer) for layer in found.layers) >= 5


def test_unbalanced_channels_of_the_published_autoencoder_are_found(published: Published) -> None:
    found = diagnose(repair(published.ad_float).model, published.ad_int8, spectra(20, 2))
    hurt = [layer for layer in found.layers if "unbalanced_channels" in kinds(layer)]
    assert hurt
    cost = next(c for c in hurt[0].causes if c.kind == "unbalanced_channels").cost_bytes
    assert cost == 16 * 127


def test_int4_weights_are_a_cause_with_their_cost(kws_real: bytes) -> None:
    made = quantize(kws_real, QuantizationWanted(Scheme.DYNAMIC_INT4)).model
    found = diagnose(kws_real, made, features(5, 2))
    worst = found.layers[0]
    cause = next(c for c in worst.causes if c.kind == "int4_weights")
    weights = describe(kws_real).tensors[describe(kws_real).ops[worst.index].inputs[1]]
    assert cause.cost_bytes == np.prod(weights.shape) // 2


def test_dead_channels_and_their_bytes_are_found(kws_real: bytes) -> None:
    tree = parse(kws_real)
    main = tree.subgraphs[0]
    bias = main.tensors[main.operators[2].inputs[2]]
    values = np.frombuffer(tree.buffers[bias.buffer].data.tobytes(), np.float32).copy()
    values[:16] = -1e3  # ReLU then gives zero for these, always
    tree.buffers[bias.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    model = serialize(tree)
    found = diagnose(model, quantize(model, STATIC, features(30, 1)).model, features(10, 2))
    layer = next(layer for layer in found.layers if layer.index == 2)
    dead = next(c for c in layer.causes if c.kind == "dead_channels")
    assert int(dead.evidence.split()[0]) >= 16
    assert dead.cost_bytes <= -1024


def renamed(model: bytes) -> bytes:
    tree = parse(model)
    for index, tensor in enumerate(tree.subgraphs[0].tensors):
        tensor.name = f"t{index}"
    return serialize(tree)


def test_layers_are_matched_without_names(published: Published) -> None:
    real, made = describe(published.kws_hybrid), describe(renamed(published.kws_int8))
    found = match(real, made)
    assert found.unmatched == ()
    assert found.ops == {index: index for index in range(13)}


def test_layers_without_counterpart_are_told(published: Published) -> None:
    tree = parse(renamed(published.kws_int8))
    main = tree.subgraphs[0]
    main.outputs = main.operators[-2].outputs
    main.operators.pop()  # the softmax
    found = match(describe(published.kws_hybrid), describe(serialize(tree)))
    assert found.unmatched == ("float: SOFTMAX Identity",)


def test_models_that_have_nothing_in_common_are_an_error(published: Published) -> None:
    with pytest.raises(ModelError, match="no layer"):
        diagnose(published.ad_float, published.kws_int8, spectra(1, 0))


def test_diagnosis_goes_through_json(published: Published) -> None:
    found = diagnose(published.ad_float, published.ad_int8, spectra(3, 0))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found
