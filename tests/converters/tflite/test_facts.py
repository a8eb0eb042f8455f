"""What `describe` says of a file is what stands in it."""

from __future__ import annotations

import msgspec
import pytest

from edgeloop_converters.tflite import ModelFacts, describe
from tflite_samples import Converted, Published


def test_published_keyword_model_is_described(published: Published) -> None:
    facts = describe(published.kws_int8)
    assert facts.op_counts["CONV_2D"] == 5
    assert [op.name for op in facts.ops[-3:]] == ["RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert facts.size_bytes == 53_936
    assert facts.dynamic == ("input_1",)
    assert facts.weight_bytes == {"int32": 4 * (9 * 64 + 12), "int8": 2560 + 4 * (576 + 4096) + 768}
    assert facts.parameters == 2560 + 4 * (576 + 4096) + 768 + 9 * 64 + 12


def test_macs_are_those_counted_by_hand(published: Published) -> None:
    plane = 25 * 5 * 64
    by_hand = plane * 40 + 4 * (plane * 9 + plane * 64) + 12 * 64
    assert describe(published.kws_int8).macs == by_hand
    assert describe(published.ad_float).macs == 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8


def test_quantization_of_tensors_is_told(published: Published) -> None:
    tensors = describe(published.kws_int8).tensors
    assert tensors[0].scales == pytest.approx((0.5847029,))
    assert tensors[0].zero_points == (83,)
    assert tensors[5].channel_axis == 3
    assert len(tensors[5].scales) == 64
    assert tensors[16].channel_axis is None
    assert (tensors[5].constant, tensors[0].constant) == (True, False)


def test_activations_alive_together_are_summed(published: Published) -> None:
    # The widest moment of the dense autoencoder is the last layer: 128 values in, 640 out, all float32.
    assert describe(published.ad_float).peak_activation_bytes == 4 * (128 + 640)
    assert describe(published.ad_int8).peak_activation_bytes == 128 + 640


def test_facts_go_through_json(published: Published) -> None:
    facts = describe(published.ad_int8)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) == facts


@pytest.mark.tf
def test_state_and_signature_of_a_streaming_model_are_told(converted: Converted) -> None:
    facts = describe(converted.stream)
    assert facts.stateful_ops == ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")
    assert (facts.signatures[0].key, list(facts.signatures[0].outputs)) == ("serving_default", ["sum"])
    assert facts.custom_ops == ()
    assert next(t for t in facts.tensors if t.dtype == "resource").bytes is None


@pytest.mark.tf
def test_weights_inside_a_loop_are_counted(converted: Converted) -> None:
    facts = describe(converted.lstm)
    assert facts.subgraphs == 3
    assert "WHILE" in facts.op_counts
    assert facts.parameters >= 3 * 16 + 4 * 16 + 16 + 4 * 2 + 2


@pytest.mark.tf
def test_float16_weights_are_counted_at_their_size(converted: Converted) -> None:
    real, half = describe(converted.real), describe(converted.float16)
    assert half.weight_bytes["float16"] * 2 == real.weight_bytes["float32"]
    assert half.parameters == real.parameters
