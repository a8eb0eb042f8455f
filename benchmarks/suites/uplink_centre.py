"""A centre without a lake for `uplink.py`: it takes what comes and acknowledges it ten times a second.

It reads the socket itself. With paho it took more of the processor for a message than the devices that are measured,
and on two cores they waited for it. Every sender costs it the same, whether anyone hears its acknowledgements or not.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import defaultdict
from urllib.parse import urlsplit

from edgeloop.messages import Ack, encode
from edgeloop.topics import ROOT, DeviceTopics, parse_up
from edgeloop_fleet.dedupe import Ranges

__all__ = ["acknowledge_for_ever"]

PUBLISH, SUBACK = 0x30, 0x90
ACKNOWLEDGE_S = 0.1


def varint(n: int) -> bytes:
    out = bytearray()
    while True:
        n, low = n >> 7, n & 127
        out.append(low | (128 if n else 0))
        if not n:
            return bytes(out)


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + varint(len(body)) + body


def read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends; `IndexError` where it isn't complete."""
    n = shift = 0
    while True:
        n |= (raw[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not raw[at - 1] & 128:
            return n, at


def read_uint(raw: bytes, at: int) -> int:
    """MessagePack's unsigned integer at `at`."""
    widths = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
    width = widths.get(raw[at])
    return raw[at] if width is None else int.from_bytes(raw[at + 1 : at + 1 + width], "big")


def acknowledge_for_ever(url: str) -> None:
    """Print `ready` once subscribed, then acknowledge until killed."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname, parts.port))
    sock.sendall(packet(0x10, text("MQTT") + b"\x05\x02\x00\x00\x00" + text("acknowledger")))
    sock.sendall(packet(0x82, b"\x00\x01\x00" + text(f"{ROOT}/+/+/up/+") + b"\x01"))
    heads: dict[tuple[str, int], list[int]] = defaultdict(list)
    raw, mid, due_s = b"", 0, 0.0
    while True:
        # One acknowledgement is under way to the next device at a time: its PUBACK is read past, like all else.
        if select.select([sock], [], [], max(0.0, due_s - time.monotonic()) if heads else None)[0]:
            raw += sock.recv(256 << 10)
            at, pubacks = 0, bytearray()
            while True:
                try:
                    size, body = read_varint(raw, at + 1)
                except IndexError:
                    break
                if body + size > len(raw):
                    break
                if raw[at] & 0xF0 == PUBLISH:
                    end = body + 2 + int.from_bytes(raw[body : body + 2], "big")
                    pubacks += b"\x40\x02" + raw[end : end + 2]
                    # The identity stands where a person would look for it; the whole message needn't be read.
                    epoch = read_uint(raw, raw.index(b"\xa5epoch", end) + 6)
                    heads[raw[body + 2 : end].decode(), epoch].append(read_uint(raw, raw.index(b"\xa3seq", end) + 4))
                elif raw[at] & 0xF0 == SUBACK:
                    print("ready", flush=True)
                at = body + size
            raw = raw[at:]
            sock.sendall(pubacks)
        if heads and time.monotonic() >= due_s:
            for (topic, epoch), seqs in heads.items():
                mid = mid % 65535 + 1
                ack = encode(Ack(epoch, Ranges(sorted(seqs)).as_tuple()))
                body = text(DeviceTopics(parse_up(topic).device).ack) + struct.pack("!H", mid) + b"\x00" + ack
                sock.sendall(packet(0x32, body))
            heads.clear()
            due_s = time.monotonic() + ACKNOWLEDGE_S
