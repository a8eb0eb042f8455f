"""A model that never comes back costs a reset by the watchdog: the model that was confirmed before runs again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeloop_bridge import messages as m
from edgeloop_bridge.device import Device
from edgeloop_bridge.errors import ResetError
from edgeloop_bridge.transport import SerialLine
from firmware import CORES, emulated_port, hanging, make
from serial_device import Process

pytest.importorskip("serial", reason="needs edgeloop[bridge]")

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the hang is written for x86-64")

# QEMU has no watchdog of the micro:bit's.
BOARDS = [
    pytest.param(board, marks=() if board == "mps2-an386" else pytest.mark.slow)
    for board in CORES
    if board != "microbit"
]


@contextmanager
def process(program: Path) -> Iterator[Device]:
    """The firmware as a process, whose watchdog bites after a second of its own time."""
    started = Process(program, "--pty", "--watchdog", "1")
    try:
        with Device(SerialLine(started.read(5).decode().strip()), timeout_s=0.1) as device:
            yield device
    finally:
        started.process.kill()
        started.close()


@contextmanager
def board(name: str, build: Path) -> Iterator[Device]:
    make(build, f"{build}/{name}.elf")
    with emulated_port(name, build / f"{name}.elf", terminal=True) as (port, _), Device.open(port) as device:
        yield device


def held(device: Device, image_for: Callable[..., Any], old: bytes, new: bytes) -> None:
    """`old` is confirmed; then `new` comes, and hangs."""

    class Asked:
        ask = staticmethod(device.link.ask)

    good = image_for(Asked(), 0, old)
    list(device.deliver(0, good.data))
    device.activate(0, good.sha256)
    device.confirm(0, good.sha256)
    bad = hanging(image_for(Asked(), 1, new).data)
    sha256 = hashlib.sha256(bad).digest()
    assert list(device.deliver(1, bad))[-1] == len(bad)
    with pytest.raises(ResetError, match="took the device down in its golden input"):
        device.activate(1, sha256)
    hello = device.greet()
    assert (hello.active, hello.model) == (0, good.model_sha256)
    assert device.stats().resets == 1
    assert [device.slot(n).state for n in (0, 1)] == [m.SlotState.CONFIRMED, m.SlotState.VERIFIED]
    assert len(device.infer(good.model_sha256, bytes(4)).output) == 3


def test_a_process_goes_back_to_the_old_slot(
    firmware_process: Path, image_for: Callable[..., Any], tiny_int8_model: bytes, other_int8_model: bytes
) -> None:
    with process(firmware_process) as device:
        held(device, image_for, tiny_int8_model, other_int8_model)


@pytest.mark.parametrize("name", BOARDS)
def test_an_emulated_board_goes_back_to_the_old_slot(
    name: str,
    needs: Callable[..., None],
    image_for: Callable[..., Any],
    tiny_int8_model: bytes,
    other_int8_model: bytes,
    tmp_path: Path,
) -> None:
    needs("arm-none-eabi-gcc", "make", "qemu-system-arm")
    with board(name, tmp_path) as device:
        held(device, image_for, tiny_int8_model, other_int8_model)


def test_a_device_that_works_is_left_alone(firmware_process: Path) -> None:
    with process(firmware_process) as device:
        for number in range(3):  # more than a second of the process's own time
            assert len(list(device.deliver(0, bytes([number]) * 200_000))) > 1
        device.align(500)
        assert device.stats().resets == 0
