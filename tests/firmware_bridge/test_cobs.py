from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import MessageError
from edgeloop_bridge import cobs

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())

# Runs around the group size of 254, which random bytes reach too rarely.
runs = st.lists(st.integers(0, 520).map(lambda n: b"\x07" * n), max_size=4).map(b"\0".join)


@pytest.mark.parametrize("vector", VECTORS["cobs"], ids=lambda v: v["name"])
def test_golden_vectors(vector: dict[str, str]) -> None:
    decoded, encoded = bytes.fromhex(vector["decoded"]), bytes.fromhex(vector["encoded"])
    assert cobs.encode(decoded) == encoded
    assert cobs.decode(encoded) == decoded


@given(st.binary(max_size=600) | runs)
def test_encoding_has_no_zero_little_overhead_and_a_way_back(data: bytes) -> None:
    encoded = cobs.encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + max(1, -(-len(data) // 254))
    assert cobs.decode(encoded) == data


@given(st.binary(max_size=600))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decoded = cobs.decode(data)
    except MessageError:
        return
    assert len(decoded) <= len(data)


@pytest.mark.parametrize("encoded", ["00", "0200", "05010203", "ff01"])
def test_what_no_encoder_writes_is_refused(encoded: str) -> None:
    with pytest.raises(MessageError, match="COBS"):
        cobs.decode(bytes.fromhex(encoded))
