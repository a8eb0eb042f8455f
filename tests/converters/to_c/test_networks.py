"""Whole models: the C answers as TFLite's reference kernels do, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeloop_converters.tflite import describe, parse
from edgeloop_converters.to_c import compile_to_c

SAMPLES = 100
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PUBLISHED, CONVERTED = ("ad01", "kws"), ("residual", "mobile")


ALL = [*PUBLISHED, *(pytest.param(name, marks=pytest.mark.tf) for name in CONVERTED)]


@pytest.mark.parametrize("model", ALL, indirect=True)
def test_the_program_answers_as_the_reference_kernels_do(
    model: bytes, build: Callable[..., Any], reference: Callable[..., Any], samples: Callable[..., Any]
) -> None:
    inputs = samples(model, SAMPLES)
    (wanted,) = reference(model, inputs)
    assert len(np.unique(wanted)) > 10
    for flags in (("-O2",), SANITIZERS):
        (found,) = build(model, flags=flags)(inputs)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("model", ALL[1:], indirect=True)
def test_the_arena_is_smaller_than_the_activations_that_live_together(model: bytes) -> None:
    assert compile_to_c(model, "m").arena_bytes < 0.75 * describe(model).peak_activation_bytes


@pytest.mark.tf
def test_operators_that_compute_a_fixed_shape_fall_away(networks: dict[str, bytes]) -> None:
    model = networks["residual"]
    assert "SHAPE" in describe(model).op_counts
    source = compile_to_c(model, "m").source
    assert "RESHAPE" in source
    assert "STRIDED_SLICE" not in source


def test_the_same_model_gives_the_same_files(shared_dir: Any) -> None:
    model = (shared_dir / "models" / "kws_int8.tflite").read_bytes()
    assert compile_to_c(model, "kws") == compile_to_c(model, "kws")


def test_names_of_tensors_cannot_end_a_comment(
    shared_dir: Any, build: Callable[..., Any], samples: Callable[..., Any]
) -> None:
    from edgeloop_converters.tflite import serialize

    tree = parse((shared_dir / "models" / "ad01_int8.tflite").read_bytes())
    for tensor in tree.subgraphs[0].tensors:
        tensor.name = "*/ #error ??/\n\\ é /*".encode()
    model = serialize(tree)
    assert build(model)(samples(model, 2))[0].shape == (2, 1, 640)
