"""The client that sends past paho: every PUBACK finds its message, however the bytes were torn."""

from __future__ import annotations

import struct

import paho.mqtt.client as paho
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.client import _ConnectionState

from edgeloop.buffered import BufferedClient
from edgeloop.mqtt import wire_text
from edgeloop.properties import packed_publish_properties, publish_properties


class Wire:
    """A socket that gives what it has in the pieces that it was given, and takes everything."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces, self.written = pieces, b""

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece, rest = self.pieces[0][:size], self.pieces[0][size:]
        self.pieces[:1] = [rest] if rest else []
        return piece

    def send(self, data: bytes) -> int:
        self.written += bytes(data)
        return len(data)

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        pass


def client_on(wire: Wire) -> BufferedClient:
    client = BufferedClient(paho.CallbackAPIVersion.VERSION2, client_id="c", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(0)
    client._sock = wire
    return client


def puback(mid: int, reason: int, text: str) -> bytes:
    body = struct.pack("!H", mid)
    if text:
        properties = b"\x1f" + wire_text(text)
        size = len(properties)
        body += bytes([reason, size] if size < 128 else [reason, size & 127 | 128, size >> 7]) + properties
    elif reason:
        body += bytes([reason])
    size = len(body)
    return bytes([0x40, size] if size < 128 else [0x40, size & 127 | 128, size >> 7]) + body


PINGRESP = b"\xd0\x00"
answers = st.lists(
    st.tuples(
        st.sampled_from(["ours", "ours", "ours", "paho's", "ping"]),
        st.sampled_from([0, 0x10, 0x87]),
        st.sampled_from(["", "", "no", "n" * 300]),
    ),
    max_size=30,
)


@settings(max_examples=50)
@given(answers, st.lists(st.integers(1, 12), min_size=1, max_size=50))
def test_each_puback_is_told_once_in_order_and_paho_gets_its_own(told: list[tuple[str, int, str]], cuts: list[int]):
    wire = Wire([])
    client = client_on(wire)
    ours: list[tuple[int, int]] = []
    theirs: list[int] = []
    client.on_sent = lambda mid, reason: ours.append((mid, reason))
    client.on_publish = lambda _c, _d, mid, _r, _p: theirs.append(mid)
    expected: list[tuple[int, int]] = []
    expected_theirs: list[int] = []
    stream = b""
    for whose, reason, text in told:
        if whose == "ours":
            mid = client.send(wire_text("a/b"), packed_publish_properties(expiry_s=9), b"x")
            expected.append((mid, reason))
            stream += puback(mid, reason, text)
        elif whose == "paho's":
            mid = client.publish("a/b", b"y", 1).mid
            expected_theirs.append(mid)
            stream += puback(mid, reason, text)
        else:
            stream += PINGRESP
    at, i = 0, 0
    while at < len(stream):
        wire.pieces.append(stream[at : at + cuts[i % len(cuts)]])
        at, i = at + cuts[i % len(cuts)], i + 1
    for _ in range(10_000):
        if not (wire.pieces or client.has_input):
            break
        assert client.loop_read() == 0
    assert (ours, theirs) == (expected, expected_theirs)


def test_a_connection_that_is_busy_is_not_pinged() -> None:
    wire = Wire([])
    client = client_on(wire)
    client._state = _ConnectionState.MQTT_CS_CONNECTED
    client._last_msg_out = client._last_bytes_received = 0.0
    mid = client.send(wire_text("a/b"), b"\x00", b"x")
    client.loop_write()
    wire.pieces.append(puback(mid, 0, ""))
    client.loop_read()
    assert client.loop_misc() == 0
    client.loop_write()
    assert b"\xc0\x00" not in wire.written


def test_a_publish_is_the_same_as_paho_s() -> None:
    wire, other = Wire([]), Wire([])
    mine = client_on(wire)
    mine.send(wire_text("a/b"), packed_publish_properties(expiry_s=7, historical=True), b"x" * 300)
    assert mine.loop_write() == 0
    theirs = client_on(other)
    theirs.publish("a/b", b"x" * 300, 1, properties=publish_properties(expiry_s=7, historical=True))
    assert theirs.loop_write() == 0
    assert wire.written == other.written
