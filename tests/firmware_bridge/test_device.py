"""The host library with the firmware as a process: what a program can do with a device, and what goes wrong."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop.errors import DataError
from edgeloop_bridge import messages as m
from edgeloop_bridge import transport
from edgeloop_bridge.aio import AsyncDevice
from edgeloop_bridge.device import Device
from edgeloop_bridge.errors import (
    BridgeError,
    ForeignDeviceError,
    LineLostError,
    NoAnswerError,
    PortError,
    RefusedError,
    ResetError,
    VersionError,
)
from edgeloop_bridge.frames import Decoder, Frame, encode
from edgeloop_bridge.transport import SerialLine
from relays import relayed
from serial_device import Process

serial = pytest.importorskip("serial", reason="needs edgeloop[bridge]")


@pytest.fixture
def terminal(firmware_process: Path) -> Iterator[str]:
    """The firmware behind a pseudo-terminal, which hears garbage where the rates differ."""
    process = Process(firmware_process, "--pty")
    yield process.read(5).decode().strip()
    process.process.kill()
    process.close()


def built(image_for: Callable[..., Any], device: Device, slot: int, model: bytes) -> Any:
    """An image for a slot of this device."""

    class Asked:
        def ask(self, request: m.Message) -> m.Message:
            return device.link.ask(request)

    return image_for(Asked(), slot, model)


class TestALine:
    def test_the_rate_is_raised_after_hello_and_given_back(self, terminal: str) -> None:
        for _ in range(2):  # the second one finds the device at once
            with Device.open(terminal, baud=921_600, patience_s=0.9) as device:
                assert device.link.baud == 921_600
                assert device.stats().damaged == 0

    def test_a_rate_that_the_device_refuses_leaves_the_first_one(self, terminal: str) -> None:
        with Device.open(terminal, baud=100_000_000) as device:
            assert device.link.baud == m.FIRST_BAUD
            assert device.stats().resets == 0

    def test_a_rate_at_which_nothing_gets_through_falls_back_by_itself(
        self, terminal: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_baud = SerialLine.set_baud
        # The host's cable can't: it has another rate than it says.
        monkeypatch.setattr(SerialLine, "set_baud", lambda s, baud: set_baud(s, 57_600 if baud == 921_600 else baud))
        with Device.open(terminal, baud=921_600) as device:
            assert device.link.baud == m.FIRST_BAUD
            assert device.stats().resets == 0

    def test_a_device_that_went_back_in_silence_is_taken_up_again(self, terminal: str) -> None:
        with Device.open(terminal, baud=460_800) as device:
            time.sleep(5.3)
            start_s = time.monotonic()
            device.stats()
            assert time.monotonic() - start_s < 3, "it waited for the time-outs at the wrong rate"
            assert device.link.baud == 460_800

    def test_a_device_that_another_host_left_at_its_rate_is_found(self, terminal: str) -> None:
        device = Device.open(terminal, baud=460_800)
        device.link._line.close()  # as a host that was killed
        with Device.open(terminal) as found:
            assert found.hello.board == "host"


class TestRequests:
    def test_the_clocks_are_aligned(self, terminal: str) -> None:
        with Device.open(terminal) as device:
            clock = device.align()
            assert 0 < clock.uncertainty_s < 0.1
            before_s = time.monotonic()
            at_s = clock.to_host_s(device.link.ping().time_us)
            assert before_s - clock.uncertainty_s - 0.05 <= at_s <= time.monotonic() + clock.uncertainty_s + 0.05

    def test_a_refusal_says_why(self, terminal: str) -> None:
        with Device.open(terminal) as device:
            with pytest.raises(RefusedError, match="refuses Slot: no such slot"):
                device.slot(9)
            with pytest.raises(RefusedError, match="period is too short"):
                next(device.samples(0, 1))

    def test_a_model_is_delivered_run_and_confirmed(
        self, terminal: str, image_for: Callable[..., Any], answers: Callable[..., bytes], tiny_int8_model: bytes
    ) -> None:
        with Device.open(terminal) as device:
            with pytest.raises(DataError, match="no model runs"):
                device.infer(bytes(32), bytes(4))
            slot = device.free_slot().slot
            image = built(image_for, device, slot, tiny_int8_model)
            assert list(device.deliver(slot, image.data))[-1] == len(image.data)
            assert list(device.deliver(slot, image.data)) == [len(image.data)], "it was there already"
            assert device.activate(slot, image.sha256).model == image.model_sha256
            given = np.array([1, -2, 3, -4], np.int8).tobytes()
            answer = device.infer(device.hello.model, given)
            assert answer.output == answers(tiny_int8_model, given)
            assert answer.invoke_us is not None
            with pytest.raises(DataError, match="takes no input of 5 bytes"):
                device.infer(device.hello.model, bytes(5))
            with pytest.raises(DataError, match="another model runs"):
                device.infer(bytes(32), bytes(4))
            assert device.reset().active == m.NO_SLOT, "it ran on trial"
            device.activate(slot, image.sha256)
            device.confirm(slot, image.sha256)
            assert device.reset().active == slot
            assert device.free_slot().slot != slot
            assert device.link.resets == 2

    def test_an_image_that_does_not_fit_is_refused(self, terminal: str) -> None:
        with Device.open(terminal) as device, pytest.raises(RefusedError, match="doesn't fit the slot"):
            list(device.deliver(0, bytes(1 << 20)))


class TestStreams:
    def test_samples_come_in_order_and_losses_are_counted(self, terminal: str) -> None:
        with Device.open(terminal) as device:
            number = lost = 0
            with closing(device.samples(0, 1000)) as blocks:
                for block in blocks:
                    lost += block.lost_on_device
                    assert block.first == number + lost
                    assert block.lost_on_line == 0
                    assert (block.values[:, 1] == ~block.values[:, 0]).all()
                    number += len(block.values)
                    if number > 300:
                        break
            assert device.stats().drops >= lost
            device.link.step(0.1)
            frames = device.line.frames
            device.link.step(0.1)
            assert device.line.frames == frames, "it was switched off"

    def test_other_requests_may_come_in_between(self, terminal: str) -> None:
        with Device.open(terminal) as device, closing(device.samples(0, 1000)) as blocks:
            for _ in range(20):
                assert next(blocks).lost_on_line == 0
                assert device.slot(1).slot == 1

    def test_what_the_line_damages_is_told_from_what_the_device_drops(self, firmware_process: Path) -> None:
        with (
            relayed(firmware_process, seed=3) as relay,
            Device(SerialLine(relay.url), timeout_s=0.05) as device,
            closing(device.samples(0, 1000)) as blocks,
        ):
            next(blocks)
            relay.probability = 0.003
            on_line = sum(next(blocks).lost_on_line for _ in range(200))
            relay.probability = 0.0
            assert on_line > 0
            assert device.line.damaged.total() > 0

    def test_a_reset_ends_a_stream(self, firmware_process: Path) -> None:
        with relayed(firmware_process) as relay, Device(SerialLine(relay.url)) as device:
            blocks = device.samples(0, 1000)
            next(blocks)
            relay.inject(encode(m.frame(m.ResetRequest(), 60_000)))
            with pytest.raises(ResetError):
                for _ in blocks:
                    pass
            assert len(next(device.samples(0, 1000)).values) > 0


class TestAsyncio:
    def test_the_asynchronous_face_does_the_same(
        self, terminal: str, image_for: Callable[..., Any], tiny_int8_model: bytes
    ) -> None:
        async def talk() -> None:
            async with await AsyncDevice.open(terminal) as device:
                image = built(image_for, device._device, 0, tiny_int8_model)
                assert [offset async for offset in device.deliver(0, image.data)][-1] == len(image.data)
                assert (await device.activate(0, image.sha256)).active == 0
                await device.confirm(0, image.sha256)
                answer, stats = await asyncio.gather(device.infer(image.model_sha256, bytes(4)), device.stats())
                assert len(answer.output) == 3
                assert stats.damaged == 0
                assert (await device.slot(0)).state == m.SlotState.CONFIRMED
                received = 0
                async for block in device.samples(0, 1000):
                    received += len(block.values)
                    if received > 50:
                        break
                assert (await device.reset()).active == 0

        asyncio.run(talk())


class TestBadPorts:
    def test_no_such_port_is_said(self) -> None:
        with pytest.raises(PortError, match="no such port: is the board plugged in"):
            SerialLine("/dev/ttyNONE7")

    def test_a_port_that_another_program_holds_is_not_shared(self, terminal: str) -> None:
        with Device.open(terminal), pytest.raises(PortError, match=rf"process {os.getpid()}\) has it open"):
            SerialLine(terminal)

    def test_a_port_that_we_may_not_use_names_the_group(self, monkeypatch: pytest.MonkeyPatch, terminal: str) -> None:
        def forbidden(*_: object, **__: object) -> None:
            raise serial.SerialException(13, "Permission denied")

        monkeypatch.setattr(serial, "serial_for_url", forbidden)
        group = transport._group(terminal)
        with pytest.raises(PortError, match=rf"belongs to the group {group}: `sudo usermod -aG {group} \$USER`"):
            SerialLine(terminal)

    def test_nobody_at_the_other_end_of_a_socket_is_said(self) -> None:
        with pytest.raises(PortError, match="nobody listens there"):
            SerialLine("socket://127.0.0.1:1")

    def test_a_device_that_speaks_something_else_is_shown(self) -> None:
        master, slave = pty.openpty()
        ending = threading.Event()

        def chatter() -> None:
            while not ending.wait(0.05):
                os.write(master, b"ready>\r\n")

        thread = threading.Thread(target=chatter)
        thread.start()
        try:
            with pytest.raises(ForeignDeviceError, match=r"another protocol.*ready>"):
                Device.open(os.ttyname(slave), patience_s=1)
        finally:
            ending.set()
            thread.join()
            os.close(master)
            os.close(slave)

    def test_silence_is_said(self) -> None:
        master, slave = pty.openpty()
        with pytest.raises(NoAnswerError, match="no answer within 1 s") as raised:
            Device.open(os.ttyname(slave), patience_s=1)
        assert not isinstance(raised.value, ForeignDeviceError)
        os.close(master)
        os.close(slave)

    def test_a_device_of_another_version_is_said(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer() -> None:
                client, _ = server.accept()
                with client:
                    (found,) = Decoder().feed(client.recv(4096))
                    error = m.Error(m.ErrorCode.VERSION, found.type, "2")
                    client.sendall(encode(Frame(error.TYPE, found.sequence, error.encode(), version=2)))
                    client.recv(1)

            thread = threading.Thread(target=answer)
            thread.start()
            with pytest.raises(VersionError, match="version 2 of the protocol, and this edgeloop version 1"):
                Device.open(f"socket://127.0.0.1:{server.getsockname()[1]}")
            thread.join()


class TestReconnecting:
    def test_a_usb_device_is_found_by_its_serial_number_wherever_it_is_plugged_in(
        self, firmware_process: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from serial.tools import list_ports
        from serial.tools.list_ports_common import ListPortInfo

        plugged: list[str] = []

        def ports() -> list[ListPortInfo]:
            found = [ListPortInfo(name, skip_link_detection=True) for name in plugged]
            for port in found:
                port.serial_number = "E661"
            return found

        monkeypatch.setattr(list_ports, "comports", ports)
        with pytest.raises(PortError, match="no USB device with the serial number E661"):
            SerialLine("usb:E661")
        first, second = (Process(firmware_process, "--pty") for _ in range(2))
        plugged.append(first.read(5).decode().strip())
        with Device.open("usb:E661") as device, closing(device.samples(0, 1000)) as blocks:
            next(blocks)
            first.process.kill()
            first.close()
            plugged[:] = [second.read(5).decode().strip()]
            with pytest.raises((LineLostError, ResetError)):
                for _ in blocks:
                    pass
            assert device.stats().resets == 0
            assert (device.link.reconnects, device.link.resets) == (1, 1)
        second.process.kill()
        second.close()

    def test_a_cable_that_stays_out_is_said(self, firmware_process: Path) -> None:
        process = Process(firmware_process, "--pty")
        device = Device.open(process.read(5).decode().strip(), patience_s=1)
        process.process.kill()
        process.close()
        with pytest.raises(BridgeError):
            device.stats()
        device.close()


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # pyserial 3.5 calls them
def test_rfc_2217_carries_it_too(terminal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyserial's own server in front of the process."""
    from serial import rfc2217

    # A pseudo-terminal has no modem lines.
    monkeypatch.setattr(rfc2217.PortManager, "check_modem_lines", lambda *_, **__: None)
    monkeypatch.setattr(serial.Serial, "_update_dtr_state", lambda _: None)
    monkeypatch.setattr(serial.Serial, "_update_rts_state", lambda _: None)
    port = serial.Serial(terminal, m.FIRST_BAUD, timeout=0.02)
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            client.settimeout(0.02)
            lock = threading.Lock()

            class Out:
                def write(self, data: bytes) -> None:
                    with lock:
                        client.sendall(data)

            manager = rfc2217.PortManager(port, Out())
            with client:
                while not ending.is_set():
                    if data := port.read(port.in_waiting or 1):
                        Out().write(b"".join(manager.escape(data)))
                    try:
                        if not (came := client.recv(1024)):
                            return
                        port.write(b"".join(manager.filter(came)))
                    except TimeoutError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with Device.open(f"rfc2217://127.0.0.1:{server.getsockname()[1]}", baud=460_800) as device:
            assert device.link.baud == 460_800
            assert device.slot(1).slot == 1
        ending.set()
        thread.join(5)
    port.close()
