"""The processes of the campaign and the disks that they write to. It ends only what it has started, by its handle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["Disk", "Process", "broker", "free_port", "read_status"]

_HERE = Path(__file__).parent


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Process:
    """A child that can be killed and started again with the same command."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self.log = command, log
        self._child: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Start it, if it doesn't run."""
        if self._child is None or self._child.poll() is not None:
            with self.log.open("ab") as log:
                environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
                self._child = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
            self.starts += 1

    def send(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self, timeout_s: float = 60) -> None:
        """SIGTERM, and SIGKILL where that takes too long."""
        self.send(signal.SIGTERM)
        if self._child is not None:
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself, with an error."""
        return self._child is not None and self._child.poll() not in (None, 0, -signal.SIGKILL, -signal.SIGTERM)


def broker(folder: Path, port: int) -> Process:
    """A Mosquitto that saves nothing, with its defaults otherwise."""
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        sys.exit("no mosquitto on this machine: apt-get install mosquitto")
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n")
    return Process([binary, "-c", str(config)], folder / "mosquitto.log")


def script(name: str, *arguments: object) -> list[str]:
    """The command that runs one of the scripts beside this one."""
    return [sys.executable, str(_HERE / name), *map(str, arguments)]


def read_status(folder: Path) -> dict[str, int]:
    """The outbox's counters as the device has written them last; none before it did."""
    try:
        return dict(json.loads((folder / "status").read_text()))
    except OSError:
        return {}


class Disk:
    """A small file system in memory that can be filled; a plain folder where mounting isn't allowed."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "none", str(folder)]
        self.is_small = subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), (self.folder / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it; what it held is gone."""
        if self.is_small:
            for _ in range(50):
                if subprocess.run(["umount", str(self.folder)], capture_output=True, check=False).returncode == 0:
                    return
                time.sleep(0.1)
