"""The embedded broker: rumqttd, out of the `iotcore` wheel, for a demo and for one machine.

What was tried on it with paho-mqtt over MQTT 5 (iotcore 0.4.0, rumqttd 0.20): QoS 1, retained messages for late
subscribers (exact and `+`), their clearing and expiry, wills (retained, and none after a clean disconnect), user
properties, persistent sessions with their queue, and take-over of a client id all work. It differs from Mosquitto in

- a repeated subscription within one session does not give the retained messages again, and so neither does a
  reconnect with a persistent session;
- nothing is on disk: retained messages and sessions end with the process.

It has no access rules and no shutdown of its own; it runs in a child process that ends with this one.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edgeloop.errors import BrokerError, MissingExtraError
from edgeloop.link import Link

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EmbeddedBroker"]

_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
# rumqttd keeps this much of each topic filter for readers that are behind: 4 segments of 16 MiB.
max_segment_size = 16777216
max_segment_count = 4

[v5.1]
name = "mqtt5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2162688
max_inflight_count = 1000
dynamic_filters = true
"""


class EmbeddedBroker:
    """An MQTT 5 broker on 127.0.0.1, for as long as the context lasts.

    Args:
        directory: where its configuration `broker.toml` is written; made if absent.
        port: the TCP port; 0 takes a free one.
    """

    def __init__(self, directory: str | os.PathLike[str], port: int = 0) -> None:
        self._directory = Path(directory)
        self.port = port or _free_port()
        self._broker: Any = None

    @property
    def url(self) -> str:
        """Where clients connect: `mqtt://127.0.0.1:PORT`."""
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start it, and return once it has accepted an MQTT 5 connection.

        Raises:
            MissingExtraError: `iotcore` isn't installed.
            BrokerError: the port is taken, or the broker doesn't come up.
        """
        try:
            from iotcore import Broker
        except ImportError as error:
            raise MissingExtraError("fleet", "iotcore") from error
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "broker.toml"
        config.write_text(_CONFIG.format(port=self.port), encoding="utf-8")
        self._broker = Broker(config_path=str(config))
        try:
            self._broker.start()
            with Link(self.url, f"probe-{secrets.token_hex(4)}") as probe:
                probe.wait_connected(10)
        except (OSError, RuntimeError) as error:
            self._broker.stop()
            raise BrokerError(f"the embedded broker doesn't start on port {self.port}: {error}") from error
        except BaseException:
            self._broker.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it: the child is ended by its handle, and the port is free again."""
        self._broker.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
