"""PUBLISH out of a stream of bytes, many at a time (MQTT 5, and 3.1.1, section 3.3). Bytes in, messages out: no I/O.

paho reads packet by packet and makes a dozen objects of each, which takes longer than all else that the centre does
with a message. What isn't a PUBLISH, or one with QoS 2, is left to it.
"""

from __future__ import annotations

from typing import NamedTuple

from edgeloop_fleet.inbox import Received

__all__ = ["Taken", "take_publishes"]

_PUBLISH, _QOS_1 = 0x30, 0x02
_KIND, _QOS = 0xF0, 0x06
_LONGEST_HEAD = 5


class Taken(NamedTuple):
    """What stood at the front of the bytes.

    Args:
        messages: of the PUBLISH packets.
        acknowledgements: the PUBACKs that they ask for, as they go over the wire.
        at: behind the last one.
        other: the whole packet of another kind that stands there, for paho; None where the rest is no whole packet.
        missing: how many more bytes that one needs at the least; 0 where there is no rest.
    """

    messages: list[Received]
    acknowledgements: bytes
    at: int
    other: bytes | None = None
    missing: int = 0


def take_publishes(data: bytes, at: int, *, version_5: bool) -> Taken:
    """Take the PUBLISH packets from `at` on, up to another one or to one that isn't whole.

    Args:
        data: what came, with a packet's first byte at `at`.
        at: where to begin.
        version_5: whether packets have properties. They are skipped: none of ours say anything to the centre.
    """
    messages: list[Received] = []
    acknowledgements = bytearray()
    size, missing = len(data), 0
    while at < size:
        length, body = _varint(data, at + 1)
        end = body + length
        if (
            body == 0 and size - at > _LONGEST_HEAD
        ):  # damaged: paho knows what to do with the connection, here and below
            return Taken(messages, bytes(acknowledgements), at, data[at:])
        if body == 0 or end > size:
            missing = max(1, end - size)
            break
        head = data[at]
        asks = head & _QOS
        name_end = body + 2 + int.from_bytes(data[body : body + 2], "big")
        here = name_end + asks  # a packet id has two bytes, and the bit of QoS 1 is that of the 2
        if version_5 and here < end:
            skipped, start = _varint(data, here)
            here = start + skipped if start else end + 1
        if head & _KIND != _PUBLISH or asks > _QOS_1 or here > end:
            return Taken(messages, bytes(acknowledgements), at, data[at:end])
        if asks:
            acknowledgements += b"\x40\x02" + data[name_end : name_end + 2]
        messages.append(Received(str(data[body + 2 : name_end], "utf-8", "replace"), data[here:end]))
        at = end
    return Taken(messages, bytes(acknowledgements), at, None, missing)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The variable byte integer at `at` (1.5.5), and where it ends: 0 where it isn't whole, or longer than four."""
    value = shift = 0
    for here in range(at, min(at + 4, len(data))):
        byte = data[here]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, here + 1
        shift += 7
    return 0, 0
