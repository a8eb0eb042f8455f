"""The serial line's codec: COBS and a CRC-32 around it, beside the `cobs` package with zlib's CRC."""

from __future__ import annotations

import random
import sys
import zlib

import pytest

from edgeloop_bench.peers import PEERS, PeerUnavailableError, peer_python
from edgeloop_bridge.frames import Decoder, Frame, encode

PAYLOAD = random.Random(0).randbytes(256)
FRAME = Frame(0x21, 7, PAYLOAD)
BODY = b"\x01\x21\x07\x00" + PAYLOAD


@pytest.fixture(scope="module")
def cobs():
    """The package out of its own environment, which this Python has made; it depends on nothing."""
    try:
        python = peer_python(PEERS["cobs"])
    except PeerUnavailableError as error:
        pytest.skip(str(error))
    folder = next(python.parents[1].glob(f"lib/python3.{sys.version_info[1]}/site-packages"))
    sys.path.append(str(folder))
    try:
        from cobs import cobs as module
    finally:
        sys.path.remove(str(folder))
    return module


PEER = "cobs 1.2.2 (in C) and zlib.crc32"


@pytest.mark.benchmark(group="codec: encode a frame of 256 B")
def test_encoding(beside, cobs) -> None:
    def by_hand() -> bytes:
        return b"\0" + cobs.encode(BODY + zlib.crc32(BODY).to_bytes(4, "little")) + b"\0"

    assert by_hand() == encode(FRAME)
    beside(lambda: encode(FRAME), by_hand, PEER)


@pytest.mark.benchmark(group="codec: decode a frame of 256 B")
def test_decoding(beside, cobs) -> None:
    line, decoder = encode(FRAME), Decoder()

    def by_hand() -> bytes:
        decoded = cobs.decode(line[1:-1])
        assert zlib.crc32(decoded[:-4]) == int.from_bytes(decoded[-4:], "little")
        return decoded[:-4]

    assert decoder.feed(line) == [FRAME]
    assert by_hand() == BODY
    beside(lambda: decoder.feed(line), by_hand, PEER)
