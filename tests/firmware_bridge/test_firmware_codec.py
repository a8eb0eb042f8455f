"""The firmware's codec and Python's are one: the same golden vectors, the same findings in any bytes."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop_bridge.frames import Damaged, Decoder, Frame, encode
from tree import REPO

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
FIRMWARE = REPO / "firmware_bridge" / "firmware"
FOUND = {2: "cobs", 3: "short", 4: "long", 5: "crc"}
FLAGS = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined")
SOURCES = ("el_bytes.c", "el_crc32.c", "el_frame.c", "el_sha256.c")


class Codec:
    """The firmware's codec as a process, under sanitizers."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind: bytes, data: bytes) -> bytes:
        self.process.stdin.write(kind + struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        head = self.process.stdout.read(4)
        assert len(head) == 4, "the codec has ended"
        return self.process.stdout.read(struct.unpack("<I", head)[0])

    def decode(self, line: bytes) -> list[Frame | Damaged]:
        answer, at = self.ask(b"d", line), 0
        found: list[Frame | Damaged] = []
        while at < len(answer):
            kind, at = answer[at], at + 1
            if kind != 1:
                found.append(Damaged(FOUND[kind]))
                continue
            (length,) = struct.unpack_from("<H", answer, at)
            body, at = answer[at + 2 : at + 2 + length], at + 2 + length
            found.append(Frame(body[1], body[2] | body[3] << 8, body[4:-4], body[0]))
        return found

    def encode(self, frame: Frame) -> bytes:
        return self.ask(b"e", struct.pack("<BBH", frame.version, frame.type, frame.sequence) + frame.payload)


@pytest.fixture(scope="module")
def codec(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Codec]:
    needs("gcc")
    program = tmp_path_factory.mktemp("codec") / "codec"
    sources = [str(Path(__file__).with_name("codec.c")), *(str(FIRMWARE / "src" / name) for name in SOURCES)]
    # The protocol's largest frame, which the vectors have: a build may take less.
    includes = [f"-I{FIRMWARE / 'include'}", f"-I{FIRMWARE / 'src'}", "-DEL_FRAME_BYTES=1032u"]
    subprocess.run(["gcc", *FLAGS, *includes, *sources, "-o", str(program)], check=True)
    made = Codec(program)
    yield made
    made.process.stdin.close()
    assert made.process.wait(10) == 0
    made.process.stdout.close()


def python_finds(line: bytes) -> list[Frame | Damaged]:
    return Decoder().feed(line)


def test_golden_checksums(codec: Codec) -> None:
    for vector in VECTORS["crc32"]:
        found = codec.ask(b"c", bytes.fromhex(vector["data"]))
        assert struct.unpack("<I", found)[0] == int(vector["crc32"], 16), vector["name"]


def test_golden_frames(codec: Codec) -> None:
    for vector in VECTORS["frames"]:
        frame = Frame(vector["type"], vector["sequence"], bytes.fromhex(vector["payload"]), vector["version"])
        line = bytes.fromhex(vector["line"])
        assert codec.encode(frame) == line, vector["name"]
        assert codec.decode(line) == [frame], vector["name"]


def test_golden_lines(codec: Codec) -> None:
    for vector in VECTORS["lines"]:
        line = bytes.fromhex(vector["line"])
        assert codec.decode(line) == python_finds(line), vector["name"]


def test_golden_cobs(codec: Codec) -> None:
    """As far as a frame can hold them: COBS has no function of its own in the firmware."""
    for vector in VECTORS["cobs"]:
        frame = Frame(1, 2, bytes.fromhex(vector["decoded"]))
        assert codec.encode(frame) == encode(frame), vector["name"]


def test_golden_messages(codec: Codec) -> None:
    for vector in VECTORS["messages"]:
        frame = Frame(vector["type"], 7, bytes.fromhex(vector["payload"]))
        assert codec.decode(encode(frame)) == [frame], vector["name"]


runs = st.lists(st.integers(0, 520).map(lambda n: b"\x07" * n), max_size=3).map(b"\0".join)
frames = st.builds(
    Frame, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=300) | runs.map(lambda r: r[:1024])
)


@settings(deadline=None)
@given(st.lists(frames, max_size=4), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6))
def test_both_find_the_same_in_damaged_lines(codec: Codec, sent: list[Frame], faults: list[tuple[int, int]]) -> None:
    line = bytearray(b"".join(codec.encode(frame) for frame in sent))
    assert bytes(line) == b"".join(map(encode, sent))
    for at, byte in faults:
        if line:
            line[at % len(line)] = byte
    assert codec.decode(bytes(line)) == python_finds(bytes(line))


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_both_find_the_same_in_noise(codec: Codec, noise: bytes) -> None:
    assert codec.decode(noise) == python_finds(noise)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_sha256_and_crc32(codec: Codec, data: bytes) -> None:
    assert codec.ask(b"s", data) == hashlib.sha256(data).digest()
    assert struct.unpack("<I", codec.ask(b"c", data))[0] == zlib.crc32(data)
