"""A source and a backend of one process on one line: samples flow while a model answers."""

from __future__ import annotations

import importlib.metadata
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop.artifact import pack_artifact, write_artifact
from edgeloop.config import load_config
from edgeloop.errors import ConfigError, ModelError
from edgeloop.runtime import Runtime
from edgeloop.sources.item import SourceItem
from edgeloop_bridge.backend import Board
from edgeloop_bridge.device import Device
from edgeloop_bridge.errors import BridgeError
from edgeloop_bridge.source import Serial
from edgeloop_bridge.transport import SerialLine, identity
from firmware import emulated_port, make
from int8_networks import artifact_of
from running_agent import outbox_events, running, wait_until
from serial_device import Process

pytest.importorskip("serial", reason="needs edgeloop[bridge]")


def provide(device: Device, image_for: Callable[..., Any], model: bytes) -> None:
    """Deliver, try and confirm a model."""

    class Asked:
        ask = staticmethod(device.link.ask)

    image = image_for(Asked(), 0, model)
    assert list(device.deliver(0, image.data))[-1] == len(image.data)
    device.activate(0, image.sha256)
    device.confirm(0, image.sha256)


@pytest.fixture
def terminal(
    firmware_process: Path, image_for: Callable[..., Any], tiny_int8_model: bytes, tmp_path: Path
) -> Iterator[str]:
    """A process on a pseudo-terminal that runs the tiny model."""
    process = Process(firmware_process, "--pty")
    name = process.read(5).decode().strip()
    with Device.open(name) as device:
        provide(device, image_for, tiny_int8_model)
    yield name
    process.process.kill()
    process.close()


def both_at_once(port: str, model: bytes, answers: Callable[..., bytes], *, calls: int, period_us: int) -> None:
    """Every answer is right while windows come, and both leave the port."""
    windows: list[SourceItem] = []
    ended = threading.Event()
    with ExitStack() as stack:
        items = stack.enter_context(closing(Serial(port, period_us=period_us, window=8).open()))
        backend = Board(port).open(model)
        stack.callback(backend.close)

        def read() -> None:
            for item in items:
                if isinstance(item, SourceItem):
                    windows.append(item)
                else:  # a busy machine's process is late; the line loses nothing
                    assert item.reason == "samples lost on the device"
                if ended.is_set():
                    return

        reader = threading.Thread(target=read)
        reader.start()
        rng = np.random.default_rng(0)
        end_s = time.monotonic() + 20
        done = 0
        while done < calls or len(windows) < 3:
            assert time.monotonic() < end_s, (done, len(windows))
            done += 1
            x = rng.integers(-128, 128, (1, 4)).astype(np.int8)
            (answer,) = backend.invoke([x])
            assert answer.tobytes() == answers(model, x.tobytes())
        ended.set()
        reader.join(20)
        assert not reader.is_alive()
        assert backend.statistics()["device_crc_errors"] == 0
        assert backend.statistics()["device_arena_high_water_bytes"] > 0
    for item in windows:
        assert (np.diff(item.x[:, 0].astype(int)) % 65536 == 1).all()


def test_samples_and_answers_share_a_terminal(
    terminal: str, tiny_int8_model: bytes, answers: Callable[..., bytes]
) -> None:
    both_at_once(terminal, tiny_int8_model, answers, calls=300, period_us=5_000)
    SerialLine(terminal).close()  # the port is free


def test_samples_and_answers_share_an_emulated_board(
    needs: Callable[..., None],
    image_for: Callable[..., Any],
    answers: Callable[..., bytes],
    tiny_int8_model: bytes,
    tmp_path: Path,
) -> None:
    needs("arm-none-eabi-gcc", "make", "qemu-system-arm")
    make(tmp_path, f"{tmp_path}/mps2-an386.elf")
    with emulated_port("mps2-an386", tmp_path / "mps2-an386.elf", terminal=True) as (name, _):
        with Device.open(name) as device:
            provide(device, image_for, tiny_int8_model)
        both_at_once(name, tiny_int8_model, answers, calls=50, period_us=20_000)


def test_a_board_without_the_model_says_which_command_brings_it(terminal: str, other_int8_model: bytes) -> None:
    with pytest.raises(ModelError, match=rf"runs the model .*`edgeloop bridge push {terminal} MODEL`"):
        Board(terminal).open(other_int8_model)
    SerialLine(terminal).close()


def test_one_line_has_one_rate(terminal: str, tiny_int8_model: bytes) -> None:
    backend = Board(terminal).open(tiny_int8_model)
    with pytest.raises(ConfigError, match="baud is 921600 here, and 115200 where"):
        Serial(terminal, period_us=1000, window=8, baud=921_600).open()
    backend.close()


def test_a_stream_has_one_reader(terminal: str) -> None:
    with closing(Serial(terminal, period_us=1000, window=8).open()) as items:
        next(items)
        with pytest.raises(BridgeError, match="stream 0 of host is read already"):
            Serial(terminal, period_us=1000, window=8).open()
        with closing(Serial(terminal, period_us=1000, window=1, stream=1).open()) as others:
            next(others)
        next(items)


def test_a_backend_that_nobody_holds_leaves_the_port(terminal: str, tiny_int8_model: bytes) -> None:
    Board(terminal).open(tiny_int8_model)
    SerialLine(terminal).close()


def test_one_port_has_one_identity(terminal: str, tmp_path: Path) -> None:
    link = tmp_path / "board"
    link.symlink_to(terminal)
    assert identity(str(link)) == identity(terminal) == os.path.realpath(terminal)
    assert identity("usb:E661") == "usb:E661"


def test_calls_fail_while_the_board_is_unplugged_and_then_go_on(
    firmware_process: Path,
    image_for: Callable[..., Any],
    answers: Callable[..., bytes],
    tiny_int8_model: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

    plugged: list[str] = []

    def ports() -> list[ListPortInfo]:
        found = [ListPortInfo(name, skip_link_detection=True) for name in plugged]
        for port in found:
            port.serial_number = "E661"
        return found

    def plug() -> Process:
        process = Process(firmware_process, "--pty", "--flash", tmp_path / "flash")
        plugged[:] = [process.read(5).decode().strip()]
        return process

    monkeypatch.setattr(list_ports, "comports", ports)
    first = plug()
    with Device.open("usb:E661") as device:
        provide(device, image_for, tiny_int8_model)
    x = np.array([[1, -2, 3, -4]], np.int8)
    wanted = answers(tiny_int8_model, x.tobytes())
    backend = Board("usb:E661").open(tiny_int8_model)
    artifact = artifact_of(tiny_int8_model)
    with Runtime(artifact, backend=backend) as runtime:
        assert backend.invoke([x])[0].tobytes() == wanted
        runtime.run(np.zeros(4, np.float32))
        first.process.kill()
        first.close()
        plugged.clear()
        for _ in range(2):
            with pytest.raises(BridgeError):
                runtime.run(np.zeros(4, np.float32))
        second = plug()
        assert backend.invoke([x])[0].tobytes() == wanted
        runtime.run(np.zeros(4, np.float32))
    backend.close()
    second.process.kill()
    second.close()


registered = pytest.mark.skipif(
    not importlib.metadata.entry_points(group="edgeloop.backends", name="board"), reason="edgeloop isn't installed"
)


@registered
def test_an_agent_runs_its_model_on_the_board_that_its_samples_come_from(
    terminal: str, tiny_int8_model: bytes, tmp_path: Path
) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(public)
    unsigned = artifact_of(tiny_int8_model)
    write_artifact(tmp_path / "tiny.tflite", pack_artifact(unsigned.model, unsigned.manifest, key=key))
    (tmp_path / "device.toml").write_text(f"""
        device = "cam-1"
        directory = "state"
        broker = "mqtt://127.0.0.1:1"
        artifact = "tiny.tflite"
        trusted_keys = ["key.pub"]
        window_s = 0.2
        [source]
        kind = "serial"
        port = "{terminal}"
        period_us = 2000
        window = 4
        stream = 1
        [runtime]
        backend = "board"
        options.port = "{terminal}"
    """)
    with running(load_config(tmp_path / "device.toml")) as run:
        wait_until(lambda: run.answered() > 40 and run.status()["backend"])
        status = run.status()
    assert status["execution"]["backend"].startswith("microcontroller host")
    assert status["stream"]["source"]
    events = {event["event"]: event for event in outbox_events(run.directory)}
    assert events["started"]["backend"].startswith("microcontroller host")
    assert events["backend-statistics"]["device_resets"] == 0


@registered
def test_the_backend_is_registered() -> None:
    (entry,) = importlib.metadata.entry_points(group="edgeloop.backends", name="board")
    assert entry.load() is Board
