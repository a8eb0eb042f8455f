"""MQTT 5's properties of what we send, as paho takes them."""

from __future__ import annotations

from functools import lru_cache

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

__all__ = ["connect_properties", "packed_publish_properties", "publish_properties"]


@lru_cache(maxsize=16)
def publish_properties(*, expiry_s: int = 0, historical: bool = False) -> Properties:
    """For PUBLISH: for how long the broker may hold the message, and whether it tells of a time gone by."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    if expiry_s:
        properties.MessageExpiryInterval = expiry_s
    if historical:
        properties.UserProperty = ("historical", "1")
    return properties


@lru_cache(maxsize=16)
def packed_publish_properties(*, expiry_s: int = 0, historical: bool = False) -> bytes:
    """The same as it goes over the wire: packing it for each message costs as much as all else."""
    packed: bytes = publish_properties(expiry_s=expiry_s, historical=historical).pack()  # type: ignore[no-untyped-call]  # paho's
    return packed


def connect_properties(*, session_s: int, receive_max: int) -> Properties:
    """For CONNECT: how long the broker keeps the session, and how many messages it may send before we acknowledge."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    if session_s:
        properties.SessionExpiryInterval = session_s
    properties.ReceiveMaximum = receive_max
    return properties
