from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.compression import deflate, inflate
from edgeloop.errors import MessageError


@given(st.binary(max_size=3000).filter(lambda raw: raw[:1] != b"x"), st.integers(1, 50))
def test_what_was_deflated_is_inflated(raw: bytes, times: int) -> None:
    assert inflate(deflate(raw * times), 1 << 20) == raw * times


def test_it_is_deflated_only_where_that_pays() -> None:
    noise = random.Random(0).randbytes(5000)
    assert deflate(noise) is noise
    assert len(deflate(bytes(10_000))) < 100
    assert deflate(b"short" * 40) == b"short" * 40


def test_a_decompression_bomb_is_refused_in_little_memory() -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    tracemalloc.start()
    with pytest.raises(MessageError, match="more than 1048576"):
        inflate(bomb, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("damage", [lambda z: z[:-1], lambda z: z + b"more", lambda z: z[:5] + b"\0" + z[6:]])
def test_a_damaged_stream_is_a_message_error(damage) -> None:
    with pytest.raises(MessageError):
        inflate(damage(zlib.compress(b"hello " * 100)), 1 << 20)
