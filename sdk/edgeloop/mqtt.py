"""The broker's address, a paho client with our settings, and the properties of MQTT 5 that we send."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeloop.errors import ConfigError
from edgeloop.tls import TlsFiles, tls_context, tls_from_environment

if TYPE_CHECKING:
    from edgeloop.buffered import BufferedClient

__all__ = ["BrokerAddress", "make_client", "parse_broker_url", "wire_text"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker listens, whether TLS is spoken there, and who we are then (None: as the environment says)."""

    host: str
    port: int
    tls: bool
    files: TlsFiles | None = None

    def __str__(self) -> str:
        """As it is written in a configuration."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


def parse_broker_url(url: str) -> BrokerAddress:
    """Read `mqtt://host[:port]`, or `mqtts://…` for TLS.

    Raises:
        ConfigError: anything else; a user or a password in it, too: these come from the environment, where no other
            process can list them.
    """
    wanted = "write mqtt://HOST[:PORT], or mqtts:// for TLS"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"broker {url!r}: {error}: {wanted}") from error
    if parts.username or parts.password:
        raise ConfigError("broker: user and password don't belong into the URL: set EDGELOOP_MQTT_USER and _PASSWORD")
    if parts.scheme not in _PORTS or not host or parts.path not in ("", "/"):
        raise ConfigError(f"broker {url!r}: {wanted}")
    return BrokerAddress(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts")


@lru_cache(maxsize=64)
def wire_text(text: str) -> bytes:
    """A string as MQTT writes it, its length first."""
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def make_client(
    address: BrokerAddress, client_id: str, *, version_5: bool = True, clean_session: bool = True
) -> BufferedClient:
    """A paho client for MQTT 5, or for 3.1.1, not connected yet.

    Args:
        address: the broker.
        client_id: the broker's name for the session.
        version_5: whether MQTT 5 is spoken.
        clean_session: for 3.1.1, where it must be known this early.

    User and password, if any, are those of `EDGELOOP_MQTT_USER` and `EDGELOOP_MQTT_PASSWORD`. With TLS, whom we trust
    and who we are is in the address's files, or in those that the environment names (see `edgeloop.tls`); without
    either, the system's authorities are trusted. Raises `ConfigError` for files that can't be used.
    """
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    from edgeloop.buffered import BufferedClient

    if version_5:
        client = BufferedClient(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
    else:
        client = BufferedClient(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=clean_session,
        )
    # The link itself sees to it that no more is under way than the broker allows.
    client.max_inflight_messages_set(0)
    if user := os.environ.get("EDGELOOP_MQTT_USER"):
        client.username_pw_set(user, os.environ.get("EDGELOOP_MQTT_PASSWORD"))
    if address.tls:
        client.tls_set_context(tls_context(address.files or tls_from_environment(os.environ)))
    return client
