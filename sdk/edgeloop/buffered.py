"""A paho client that asks the kernel for more than a byte at a time.

paho reads each packet in four pieces and writes each with a call of its own, which takes longer than all else that
happens to a message of 1 kB. Here what comes is read 64 kB at a time, and what goes is written once a step of the link.
Should paho ever name its two functions otherwise, they are its own again, and no less correct.
"""

from __future__ import annotations

import contextlib
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

__all__ = ["BufferedClient"]

_BUFFER_BYTES = 64 << 10


class BufferedClient(Client):
    """For an owner that calls `loop_read`, `loop_write` and `loop_misc` itself, on one thread."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._came, self._came_at = b"", 0
        self._going = bytearray()
        self.on_socket_register_write = lambda *_: None  # or else paho writes at once

    @property
    def has_input(self) -> bool:
        """Whether something has been read that no packet was made of yet: the socket doesn't know of it."""
        return self._came_at < len(self._came)

    def want_write(self) -> bool:
        """Whether there is something to write, as paho's own."""
        return bool(self._going) or super().want_write()

    def loop_write(self) -> MQTTErrorCode:
        """Write what waits, as paho's own."""
        result = super().loop_write()
        if result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._going:
            try:
                self._write()
            except OSError:  # reading finds out, and cleans up
                self._going.clear()
        return result

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_input:
            if bufsize >= _BUFFER_BYTES:
                return super()._sock_recv(bufsize)
            self._came, self._came_at = super()._sock_recv(_BUFFER_BYTES), 0
        piece = self._came[self._came_at : self._came_at + bufsize]
        self._came_at += len(piece)
        return piece

    def _sock_send(self, buf: bytes | bytearray) -> int:
        if len(self._going) >= _BUFFER_BYTES:
            self._write()
            if len(self._going) >= _BUFFER_BYTES:
                raise BlockingIOError
        self._going += buf
        return len(buf)

    def _sock_close(self) -> None:
        with contextlib.suppress(OSError):  # the farewell is in it
            self._write()
        super()._sock_close()

    def _write(self) -> None:
        while self._going:
            try:
                sent = super()._sock_send(self._going)
            except BlockingIOError:
                return
            del self._going[:sent]
