"""A real Mosquitto on a free port of the loopback."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    """A port that no one listens on, and that the kernel gives to nobody else until it is taken."""
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", random.randrange(10_000, first_ephemeral)))
            return int(sock.getsockname()[1])


def start_mosquitto(config: Path, port: int) -> subprocess.Popen[bytes]:
    """Mosquitto with a configuration that listens on `port`, once it does."""
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto")
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([binary, "-c", config], stdout=said, stderr=said)
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return process
            time.sleep(0.05)
        process.kill()
        process.wait()
        said.seek(0)
        raise RuntimeError(f"mosquitto did not start: {said.read().decode()}")


class Mosquitto:
    """Can be stopped and started again on the same port, as a broker that restarts without having saved."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = directory / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n"
            "max_packet_size 4194304\nmax_queued_messages 0\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = start_mosquitto(self._config, self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def mosquitto(directory: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(directory)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
