from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeloop.errors import DataError
from edgeloop.manifest import TensorSpec
from edgeloop.quantization import dequantize
from edgeloop_converters.places.difference import difference

SPEC = TensorSpec("p", (1, 4), "int8", 1 / 256, -128)
STORED = arrays(np.int8, (5, 4), elements=st.integers(-128, 127))


@given(STORED, STORED)
def test_steps_are_those_of_the_stored_integers(one, other) -> None:
    found = difference([SPEC], {"p": dequantize(SPEC, one)}, {"p": dequantize(SPEC, other)})
    apart = np.abs(one.astype(int) - other.astype(int))
    assert found.max_steps == apart.max()
    assert found.mean_steps == pytest.approx(apart.mean())
    assert found.is_equal == np.array_equal(one, other)
    assert found.changed == (apart > 0).any(axis=1).mean()
    assert found.agreement == (one.argmax(axis=1) == other.argmax(axis=1)).mean()


def test_float_outputs_have_no_steps() -> None:
    spec = TensorSpec("y", (1, 2), "float32")
    one, other = np.zeros((3, 2), np.float32), np.full((3, 2), 0.5, np.float32)
    found = difference([spec], {"y": one}, {"y": other})
    assert (found.max_steps, found.mean_steps, found.max_abs, found.agreement) == (None, None, 0.5, 1.0)


def test_outputs_of_another_model_are_not_compared() -> None:
    with pytest.raises(DataError, match="can't be compared"):
        difference([SPEC], {"p": np.zeros((3, 4))}, {"p": np.zeros((2, 4))})
