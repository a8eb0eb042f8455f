"""A paho client that asks the kernel for more than a byte at a time, and sends most messages past paho.

paho reads each packet in four pieces, writes each with a call of its own, and makes a dozen objects for each message
and its PUBACK, which takes longer than all else that happens to a message of 1 kB. What comes is read 64 kB at a time,
and what goes is written once a step of the link. `send` writes its PUBLISH itself, and the PUBACKs of these are taken
out before paho reads on; everything else (CONNECT, SUBSCRIBE, PING, what comes) is paho's.

It leans on some private names of paho 2; the uplink's tests fail where one goes.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

__all__ = ["BufferedClient"]

_BUFFER_BYTES = 64 << 10
_PUBLISH_QOS_1, _PUBACK = 0x32, 0x40


def _nobody(_mid: int, _reason: int) -> None:
    pass


class BufferedClient(Client):
    """For an owner that calls `loop_read`, `loop_write` and `loop_misc` itself, on one thread.

    `on_sent` is called as (packet id, reason code) for each PUBACK of what went with `send`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._came, self._came_at = b"", 0
        self._torn = b""  # the beginning of a PUBACK
        self._going = bytearray()
        self._sent: set[int] = set()  # with `send`, not yet acknowledged
        self.on_sent: Callable[[int, int], None] = _nobody
        self.on_socket_register_write = lambda *_: None  # or else paho writes at once

    @property
    def has_input(self) -> bool:
        """Whether something has been read that no packet was made of yet: the socket doesn't know of it."""
        return self._came_at < len(self._came)

    def send(self, topic: bytes, properties: bytes, payload: bytes) -> int:
        """PUBLISH with QoS 1 at the next `loop_write`; give the packet id.

        Args:
            topic: with its length before it, as it goes over the wire.
            properties: likewise; with MQTT 3.1.1 there are none, nor a length of them.
            payload: the message.
        """
        mid = self._mid_generate()
        self._sent.add(mid)
        going = self._going
        going.append(_PUBLISH_QOS_1)
        left = len(topic) + 2 + len(properties) + len(payload)
        while left > 127:
            going.append(left & 127 | 128)
            left >>= 7
        going.append(left)
        going += topic
        going += struct.pack("!H", mid)
        going += properties
        going += payload
        return mid

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

    def _packet_read(self) -> MQTTErrorCode:
        if self._in_packet["command"] == 0 and not self._take_pubacks():
            return MQTTErrorCode.MQTT_ERR_AGAIN
        return super()._packet_read()

    def _take_pubacks(self) -> bool:
        """Take the PUBACKs of what we sent that come next; whether something is left for paho, a failure among it."""
        if not self.has_input:
            try:
                fresh = super()._sock_recv(_BUFFER_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not fresh:
                return True
            # Or else paho (2.2, 2.1) pings, and gives up a slow line that is busy.
            self._last_bytes_received = self._last_msg_in = time.monotonic()
            self._came, self._came_at, self._torn = self._torn + fresh, 0, b""
        came, at = self._came, self._came_at
        while at < len(came) and came[at] == _PUBACK:
            body, end = _extent(came, at)
            if end > len(came):
                self._came, self._came_at, self._torn = b"", 0, came[at:]
                return False
            mid = came[body] << 8 | came[body + 1]
            if mid not in self._sent:
                break
            self._sent.remove(mid)
            self.on_sent(mid, came[body + 2] if end > body + 2 else 0)
            at = end
        self._came_at = at
        return self.has_input

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
            self._last_msg_out = time.monotonic()
            del self._going[:sent]


def _extent(came: bytes, at: int) -> tuple[int, int]:
    """Where the body of the packet at `at` begins and ends; behind the end of `came` where it isn't whole."""
    size = shift = 0
    for body in range(at + 1, min(at + 5, len(came))):
        size |= (came[body] & 127) << shift
        shift += 7
        if came[body] < 128:
            return body + 1, max(body + 3, body + 1 + size)  # its packet id is there at least
    return at, len(came) + 1
