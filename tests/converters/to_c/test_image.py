"""Images for slots; that they run is tested with the firmware, in tests/firmware_bridge."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgeloop import cli
from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.compile_c_command import COMPILE_C
from edgeloop_converters.to_c import compile_to_c
from edgeloop_converters.to_c.image import CORES, Place, build_image
from int8_networks import Network, dense

M4 = Place("cortex-m4", 0x20100000, 1 << 16, 0x20200000, 1 << 12)


@pytest.fixture(scope="module")
def model(cross: str) -> bytes:
    return dense(4, 3, seed=1)


@pytest.mark.parametrize("core", [core for core in CORES if core != "host"])
def test_the_header_says_what_the_image_was_linked_for(core: str, model: bytes) -> None:
    image = build_image(model, replace(M4, core=core))
    found = struct.unpack_from("<IHH11I", image.data)
    magic, form, part, length, address, arena, arena_bytes, given, given_bytes, answer, answer_bytes, *code = found
    assert (magic, form, part, length) == (0x494D4C45, 1, CORES[core], len(image.data))
    assert (address, arena, arena_bytes) == (M4.address, M4.arena_address, compile_to_c(model, "m").arena_bytes)
    assert (given_bytes, answer_bytes) == (4, 3)
    assert all(address < at < address + length for at in (given, answer, *code))
    assert all(at & 1 for at in (given, answer, code[0])), "Thumb"
    assert image.data[52:84] == hashlib.sha256(model).digest() == image.model_sha256
    assert image.sha256 == hashlib.sha256(image.data).digest()


def test_the_same_model_and_place_give_the_same_bytes(model: bytes) -> None:
    assert build_image(model, M4) == build_image(model, M4)
    assert build_image(model, M4).data != build_image(model, replace(M4, address=0x20180000)).data


@pytest.mark.parametrize(
    ("place", "error", "phrase"),
    [
        (replace(M4, core="z80"), ConfigError, "'z80'"),
        (replace(M4, capacity_bytes=100), ModelError, "the slot 100"),
        (replace(M4, arena_bytes=2), ModelError, "the device has 2"),
    ],
)
def test_what_does_not_fit_is_refused(model: bytes, place: Place, error: type[Exception], phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        build_image(model, place)


def test_a_processor_is_known_by_its_part_number() -> None:
    assert Place.of_part(0xC24, *list(vars(M4).values())[1:]) == M4
    with pytest.raises(ConfigError, match="0xc60"):
        Place.of_part(0xC60, 0, 1, 0, 1)


def test_a_model_with_two_outputs_is_refused(cross: str) -> None:
    net = Network(0)
    x, y = net.activation((1, 4), scale=0.1), net.activation((1, 4), scale=0.1)
    net.op("RELU", [x], y)
    z = net.op("RELU", [y], net.activation((1, 4), scale=0.1))
    net.graph.inputs, net.graph.outputs = [x], [y, z]
    with pytest.raises(ModelError, match="one int8 input and one int8 output"):
        build_image(net.finish(), M4)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(cli, "find_commands", lambda: {"compile-c": COMPILE_C})
    return lambda *arguments: cli.main(["compile-c", *map(str, arguments)])


def test_the_command_writes_an_image(
    model: bytes, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.tflite").write_bytes(model)
    where = ("--image", "cortex-m4", "--slot", "0x20100000:65536", "--arena", "0x20200000:4096")
    assert run(tmp_path / "net.tflite", "-o", tmp_path / "out", *where, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (tmp_path / "out" / "net.img").read_bytes() == build_image(model, M4).data
    assert said["sha256"] == build_image(model, M4).sha256.hex()


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (("--image", "cortex-m4"), "all of --image, --slot and --arena"),
        (("--slot", "1:2"), "all of --image, --slot and --arena"),
        (("--image", "cortex-m4", "--slot", "here", "--arena", "1:2"), "--slot 'here' isn't ADDRESS:BYTES"),
        (("--image", "cortex-m4", "--slot", "0x1ffffffff:2", "--arena", "1:2"), "outside of 32 bits"),
    ],
)
def test_an_incomplete_place_is_refused(
    options: tuple[str, ...],
    phrase: str,
    model: bytes,
    run: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "net.tflite").write_bytes(model)
    assert run(tmp_path / "net.tflite", "-o", tmp_path / "out", *options) == 2
    assert phrase in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
