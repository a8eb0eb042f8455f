"""From what a user writes to a place."""

from __future__ import annotations

from edgeloop.errors import ConfigError
from edgeloop_converters.places.emulated import parse_emulated
from edgeloop_converters.places.mqtt import parse_device_url
from edgeloop_converters.places.place import Place
from edgeloop_converters.places.ssh import parse_ssh_url

__all__ = ["KNOWN", "open_place"]

KNOWN = (
    "ssh://[USER@]HOST[:PORT][/PATH/TO/edgeloop], mqtt://BROKER[:PORT]/DEVICE, emulated-arm64[:BOARD] or emulated-armhf"
)


def open_place(text: str) -> Place:
    """The place that `text` names. Nothing is connected yet.

    Raises:
        ConfigError: it names none; the message says how one is written.
    """
    scheme = text.partition("://")[0]
    if scheme == "ssh":
        return parse_ssh_url(text)
    if scheme in ("mqtt", "mqtts"):
        return parse_device_url(text)
    if text.startswith("emulated-"):
        return parse_emulated(text)
    raise ConfigError(f"unknown place {text!r}: write {KNOWN}")
