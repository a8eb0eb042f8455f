"""The ingest's side of its connection: messages come in by the hundred, where a device takes them one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import MQTTErrorCode

from edgeloop.link import Link
from edgeloop_fleet.inbox import Received
from edgeloop_fleet.packets import take_publishes

if TYPE_CHECKING:
    from edgeloop.buffered import BufferedClient

__all__ = ["Intake"]

_PIECE_BYTES = 256 << 10
_PIECES = 4  # before others get their turn


class Intake(Link):
    """A `Link` for one that receives much.

    Args:
        url: the broker's.
        client_id: see `Link`.
        on_messages: called with what has come, on the link's thread. The broker hears that it has come once it returns.
        options: see `Link`.
    """

    def __init__(
        self, url: str, client_id: str, *, on_messages: Callable[[list[Received]], None], **options: Any
    ) -> None:
        self._on_messages = on_messages
        self._pieces: list[bytes] = []  # of a packet that isn't whole yet
        self._missing = 0
        super().__init__(url, client_id, on_message=lambda topic, raw: on_messages([Received(topic, raw)]), **options)

    def _new_client(self) -> BufferedClient:
        self._pieces, self._missing = [], 0  # those were of another connection
        return super()._new_client()

    def _read(self, _sock: Any) -> MQTTErrorCode:
        """Take all that has come, up to a bound; whatever isn't a message goes to paho, packet by packet."""
        client = self._client
        for _ in range(_PIECES):
            try:
                piece = client._sock_recv(_PIECE_BYTES)  # noqa: SLF001  # paho's way to its own socket, with TLS or not
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:  # the end: paho finds it once more, and cleans up
                return client.loop_read()
            self._pieces.append(piece)
            self._missing -= len(piece)
            if self._missing <= 0:
                result = self._take(client)
                if result != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                    return result
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _take(self, client: BufferedClient) -> MQTTErrorCode:
        data, at = b"".join(self._pieces), 0
        while True:
            taken = take_publishes(data, at, version_5=self._version_5)
            if taken.messages:
                self._on_messages(taken.messages)
                # A few kB at the most, by what we let the broker send. They go out with the rest of this step.
                client._going += taken.acknowledgements  # noqa: SLF001  # one call instead of hundreds
            if taken.other is None:
                self._pieces, self._missing = [data[taken.at :]], taken.missing
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            at = taken.at + len(taken.other)
            client._came, client._came_at = taken.other, 0  # noqa: SLF001  # as if just this had been read
            result = client._packet_read()  # noqa: SLF001  # `loop_read` would go on reading
            if result > MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                return client._loop_rc_handle(result)  # noqa: SLF001  # what `loop_read` does then
