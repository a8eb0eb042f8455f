from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import ConfigError, InputError, MessageError
from edgeloop.messages import (
    MAX_PAYLOAD_BYTES,
    Ack,
    Array,
    ArtifactRef,
    EventMessage,
    ModelRef,
    ProfileMessage,
    SampleMessage,
    decode,
    decode_up,
    encode,
    kind_of,
    pack_array,
    unpack_array,
)
from edgeloop.topics import SHARDS, DeviceTopics, artifact_chunk, parse_artifact_chunk, parse_up, shard_of

MODEL = ModelRef("digits", 3, "a" * 64)
EVENT = EventMessage(device="cam-1", epoch=5, seq=6, time_s=7.5, event="started", detail={"version": 1})
PROFILE = ProfileMessage(device="cam-1", time_s=1, model=MODEL, start_s=0, end_s=1, n=3, counts=b"\1\2\3")
SAMPLE = SampleMessage(
    device="cam-1",
    time_s=1,
    model=MODEL,
    ref="frame-1",
    reason="novel",
    probability=0.5,
    input=pack_array(np.arange(6, dtype=np.uint8).reshape(2, 3)),
    output=pack_array(np.array([0.1, 0.9], dtype=np.float32)),
)


@pytest.mark.parametrize("message", [EVENT, PROFILE, SAMPLE])
def test_messages_survive_the_wire(message) -> None:
    assert decode_up(kind_of(message), "cam-1", encode(message)) == message


def test_events_and_acknowledgements_can_be_read_by_people() -> None:
    assert b'"event":"started"' in encode(EVENT)
    assert encode(Ack(5, ((1, 9),))) == b'{"epoch":5,"ranges":[[1,9]]}'


def test_a_message_of_another_device_is_refused() -> None:
    with pytest.raises(MessageError, match="cam-1"):
        decode_up("event", "cam-2", encode(EVENT))


def test_an_unknown_kind_and_an_endless_payload_are_refused() -> None:
    with pytest.raises(MessageError, match="unknown kind"):
        decode_up("rumour", "cam-1", b"{}")
    with pytest.raises(MessageError, match="limit"):
        decode_up("event", "cam-1", b" " * (MAX_PAYLOAD_BYTES + 1))


@given(st.sampled_from(["event", "profile", "sample"]), st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_message_error(kind: str, payload: bytes) -> None:
    try:
        decode_up(kind, "cam-1", payload)
        decode(payload, Ack)
    except MessageError:
        pass


@given(st.data())
def test_a_damaged_sample_is_a_sample_or_a_message_error(data: st.DataObject) -> None:
    raw = bytearray(encode(SAMPLE))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        sample = decode_up("sample", "cam-1", bytes(raw))
    except MessageError:
        return
    assert isinstance(sample, SampleMessage)
    unpack_array(sample.input)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool", ">f4"])
def test_arrays_survive_the_wire(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).T.astype(dtype)
    assert np.array_equal(unpack_array(pack_array(array)), array)


def test_an_array_that_is_not_sent_is_refused() -> None:
    with pytest.raises(MessageError, match="object"):
        pack_array(np.array([None]))


@pytest.mark.parametrize("shape", [(3,), (2**31 - 1, 2**31 - 1, 2**31 - 1), ()])
def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MessageError, match="bytes are not an array"):
        unpack_array(Array("float32", shape, b"12345"))


def test_the_chunks_cover_the_artifact() -> None:
    ref = ArtifactRef("m", 1, "a" * 64, size_bytes=2049, chunk_bytes=1024)
    assert ref.chunks == 3
    assert msgspec.structs.replace(ref, size_bytes=2048).chunks == 2


def test_a_topic_tells_the_device_and_the_kind() -> None:
    topics = DeviceTopics("cam-1")
    assert (parse_up(topics.up("event")).device, parse_up(topics.up("event")).kind) == ("cam-1", "event")
    assert parse_up(topics.state).kind == "state"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a b", "../x", "é", "-x", "x" * 65, "a\n"])
def test_a_name_that_can_not_stand_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="device name"):
        DeviceTopics(name)


@given(st.text(max_size=80))
def test_any_topic_is_a_device_s_or_a_message_error(topic: str) -> None:
    for candidate in (topic, f"edgeloop/1/{topic}", f"edgeloop/1/00/{topic}/up/event"):
        try:
            parse_up(candidate)
        except InputError:
            continue
        assert not set("/+#") & set(parse_up(candidate).device)


def test_a_device_in_a_foreign_shard_is_refused() -> None:
    wrong = (shard_of("cam-1") + 1) % SHARDS
    with pytest.raises(MessageError, match="belongs to shard"):
        parse_up(f"edgeloop/1/{wrong:02d}/cam-1/up/event")


def test_shards_are_stable_and_spread() -> None:
    assert shard_of("cam-1") == 5
    counts = np.bincount([shard_of(f"device-{i}") for i in range(16_000)], minlength=SHARDS)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_a_chunk_topic_is_read_back() -> None:
    assert parse_artifact_chunk(artifact_chunk("b" * 64, 12)) == ("b" * 64, 12)
    assert parse_artifact_chunk("edgeloop/1/artifact/xyz/1") is None
