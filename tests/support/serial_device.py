"""A small synchronous host: requests over whatever carries bytes. For tests of the firmware, and of nothing else."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import Protocol

from edgeloop_bridge import messages as m
from edgeloop_bridge.frames import Damaged, Decoder, Frame, encode

RETRIES = 3


class Line(Protocol):
    """Bytes in and out; `read` waits up to `timeout_s`, and returns what is there."""

    def write(self, data: bytes) -> None: ...

    def read(self, timeout_s: float) -> bytes: ...


class SerialLine:
    """A line that pyserial opened."""

    def __init__(self, port: object) -> None:
        self.port = port
        if hasattr(port, "_socket"):  # pyserial leaves Nagle's algorithm on, and QEMU's end waits 40 ms to acknowledge
            port._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def read(self, timeout_s: float) -> bytes:
        self.port.timeout = timeout_s
        first = self.port.read(1)
        return first + (self.port.read(self.port.in_waiting) if first else b"")


class Process:
    """The firmware as a process, over its standard input and output."""

    def __init__(self, program: Path, *arguments: str | Path) -> None:
        command = [str(program), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def write(self, data: bytes) -> None:
        try:
            self.process.stdin.write(data)
        except BrokenPipeError:
            raise EOFError from None

    def read(self, timeout_s: float) -> bytes:
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        if not ready:
            return b""
        data = os.read(self.process.stdout.fileno(), 65536)
        if not data:
            raise EOFError
        return data

    def close(self) -> int:
        """End it, and say how it ended."""
        try:
            self.process.stdin.close()
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


class Host:
    """Asks, waits, repeats. What comes unasked is kept in `unasked`, damaged frames in `damaged`."""

    def __init__(self, line: Line, timeout_s: float = 0.2) -> None:
        self.line, self.timeout_s = line, timeout_s
        self.decoder, self.sequence = Decoder(), 0
        self.unasked: list[Frame] = []
        self.damaged: list[Damaged] = []
        self.repeats = 0

    def listen(self, timeout_s: float) -> list[Frame]:
        """The frames in what comes next; the bytes of one may come one by one, and then there is none yet."""
        found = []
        for entry in self.decoder.feed(self.line.read(timeout_s)):
            if isinstance(entry, Damaged):
                self.damaged.append(entry)
            elif entry.type in (m.Log.TYPE, m.Samples.TYPE):
                self.unasked.append(entry)
            else:
                found.append(entry)
        return found

    def hear(self, seconds: float, most: int | None = None) -> list[Frame]:
        """All frames that come in some time; or the first `most` of them."""
        found: list[Frame] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and (most is None or len(found) < most):
            found += self.listen(left)
        return found

    def send(self, request: m.Message) -> int:
        """Send, and return the sequence number."""
        self.sequence = (self.sequence + 1) % 65536
        self.line.write(encode(m.frame(request, self.sequence)))
        return self.sequence

    def ask(self, request: m.Message, timeout_s: float | None = None, attempts: int = RETRIES + 1) -> m.Message:
        """The answer, which may be an `Error`. Raises `TimeoutError` after the last attempt."""
        self.sequence = (self.sequence + 1) % 65536
        frame = m.frame(request, self.sequence)
        wanted = (request.TYPE | m.ANSWER, m.Error.TYPE)
        for attempt in range(attempts):
            self.repeats += attempt > 0
            self.line.write(encode(frame))
            end = time.monotonic() + (timeout_s or self.timeout_s)
            while (left := end - time.monotonic()) > 0:
                for answer in self.listen(left):
                    if answer.sequence == self.sequence and answer.type in wanted:
                        return m.from_frame(answer)
        raise TimeoutError(f"no answer to {request}")

    def deliver(self, slot: int, image: bytes, sha256: bytes, stop_at: int | None = None) -> m.Message:
        """BEGIN, DATA with the window that the device grants, END; `stop_at` ends it before END."""
        begun = self.ask(m.BeginRequest(slot, len(image), sha256), 2)
        if not isinstance(begun, m.Begin):
            return begun
        offset = begun.next_offset
        end = len(image) if stop_at is None else stop_at
        silences = 0
        while offset < end and silences < 50:
            for number in range(begun.window):
                at = offset + number * begun.data_bytes
                if at < end:
                    self.send(m.DataRequest(at, image[at : min(at + begun.data_bytes, len(image))]))
            before, deadline = offset, time.monotonic() + self.timeout_s
            goal = min(end, offset + begun.window * begun.data_bytes)
            while offset < goal and (left := deadline - time.monotonic()) > 0:
                for frame in self.listen(left):
                    answer = m.from_frame(frame)
                    if isinstance(answer, m.Error):
                        return answer
                    if isinstance(answer, m.Data):
                        offset = max(offset, answer.next_offset)
            silences = silences + 1 if offset == before else 0
        if offset < end:
            raise TimeoutError(f"no DATA gets through: {offset} of {end} bytes")
        return self.ask(m.EndRequest(slot), 5) if stop_at is None else m.Data(offset)


def refused(answer: m.Message, text: str = "") -> bool:
    """Whether that is a refusal, with this in its words."""
    return isinstance(answer, m.Error) and answer.code == m.ErrorCode.REFUSED and text in answer.text
