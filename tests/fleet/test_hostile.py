"""Whatever comes in on a topic: none of it is stored as good, none of it ends the ingest, and memory stays bounded."""

from __future__ import annotations

import random
import resource
import zlib
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import msgspec
import pytest

from edgeloop.messages import Part, encode, encode_up, kind_of
from edgeloop.topics import ROOT, DeviceTopics, shard_of
from edgeloop_fleet.commit import Committer
from edgeloop_fleet.devices import Devices
from edgeloop_fleet.inbox import Received
from edgeloop_fleet.lake import Lake
from fleet_devices import birth, event, profile, sample

NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
NAME, OTHER = "cam-1", "cam-2"
BOMBS = [zlib.compress(bytes(size << 20), 9) for size in (2, 9, 40)]
JUNK: list[Any] = [
    None,
    True,
    -1,
    2**63,
    2**64 - 1,
    1e308,
    float("nan"),
    "",
    "x" * 2000,
    b"\xff" * 40,
    [],
    {},
    [[[]]] * 3,
    {"a": 1},
]


def good(rng: random.Random, seq: int) -> Any:
    return rng.choice([sample(NAME, seq), profile(NAME, seq, [1, 2, 3], 6), event(NAME, seq, why="x")])


def wrong_type(rng: random.Random) -> Received:
    message = good(rng, rng.randint(1, 99))
    fields = msgspec.to_builtins(message, builtin_types=(bytes,))
    kind = kind_of(message)
    while True:
        where = fields
        key = rng.choice([k for k in where if k != "kind"])
        while isinstance(where[key], dict) and where[key] and rng.random() < 0.7:
            where = where[key]
            key = rng.choice(list(where))
        where[key] = rng.choice(JUNK)
        write = msgspec.json.encode if kind == "event" else msgspec.msgpack.encode
        try:
            payload = write(fields)
        except (OverflowError, ValueError):
            continue
        if not is_good(kind, payload):
            return Received(DeviceTopics(NAME).up(kind), payload)


def is_good(kind: str, payload: bytes) -> bool:
    """Whether a person would let it pass: some of the junk is a valid value where it came to stand."""
    from edgeloop.errors import MessageError
    from edgeloop.messages import decode_up
    from edgeloop_fleet.rows import check_message

    try:
        check_message(decode_up(kind, NAME, payload))
    except MessageError:
        return False
    return True


def huge_length(rng: random.Random) -> Received:
    head = rng.choice(
        [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\x7f\xff\xff\xff"]
    )
    return Received(DeviceTopics(NAME).up(rng.choice(["sample", "profile", "part"])), head + rng.randbytes(30))


def bomb(rng: random.Random) -> Received:
    return Received(DeviceTopics(NAME).up(rng.choice(["sample", "profile"])), rng.choice(BOMBS))


def path_in_a_name(rng: random.Random) -> Received:
    name = rng.choice(["..", "../../etc", "a\\b", "a\0b", ".hidden", "x" * 65, "é", "a'; --", " ", "+", "#", "C:"])
    shard = f"{shard_of(name):02d}"
    payload = encode(msgspec.structs.replace(event(NAME, 1), device=name))
    return Received(f"{ROOT}/{shard}/{name}/up/event", payload)


def other_device(rng: random.Random) -> Received:
    message = msgspec.structs.replace(good(rng, 5), device=OTHER)
    return Received(DeviceTopics(NAME).up(kind_of(message)), encode_up(message))


def cut_off(rng: random.Random) -> Received:
    message = good(rng, 7)
    raw = encode_up(message)
    return Received(DeviceTopics(NAME).up(kind_of(message)), raw[: rng.randrange(len(raw))])


def broken_part(rng: random.Random) -> Received:
    count = rng.randint(2, 4096)
    part = Part(
        device=NAME, epoch=1, seq=rng.randint(1, 10**6), of="sample", index=rng.randrange(count - 1), count=count,
        size_bytes=rng.randint(2, 8 << 20), crc=rng.getrandbits(32), data=rng.randbytes(rng.randint(0, 3000)),
    )  # fmt: skip
    raw = msgspec.msgpack.encode(part)
    return Received(DeviceTopics(NAME).up("part"), raw if rng.random() < 0.7 else raw[: rng.randrange(len(raw))])


def bad_state(rng: random.Random) -> Received:
    raw = rng.choice([encode(birth(OTHER, 1)), b"[" * 5000, b'{"device": 1}', rng.randbytes(50), BOMBS[0]])
    return Received(DeviceTopics(NAME).state, raw)


def noise(rng: random.Random) -> Received:
    kind = rng.choice(["sample", "profile", "event", "part", "label", "x" * 30])
    return Received(DeviceTopics(NAME).up(kind), rng.randbytes(rng.randrange(400)))


def no_identity(rng: random.Random) -> Received:
    message = good(rng, 0)
    return Received(DeviceTopics(NAME).up(kind_of(message)), encode_up(message))


def odd_topic(rng: random.Random) -> Received:
    topic = rng.choice(
        ["", "/", ROOT, f"{ROOT}/99/{NAME}/up/event", f"{ROOT}/{'9' * 5000}", f"{ROOT}/00/{NAME}/up", "é" * 99]
    )
    return Received(topic, encode(event(NAME, 3)))


ATTACKS: list[Callable[[random.Random], Received]] = [
    wrong_type, huge_length, path_in_a_name, other_device, cut_off, broken_part, bad_state, noise, no_identity,
    odd_topic,
]  # fmt: skip


def attack(lake: Lake, n: int) -> None:
    rng = random.Random(20261124)
    committer = Committer(lake, range(16), Devices(), lambda: NOW)
    valid = [good(rng, seq) for seq in range(1, 301)]
    replayable = [Received(DeviceTopics(NAME).up(kind_of(m)), encode_up(m)) for m in valid]
    sent = 0
    committer.store(replayable[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while sent < n:
        batch = [(bomb if rng.random() < 0.01 else rng.choice(ATTACKS))(rng) for _ in range(min(2000, n - sent))]
        sent += len(batch)
        batch += rng.choices(replayable, k=50)
        rng.shuffle(batch)
        committer.store(batch)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    committer.store(replayable)
    stored = {
        (row["device"], row["epoch"], row["seq"])
        for table in ("samples", "profiles", "events")
        for row in lake.read(table, ["device", "epoch", "seq"]).to_pylist()
    }
    rows = sum(lake.read(table, ["seq"]).num_rows for table in ("samples", "profiles", "events"))
    # A message of which the attacker knew the identity may have been kept aside under it; none of his is stored.
    aside = {row["seq"] for row in lake.read("quarantine", ["device", "seq"]).to_pylist() if row["device"] == NAME}
    assert rows == len(stored)
    assert {seq for device, epoch, seq in stored if (device, epoch) == (NAME, 1)} >= set(range(101, 301)) - aside
    assert stored <= {(m.device, m.epoch, m.seq) for m in valid}
    assert lake.read("quarantine", ["reason"]).num_rows > n / 3
    assert (after - before) / 1024 < 400  # MiB; a bomb alone would take 40 a message


def test_three_thousand_hostile_messages(lake: Lake):
    attack(lake, 3000)


@pytest.mark.slow
def test_a_hundred_thousand_hostile_messages(lake: Lake):
    attack(lake, 100_000)
