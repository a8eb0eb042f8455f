from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import MessageError
from edgeloop_bridge.frames import MAX_PAYLOAD_BYTES, Damaged, Decoder, Frame, encode

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())

payloads = st.binary(max_size=300) | st.integers(0, MAX_PAYLOAD_BYTES).map(lambda n: b"\x01" * n)
frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 65535), payloads, st.integers(0, 255))
streams = st.lists(frames, min_size=1, max_size=5)


def decode(pieces: Sequence[bytes]) -> list[Frame | Damaged]:
    decoder = Decoder()
    return [found for piece in pieces for found in decoder.feed(piece)]


def found_from(entry: dict[str, Any]) -> Frame | Damaged:
    if "damaged" in entry:
        return Damaged(entry["damaged"])
    return Frame(entry["type"], entry["sequence"], bytes.fromhex(entry["payload"]), entry["version"])


@pytest.mark.parametrize("vector", VECTORS["crc32"], ids=lambda v: v["name"])
def test_golden_checksums(vector: dict[str, Any]) -> None:
    assert zlib.crc32(bytes.fromhex(vector["data"])) == int(vector["crc32"], 16)


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda v: v["name"])
def test_golden_frames(vector: dict[str, Any]) -> None:
    frame, line = found_from(vector), bytes.fromhex(vector["line"])
    assert isinstance(frame, Frame)
    assert encode(frame) == line
    assert decode([line]) == [frame]


@pytest.mark.parametrize("vector", VECTORS["lines"], ids=lambda v: v["name"])
def test_golden_lines(vector: dict[str, Any]) -> None:
    line = bytes.fromhex(vector["line"])
    wanted = [found_from(entry) for entry in vector["found"]]
    assert decode([line]) == wanted
    assert decode([bytes([byte]) for byte in line]) == wanted


@given(streams, st.data())
def test_frames_are_found_however_the_line_is_cut(sent: list[Frame], data: st.DataObject) -> None:
    line = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=8)))
    pieces = [line[a:b] for a, b in zip([0, *cuts], [*cuts, len(line)], strict=True)]
    assert decode(pieces) == sent


@given(streams, st.sampled_from(["change", "drop", "insert"]), st.data())
def test_one_bad_byte_costs_at_most_one_frame(sent: list[Frame], fault: str, data: st.DataObject) -> None:
    line = b"".join(map(encode, sent))
    at = data.draw(st.integers(0, len(line) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda b: b != line[at]))])
    rest = {"change": byte + line[at + 1 :], "drop": line[at + 1 :], "insert": byte + line[at:]}[fault]
    found = [f for f in decode([line[:at] + rest]) if isinstance(f, Frame)]
    assert found in [sent, *(sent[:i] + sent[i + 1 :] for i in range(len(sent)))]


@given(streams, st.binary(max_size=40), st.data())
def test_noise_never_makes_a_frame_that_was_not_sent(sent: list[Frame], noise: bytes, data: st.DataObject) -> None:
    line = bytearray(b"".join(map(encode, sent)))
    for byte in noise:
        line[data.draw(st.integers(0, len(line) - 1))] ^= byte
    assert all(f in sent for f in decode([bytes(line)]) if isinstance(f, Frame))


@given(st.binary(max_size=3000), frames)
def test_the_next_frame_is_found_after_any_noise(noise: bytes, frame: Frame) -> None:
    assert decode([noise, encode(frame)])[-1] == frame


def test_an_endless_frame_is_dropped_and_not_kept() -> None:
    decoder = Decoder()
    for _ in range(1000):
        assert decoder.feed(b"\x55" * 1000) == []
        assert len(decoder._begun) <= MAX_PAYLOAD_BYTES + 13
    assert decoder.feed(encode(Frame(1, 2))) == [Damaged("long"), Frame(1, 2)]


@pytest.mark.parametrize(
    "frame",
    [Frame(256, 0), Frame(0, 65536), Frame(-1, 0), Frame(0, 0, version=256), Frame(0, 0, b"x" * 1025)],
    ids=str,
)
def test_what_fits_no_frame_is_refused(frame: Frame) -> None:
    with pytest.raises(MessageError):
        encode(frame)
