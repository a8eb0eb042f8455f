"""How XNNPACK divides a model."""

from __future__ import annotations

import pytest

from edgeloop_converters.tflite import QuantizationWanted, Scheme, delegation, quantize
from tflite_samples import Converted, Published, images


def test_float_autoencoder_is_one_partition(published: Published) -> None:
    found = delegation(published.ad_float)
    assert (found.nodes, found.delegated, found.partitions, found.outside) == (10, 10, 1, ())


def test_operators_outside_are_named(published: Published) -> None:
    found = delegation(published.kws_int8)
    assert found.partitions == 2
    assert [op.name for op in found.outside] == ["AVERAGE_POOL_2D", "SOFTMAX"]
    assert found.delegated + len(found.outside) == found.nodes == 13


@pytest.mark.tf
def test_dynamic_depthwise_falls_out_of_the_delegate(converted: Converted) -> None:
    assert delegation(converted.real).partitions == 1
    made = quantize(converted.real, QuantizationWanted(Scheme.DYNAMIC_INT8))
    found = delegation(made.model)
    assert {op.name for op in found.outside} == {"DEPTHWISE_CONV_2D"}
    assert found.partitions == 4  # three depthwise layers stand between four pieces
    assert [f.code for f in made.findings] == ["partitions"]


@pytest.mark.tf
def test_int16_activations_run_outside(converted: Converted) -> None:
    made = quantize(converted.real, QuantizationWanted(Scheme.STATIC_INT16X8), images(10, 0))
    assert delegation(made.model).delegated == 0
    assert [f.code for f in made.findings] == ["no_delegation"]
