from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.errors import MessageError
from edgeloop.messages import decode_part
from edgeloop.outbox import Row
from edgeloop.parts import Joiner, split


def row(size: int, seq: int = 1, kind: str = "sample") -> Row:
    return Row(1, 1, seq, kind, random.Random(size).randbytes(size))


@settings(deadline=None, max_examples=30)
@given(st.integers(300_000, 2_000_000), st.integers(20_000, 400_000), st.randoms(use_true_random=False))
def test_parts_in_any_order_and_twice_give_the_whole(size: int, packet: int, rng: random.Random) -> None:
    payload = row(size)
    raw = split("cam-1", payload, packet)
    assert all(len(part) <= max(packet, 0) for part in raw)
    order = [*raw[:-1], *raw[:-1]]
    rng.shuffle(order)
    joiner = Joiner()
    wholes = [whole for part in [*order, raw[-1]] if (whole := joiner.add(decode_part("cam-1", part))) is not None]
    assert wholes == [payload.payload]
    assert joiner.held_bytes == 0


def test_what_fits_goes_as_it_is() -> None:
    assert split("d", row(200_000), 1 << 28) == []
    assert split("d", row(200_000), 100_000) != []
    assert split("d", row(900_000, kind="event"), 1 << 28) == []


def test_parts_that_contradict_each_other_are_refused_and_forgotten() -> None:
    parts = [decode_part("d", raw) for raw in split("d", row(600_000), 1 << 28)]
    joiner = Joiner()
    with pytest.raises(MessageError, match="part 9 of"):
        joiner.add(msgspec.structs.replace(parts[0], index=9))
    joiner.add(parts[0])
    with pytest.raises(MessageError, match="longer"):
        joiner.add(msgspec.structs.replace(parts[1], data=bytes(900_000)))
    for part in parts[:-1]:
        joiner.add(part)
    with pytest.raises(MessageError, match="don't give"):
        joiner.add(msgspec.structs.replace(parts[-1], data=parts[-1].data[:-1] + b"?"))
    assert joiner.held_bytes == 0


def test_what_is_held_is_bounded_whatever_comes() -> None:
    joiner = Joiner(max_bytes=1 << 20)
    (first, *_) = [decode_part("d", raw) for raw in split("d", row(600_000), 1 << 28)]
    for seq in range(1, 20_000):
        joiner.add(msgspec.structs.replace(first, seq=seq, data=b"" if seq % 100 else first.data))
        assert joiner.held_bytes <= 1 << 20


def test_a_part_of_another_device_is_refused() -> None:
    (raw, *_) = split("cam-1", row(600_000), 1 << 28)
    with pytest.raises(MessageError, match="cam-1"):
        decode_part("cam-2", raw)
