"""The firmware and its line, asked as a process: sample streams, and the rate that is raised."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop_bridge import messages as m
from serial_device import Host, Process, SerialLine, refused


def test_streams_tell_loss_on_the_line_from_drops_on_the_device(host: Host) -> None:
    about = host.ask(m.StreamRequest(0, 1, 1000))
    assert about == m.Stream(m.ValueFormat.INT16, 2, 1000, "ramp")
    host.hear(0.5)
    stopped = host.ask(m.StreamRequest(0, 0, 0))
    assert stopped.period_us == 0
    frames = [f for f in host.unasked if f.type in (m.Samples.TYPE, m.Log.TYPE)]
    assert [f.sequence for f in frames] == list(range(len(frames))), "a gap is a loss on the line"
    expected, dropped, values = 0, 0, []
    for found in (m.from_frame(f) for f in frames if f.type == m.Samples.TYPE):
        assert found.first - expected == found.dropped - dropped
        count = len(found.values) // 4
        values += struct.unpack(f"<{2 * count}H", found.values)[::2]
        expected, dropped = found.first + count, found.dropped
    assert len(values) > 20
    assert values == list(range(values[0], values[0] + len(values)))
    assert host.ask(m.StatsRequest()).drops >= dropped


def test_a_stream_that_there_is_not_and_a_period_too_short_are_refused(host: Host) -> None:
    assert refused(host.ask(m.StreamRequest(9, 1, 1000)), "no such stream")
    assert refused(host.ask(m.StreamRequest(0, 1, 1)), "too short")


@pytest.fixture
def terminal(firmware_process: Path) -> Iterator[Any]:
    """A pseudo-terminal that hears garbage where the rates differ."""
    serial = pytest.importorskip("serial", reason="needs edgeloop[bridge]")
    process = Process(firmware_process, "--pty")
    name = process.read(5).decode().strip()
    with serial.Serial(name, m.FIRST_BAUD) as port:
        yield port
    process.process.kill()
    process.close()


def test_the_rate_is_raised_and_kept_with_a_hello(terminal: Any) -> None:
    host = Host(SerialLine(terminal))
    host.ask(m.HelloRequest())
    assert host.ask(m.BaudRequest(921_600)) == m.Baud(921_600)
    terminal.baudrate = 921_600
    assert host.ask(m.HelloRequest()).protocol == 1
    time.sleep(1.2)
    assert isinstance(host.ask(m.PingRequest()), m.Ping)
    assert refused(host.ask(m.BaudRequest(100_000_000)), "rate")


def test_without_a_hello_at_the_new_rate_the_device_goes_back(terminal: Any) -> None:
    host = Host(SerialLine(terminal))
    assert host.ask(m.BaudRequest(921_600)) == m.Baud(921_600)
    with pytest.raises(TimeoutError):  # the host stays, as if the answer had been lost
        host.ask(m.PingRequest(), 0.1)
    time.sleep(1)
    assert isinstance(host.ask(m.PingRequest(), 0.5), m.Ping)


def test_a_host_that_comes_anew_finds_the_device_after_its_silence(terminal: Any) -> None:
    host = Host(SerialLine(terminal))
    assert host.ask(m.BaudRequest(460_800)) == m.Baud(460_800)
    terminal.baudrate = 460_800
    assert host.ask(m.HelloRequest()).protocol == 1
    terminal.baudrate = m.FIRST_BAUD
    with pytest.raises(TimeoutError):
        host.ask(m.HelloRequest(), 0.1)
    time.sleep(5.2)
    assert host.ask(m.HelloRequest(), 0.5).protocol == 1


class Narrow:
    """A line whose transmitter takes no more than some hundred bytes: each takes 768 of a socket's buffer."""

    def __init__(self, program: Path) -> None:
        self.ours, its = socket.socketpair()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100 * 768 // 2)  # the kernel doubles it
        its.setblocking(False)
        self.process = subprocess.Popen([program], stdin=its, stdout=its)
        its.close()

    def write(self, data: bytes) -> None:
        self.ours.sendall(data)

    def read(self, timeout_s: float) -> bytes:
        self.ours.settimeout(timeout_s)
        with contextlib.suppress(TimeoutError):
            return self.ours.recv(4096)
        return b""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.ours.close()


def test_samples_of_a_busy_line_come_in_full_frames(firmware_process: Path) -> None:
    with contextlib.closing(Narrow(firmware_process)) as line:
        host = Host(line)
        assert isinstance(host.ask(m.StreamRequest(2, 1, 4000)), m.Stream)
        # A process that is late drops a sample, and that ends a frame, too: one of some pauses has a full one.
        assert any(max(samples_after_a_pause(host)) == 272 for _ in range(5))
        assert isinstance(host.ask(m.StreamRequest(0, 1, 4000)), m.Stream)
        assert max(samples_after_a_pause(host)) <= 136, "the two streams share it"


def samples_after_a_pause(host: Host) -> list[int]:
    """How many bytes each frame carries that comes after nobody has read for a while."""
    host.hear(0.05)
    host.unasked.clear()
    time.sleep(0.3)
    host.hear(0.1)
    return [len(m.from_frame(frame).values) for frame in host.unasked if frame.type == m.Samples.TYPE]
