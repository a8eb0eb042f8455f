"""The host library with an emulated board."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeloop_bridge.device import Device
from edgeloop_bridge.transport import SerialLine, _Waking
from firmware import emulated, make

pytest.importorskip("serial", reason="needs edgeloop[bridge]")


@pytest.fixture(scope="module")
def board_elf(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("arm-none-eabi-gcc", "make", "qemu-system-arm")
    build = tmp_path_factory.mktemp("mps2-an385")
    make(build, f"{build}/mps2-an385.elf")
    return build / "mps2-an385.elf"


def test_an_emulated_board_takes_a_model_and_streams(
    board_elf: Path, image_for: Callable[..., Any], answers: Callable[..., bytes], tiny_int8_model: bytes
) -> None:
    with emulated("mps2-an385", board_elf) as asked:
        line = SerialLine.__new__(SerialLine)
        line.name, line._port, line._usb_serial_number = "socket://qemu", asked.line.port, None
        line._descriptor, line._woken, line._waking = line._port.fileno(), threading.Event(), _Waking()
        device = Device(line, timeout_s=1.0)
        image = image_for(asked, 0, tiny_int8_model)
        assert list(device.deliver(0, image.data))[-1] == len(image.data)
        device.activate(0, image.sha256)
        device.confirm(0, image.sha256)
        assert device.reset().active == 0
        assert device.infer(image.model_sha256, bytes(4)).output == answers(tiny_int8_model, bytes(4))
        received = 0
        with closing(device.samples(0, 10_000)) as blocks:
            while received < 20:
                received += len(next(blocks).values)
        assert device.line.damaged.total() == 0
        device.close()
