"""Word to the service manager: ready, alive, stopping (systemd's sd_notify(3) and sd_watchdog_enabled(3)).

A datagram to the socket that the environment names; without one, nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Notifier"]

_PER_TIMEOUT = 4  # signs of life in the time after which one is missed


class Notifier:
    """Tells systemd how its service is. What can't be sent is not missed here: the watchdog sees to that.

    Args:
        environment: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` stand.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self._interval_s: float | None = None
        self._next_s = 0.0
        if not name.startswith(("/", "@")):
            return
        self._address = name.replace("@", "\0", 1) if name.startswith("@") else name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)  # a manager that doesn't read is no reason to stop seeing
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        if usec.isdigit() and int(usec) > 0 and pid in ("", str(os.getpid())):
            self._interval_s = int(usec) / 1e6 / _PER_TIMEOUT

    def ready(self, status: str) -> None:
        """The service runs; `status` is one line for `systemctl status`."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def alive(self) -> None:
        """A sign of life for the watchdog; call it at each turn of the loop: it is sent as often as needed."""
        if self._interval_s is None:
            return
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + self._interval_s
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service ends, and may take a while."""
        self._send("STOPPING=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(text.encode(), self._address)
