"""A TCP port in front of the firmware's process, which damages what goes through it, and can be unplugged."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["NoisyRelay", "relayed"]


class NoisyRelay:
    """Passes bytes between a TCP client and a process, and changes each with some probability.

    Args:
        process: its standard input and output are the line.
        rng: of the noise.
        probability: with which a byte becomes another one.
    """

    def __init__(self, process: subprocess.Popen[bytes], rng: random.Random, probability: float) -> None:
        self.changed = self.passed = 0
        self.probability = probability
        self._process, self._rng = process, rng
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._client: socket.socket | None = None
        self._ending = threading.Event()
        self._unplugged = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def unplug(self) -> None:
        """Close the connection, with all that is under way in it; the next client is served."""
        self._unplugged.set()

    def inject(self, data: bytes) -> None:
        """Send the device something of our own."""
        self._process.stdin.write(data)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._listener.close()
        if self._client is not None:
            self._client.close()

    def _run(self) -> None:
        device = self._process.stdout.fileno()
        while not self._ending.is_set():
            if self._unplugged.is_set():
                self._unplugged.clear()
                if self._client is not None:
                    self._client.close()
                    self._client = None
            watched = [self._listener if self._client is None else self._client, device]
            ready, _, _ = select.select(watched, [], [], 0.02)
            if self._listener in ready:
                self._client, _ = self._listener.accept()
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if device in ready:
                data = os.read(device, 65536)
                if not data:
                    return
                if self._client is not None:
                    with contextlib.suppress(OSError):
                        self._client.sendall(self._damaged(data))
            if self._client is not None and self._client in ready:
                try:
                    data = self._client.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    self._client.close()
                    self._client = None
                    continue
                self._process.stdin.write(self._damaged(data))

    def _damaged(self, data: bytes) -> bytes:
        self.passed += len(data)
        if not self.probability:
            return data
        out = bytearray(data)
        for i in range(len(out)):
            if self._rng.random() < self.probability:
                out[i] ^= self._rng.randrange(1, 256)
                self.changed += 1
        return bytes(out)


@contextlib.contextmanager
def relayed(program: Path, *arguments: str | Path, seed: int = 1, probability: float = 0.0) -> Iterator[NoisyRelay]:
    """The firmware as a process, behind such a port."""
    command = [str(program), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    relay = NoisyRelay(process, random.Random(seed), probability)
    try:
        yield relay
    finally:
        relay.close()
        process.kill()
        process.communicate()
