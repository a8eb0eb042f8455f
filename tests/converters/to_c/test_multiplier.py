"""Multipliers: TFLite's, and the integer one that stands for double arithmetic."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop_converters.to_c.multiplier import SATURATES, exact_multiplier, quantize_multiplier, threshold


@given(real=st.floats(1e-9, 1e3))
def test_a_quantized_multiplier_has_31_bits(real: float) -> None:
    value, shift = quantize_multiplier(real)
    assert 2**30 <= value < 2**31
    assert value * 2.0 ** (shift - 31) == pytest.approx(real, rel=2**-30)


@pytest.mark.parametrize(
    ("real", "value", "shift"),
    [(0.0, 0, 0), (1.0, 1 << 30, 1), (0.5, 1 << 30, 0), (1 - 2**-40, 1 << 30, 1), (2.0**-40, 0, 0)],
)
def test_a_quantized_multiplier_at_the_edges(real: float, value: int, shift: int) -> None:
    assert quantize_multiplier(real) == (value, shift)


def away_from_zero(value: float) -> int:
    return math.floor(value) + (value - math.floor(value) >= 0.5)


@given(real=st.floats(1e-6, 4.0) | st.sampled_from([0.5, 0.25, 1.0, 3.0, 0.1, 1 / 3]), data=st.data())
def test_the_exact_multiplier_rounds_as_double_arithmetic_does(real: float, data: st.DataObject) -> None:
    largest = data.draw(st.integers(1, 2**26))
    found = exact_multiplier(real, largest)
    assert found is not None
    assert found.value < 2**31
    near = data.draw(st.integers(1, SATURATES - 1))
    around = [threshold(real, near) + d for d in (-2, -1, 0, 1)]
    for acc in [*around, *data.draw(st.lists(st.integers(0, largest), max_size=20)), largest]:
        if 0 <= acc <= largest:
            wanted = away_from_zero(acc * real)
            answer = (acc * found.value + (1 << (found.shift - 1))) >> found.shift
            assert min(answer, SATURATES) == min(wanted, SATURATES)
