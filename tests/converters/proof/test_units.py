from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import ConfigError
from edgeloop_converters.proof import Drop, format_bytes, format_us, parse_bytes, parse_drop, parse_us


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("60kB", 60_000),
        ("60 KB", 60_000),
        ("64KiB", 65_536),
        ("1.5MB", 1_500_000),
        ("512", 512),
        (512, 512),
        (".5kB", 500),
        ("2GiB", 2**31),
        ("7 B", 7),
    ],
)
def test_sizes(text: str | float, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "us"),
    [("2ms", 2000), ("500us", 500), ("500 µs", 500), ("500μs", 500), ("0.1s", 1e5), ("1e-3s", 1000)],
)
def test_durations(text: str, us: float) -> None:
    assert parse_us(text) == pytest.approx(us)


@pytest.mark.parametrize(
    ("text", "drop"),
    [
        ("1%", Drop(0.01, True)),
        ("0.5pt", Drop(0.005, False)),
        ("0.02", Drop(0.02, False)),
        (0, Drop(0, False)),
    ],
)
def test_drops(text: str | float, drop: Drop) -> None:
    assert parse_drop(text) == drop


def test_a_relative_drop_scales_with_the_original_even_below_zero() -> None:
    assert parse_drop("1%").limit(0.9) == pytest.approx(0.009)
    assert parse_drop("10%").limit(-2.0) == pytest.approx(0.2)
    assert parse_drop("0.5pt").limit(0.9) == 0.005


@pytest.mark.parametrize("parse", [parse_bytes, parse_us, parse_drop])
@pytest.mark.parametrize("text", ["", "kB", "-1", "1 2", "nan", "inf", "1e999", "12 parsec", "1,5MB", "0x10"])
def test_anything_else_is_refused(parse: object, text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_a_duration_without_a_unit_is_refused_with_the_units() -> None:
    with pytest.raises(ConfigError, match="has no unit; use us, ms or s"):
        parse_us("500")


@given(st.floats(1, 1e12, exclude_max=True))
def test_what_is_formatted_is_read_back_to_three_digits(number: float) -> None:
    assert parse_bytes(format_bytes(number)) == pytest.approx(number, rel=0.006, abs=0.51)
    assert parse_us(format_us(number)) == pytest.approx(number, rel=0.006)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (format_bytes(999), "999 B"),
        (format_bytes(61_234), "61.2 kB"),
        (format_bytes(999_999), "1 MB"),
        (format_us(1250), "1.25 ms"),
        (format_us(3.04), "3.04 µs"),
        (format_us(2_000_000), "2 s"),
    ],
)
def test_formats(text: str, shown: str) -> None:
    assert text == shown
