"""PUBLISH packets out of bytes, against paho's own packing of them."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeloop_fleet.inbox import Received
from edgeloop_fleet.packets import take_publishes

TOPICS = st.text("abc/é", min_size=1, max_size=200)
MESSAGES = st.lists(st.tuples(TOPICS, st.binary(max_size=300), st.integers(0, 1), st.booleans()), max_size=20)
PINGRESP = b"\xd0\x00"


def packed(messages: list[tuple[str, bytes, int, bool]], *, version_5: bool) -> bytes:
    """As paho writes them; the packet ids count from 1."""
    protocol = MQTTProtocolVersion.MQTTv5 if version_5 else MQTTProtocolVersion.MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
    client._sock = socket.socket()  # it packs only where it seems to be connected, and closes it in the end
    out = bytearray()
    client._packet_queue = lambda command, packet, mid, qos, info=None: out.extend(packet) or 0
    for packet_id, (topic, payload, qos, has_properties) in enumerate(messages, 1):
        properties = None
        if has_properties and version_5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("historical", "1" * 150)
        client._send_publish(packet_id, topic.encode(), payload, qos, properties=properties)
    return bytes(out)


@given(MESSAGES, st.booleans())
def test_what_paho_packs_comes_out_and_is_acknowledged_where_it_asks_for_it(messages, version_5: bool):
    data = packed(messages, version_5=version_5)
    taken = take_publishes(data, 0, version_5=version_5)
    assert taken.messages == [Received(topic, payload) for topic, payload, _, _ in messages]
    asking = [i for i, (_, _, qos, _) in enumerate(messages, 1) if qos]
    assert taken.acknowledgements == b"".join(b"\x40\x02" + i.to_bytes(2, "big") for i in asking)
    assert (taken.at, taken.other, taken.missing) == (len(data), None, 0)


@given(MESSAGES, st.data())
def test_a_cut_anywhere_loses_nothing(messages, data: st.DataObject):
    raw = packed(messages, version_5=True)
    cut = data.draw(st.integers(0, len(raw)))
    first = take_publishes(raw[:cut], 0, version_5=True)
    rest = take_publishes(raw[first.at :], 0, version_5=True)
    assert first.messages + rest.messages == [Received(topic, payload) for topic, payload, _, _ in messages]
    assert first.other is None
    assert first.missing <= len(raw) - cut
    assert (first.missing == 0) == (first.at == cut)


def test_another_packet_stands_where_it_stood_and_what_follows_can_be_taken():
    before, after = (packed([(name, b"x", 1, False)], version_5=True) for name in "ab")
    data = before + PINGRESP + after
    taken = take_publishes(data, 0, version_5=True)
    assert ([m.topic for m in taken.messages], taken.at, taken.other) == (["a"], len(before), PINGRESP)
    again = take_publishes(data, taken.at + len(PINGRESP), version_5=True)
    assert ([m.topic for m in again.messages], again.other) == (["b"], None)


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x32\xff\xff\xff\xff\xff",  # a length of more than four bytes
        b"\x32\x01\x00",  # no room for a topic
        b"\x32\x05\x00\x09abc",  # a topic that is longer than the packet
        b"\x32\x06\x00\x01a\x00\x01\x09",  # properties that are longer than the packet
        b"\x34\x06\x00\x01a\x00\x01\x00",  # QoS 2
        b"\x36\x06\x00\x01a\x00\x01\x00",  # QoS 3, which there isn't
    ],
)
def test_what_is_no_plain_publish_is_left_to_paho(damaged: bytes):
    taken = take_publishes(damaged, 0, version_5=True)
    assert (taken.messages, taken.acknowledgements, taken.at, taken.other) == ([], b"", 0, damaged)


@given(st.binary(max_size=400), st.booleans())
def test_whatever_comes_is_read_to_an_end(data: bytes, version_5: bool):
    at = 0
    while True:
        taken = take_publishes(data, at, version_5=version_5)
        assert at <= taken.at <= len(data)
        if taken.other is None:
            break
        assert taken.other
        at = taken.at + len(taken.other)
    assert taken.missing > 0 or taken.at == len(data)
