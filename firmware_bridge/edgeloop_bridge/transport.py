"""The line itself: a serial port, a socket, or RFC 2217, by pyserial. All of it is bytes in and bytes out.

A port is named by its device (`/dev/ttyACM0`), as `usb:SERIAL` by the serial number of its USB device, which stays when
the cable is plugged in elsewhere, or as `socket://HOST:PORT` and `rfc2217://HOST:PORT`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from edgeloop_bridge.errors import LineLostError, PortError
from edgeloop_bridge.messages import FIRST_BAUD

__all__ = ["Line", "SerialLine", "find_port", "identity"]

_USB = "usb:"
_RFC2217 = "rfc2217://"
_WRITE_TIMEOUT_S = 5.0
_POLL_S = 0.02
_READ_BYTES = 4096


class Line(Protocol):
    """What a device is reached by. What was open and has gone raises `LineLostError`."""

    @property
    def has_baud(self) -> bool:
        """Whether it has a rate that can be changed."""

    def read(self, timeout_s: float) -> bytes:
        """What is there; where nothing is, what comes first within `timeout_s` seconds."""

    def write(self, data: bytes) -> None:
        """Send all of it."""

    def wake(self) -> None:
        """End a `read` that waits, of another thread; or the next one, if none does."""

    def set_baud(self, baud: int) -> None:
        """Change the rate, once what was written has left."""

    def reopen(self) -> None:
        """Close it and open it again, at the first rate. Raises `PortError`, so also while it isn't there."""

    def close(self) -> None:
        """A second call does nothing."""


class SerialLine:
    """A port that nobody else has open.

    Args:
        port: see above.

    Raises:
        PortError: it isn't there, we may not use it, or another program holds it.
    """

    def __init__(self, port: str) -> None:
        self.name = port
        self._port: Any = None
        self._descriptor: int | None = None
        self._woken = threading.Event()
        self._waking: _Waking | None = None
        self._usb_serial_number: str | None = port.removeprefix(_USB) if port.startswith(_USB) else None
        self.reopen()

    @property
    def has_baud(self) -> bool:
        """Whether it has a rate: a socket has none."""
        return not self.name.startswith("socket://")

    def reopen(self) -> None:
        """Open it anew, wherever its USB device is plugged in now."""
        import serial

        self.close()
        name = self.name if self._usb_serial_number is None else find_port(self._usb_serial_number, self.name)
        options: dict[str, Any] = {} if "://" in name else {"exclusive": True}
        if not name.startswith(_RFC2217):  # it can't
            options["write_timeout"] = _WRITE_TIMEOUT_S
        try:
            self._port = serial.serial_for_url(name, FIRST_BAUD, timeout=_POLL_S, **options)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise PortError(_why(name, error)) from error
        self._waking = _Waking()
        self._descriptor = None if os.name != "posix" or name.startswith(_RFC2217) else self._port.fileno()
        if hasattr(self._port, "_socket"):  # pyserial leaves Nagle's algorithm on, and small frames would wait
            self._port._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # noqa: SLF001  # no other way
        if self._usb_serial_number is None:
            self._usb_serial_number = _usb_serial_number(name)

    def read(self, timeout_s: float) -> bytes:
        """What is there, or comes first."""
        with self._watched():
            if self._descriptor is not None and self._waking is not None:
                woken = self._waking.heard.fileno()
                ready, _, _ = select.select([self._descriptor, woken], [], [], max(0.0, timeout_s))
                if woken in ready:
                    self._waking.heard.recv(_READ_BYTES)
                return self._read_ready(self._descriptor) if self._descriptor in ready else b""
            # RFC 2217 negotiates anew whenever the time-out is changed, so it stays, and is waited for in turns.
            end_s = time.monotonic() + timeout_s
            while not (data := self._port.read(max(1, self._port.in_waiting))) and time.monotonic() < end_s:
                if self._woken.is_set():
                    self._woken.clear()
                    break
            return bytes(data)

    def write(self, data: bytes) -> None:
        """Send it."""
        with self._watched():
            self._port.write(data)

    def wake(self) -> None:
        """End a `read` that waits."""
        self._woken.set()
        waking = self._waking
        if waking is not None:
            with contextlib.suppress(OSError):  # it was woken often enough, or is being opened anew
                waking.said.send(b"\0")

    def set_baud(self, baud: int) -> None:
        """Change the rate. Raises `PortError` for one that this port can't have."""
        with self._watched():
            self._port.flush()
            try:
                self._port.baudrate = baud
            except (ValueError, NotImplementedError) as error:
                raise PortError(f"{self.name}: {baud} baud: {error}") from error

    def close(self) -> None:
        """Leave the port to others."""
        if self._waking is not None:
            self._waking.close()
            self._waking = None
        if self._port is not None:
            opened = getattr(self._port, "_socket", None)
            with contextlib.suppress(OSError):
                self._port.close()
            if opened is not None:  # pyserial forgets one that the other end has reset
                opened.close()
            self._port = None

    @staticmethod
    def _read_ready(descriptor: int) -> bytes:
        """Not by pyserial: it would wait for all that is asked for, or read byte by byte."""
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            raise OSError(errno.EIO, "the other end is closed")
        return data

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        if self._port is None:
            raise LineLostError(f"{self.name} isn't open")
        try:
            yield
        except (OSError, TypeError) as error:  # TypeError: pyserial's, of a port that was closed meanwhile
            self.close()
            raise LineLostError(f"{self.name} has gone: {error}") from error


class _Waking:
    """Two ends of a socket: `select` waits for the one, any thread writes to the other."""

    def __init__(self) -> None:
        self.heard, self.said = socket.socketpair()
        self.heard.setblocking(False)
        self.said.setblocking(False)

    def close(self) -> None:
        self.heard.close()
        self.said.close()


def find_port(serial_number: str, name: str) -> str:
    """The port of the USB device with this serial number. Raises `PortError`."""
    from serial.tools import list_ports

    for port in sorted(list_ports.comports()):
        if port.serial_number == serial_number:
            return str(port.device)
    raise PortError(f"{name}: no USB device with the serial number {serial_number} is plugged in")


def identity(port: str) -> str:
    """What is the same for all names of one port: its USB device's serial number, its real path, or its URL."""
    if "://" in port or port.startswith(_USB):
        return port
    path = os.path.realpath(port)
    number = _usb_serial_number(path)
    return path if number is None else f"{_USB}{number}"


def _usb_serial_number(name: str) -> str | None:
    from serial.tools import list_ports

    return next((p.serial_number or None for p in list_ports.comports() if p.device == name), None)


def _why(name: str, error: Exception) -> str:
    """What is wrong with a port, and what to do."""
    code = getattr(error, "errno", None)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{name}: no such port: is the board plugged in? `edgeloop bridge ports` lists those that are there"
    if code in (errno.EACCES, errno.EPERM):
        group = _group(name)
        return (
            f"{name}: not allowed: it belongs to the group {group}: `sudo usermod -aG {group} $USER`, and log in again"
        )
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return f"{name}: {_holder(name)} has it open: end that first"
    if code == errno.ECONNREFUSED or "refused" in str(error):
        return f"{name}: nobody listens there"
    return f"{name}: {error}"


def _group(name: str) -> str:
    import grp

    number = Path(name).stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _holder(name: str) -> str:
    """The program that holds a port, as far as we may see."""
    wanted = Path(name).resolve()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(fd.resolve() == wanted for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:
            continue
    return "another program"
