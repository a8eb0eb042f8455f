"""MQTT 5's properties of what we send, as paho takes them."""

from __future__ import annotations

from functools import lru_cache

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

__all__ = ["connect_properties", "publish_properties"]


class _Packed(Properties):
    """Properties of PUBLISH, packed once: paho packs them for each message anew, which costs as much as all else."""

    def __init__(self, *, expiry_s: int, historical: bool) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
        if expiry_s:
            self.MessageExpiryInterval = expiry_s
        if historical:
            self.UserProperty = ("historical", "1")
        packed: bytes = super().pack()  # type: ignore[no-untyped-call]  # paho's
        object.__setattr__(self, "pack", lambda: packed)


@lru_cache(maxsize=16)
def publish_properties(*, expiry_s: int = 0, historical: bool = False) -> Properties:
    """For PUBLISH: for how long the broker may hold the message, and whether it tells of a time gone by."""
    return _Packed(expiry_s=expiry_s, historical=historical)


def connect_properties(*, session_s: int, receive_max: int) -> Properties:
    """For CONNECT: how long the broker keeps the session, and how many messages it may send before we acknowledge."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    if session_s:
        properties.SessionExpiryInterval = session_s
    properties.ReceiveMaximum = receive_max
    return properties
