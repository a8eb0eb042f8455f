"""From batches to rows, without a broker."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np

from edgeloop.messages import encode_up, pack_array
from edgeloop.outbox import Row
from edgeloop.parts import split
from edgeloop.topics import SHARDS, DeviceTopics, shard_of
from edgeloop_fleet.commit import Committer
from edgeloop_fleet.devices import Devices
from edgeloop_fleet.errors import LakeError
from edgeloop_fleet.inbox import Received
from edgeloop_fleet.lake import Lake
from fleet_devices import birth, event, sample

NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)
NAME = "cam-1"


def committer(lake: Lake) -> Committer:
    return Committer(lake, range(SHARDS), Devices(), lambda: NOW)


def long_sample() -> tuple[bytes, list[Received]]:
    data = np.random.default_rng(0).integers(0, 256, 700_000, dtype=np.uint8)
    payload = encode_up(msgspec.structs.replace(sample(NAME, 7), input=pack_array(data)))
    parts = split(NAME, Row(1, 1, 7, "sample", payload), 1 << 28)
    return data.tobytes(), [Received(DeviceTopics(NAME).up("part"), raw) for raw in parts]


def test_a_long_sample_is_stored_once_whatever_its_parts_do(lake: Lake):
    data, parts = long_sample()
    first = committer(lake)
    assert first.store(parts[:3]) == []
    assert first.store(parts[3:] + parts[:2]) == [(NAME, first.store(parts)[0][1])]
    again = committer(lake)
    assert again.store(parts[2:]) == []
    assert [ack.ranges for _, ack in again.store(parts[:2])] == [((7, 7),)]
    (row,) = lake.read("samples").to_pylist()
    assert (row["seq"], row["input_data"]) == (7, data)


def test_parts_of_a_batch_whose_commit_failed_are_not_lost(tmp_path: Path):
    class Failing(Lake):
        failures = 1

        def append(self, table, rows, **options):
            if self.failures:
                self.failures -= 1
                raise LakeError("no")
            return super().append(table, rows, **options)

    lake = Failing(tmp_path / "lake")
    data, parts = long_sample()
    one = committer(lake)
    one.store(parts[:4])
    for _ in range(2):
        try:
            acks = one.store(parts[4:])
        except LakeError:
            acks = []
    assert [ack.ranges for _, ack in acks] == [((7, 7),)]
    assert lake.read("samples", ["input_data"])["input_data"].to_pylist() == [data]


def test_a_batch_that_inflates_to_more_than_memory_is_for_is_stored_in_pieces(tmp_path: Path):
    sizes: list[int] = []

    class Measured(Lake):
        def append(self, table, rows, **options):
            sizes.append(rows.nbytes)
            return super().append(table, rows, **options)

    zeros = pack_array(np.zeros(7 << 20, dtype=np.uint8))
    batch = [encode_up(msgspec.structs.replace(sample(NAME, seq), input=zeros)) for seq in range(1, 31)]
    assert sum(map(len, batch)) < 4 << 20
    lake = Measured(tmp_path / "lake")
    acks = committer(lake).store([Received(DeviceTopics(NAME).up("sample"), raw) for raw in batch])
    assert [ack.ranges for _, ack in acks] == [((1, 10),), ((11, 20),), ((21, 30),)]
    assert max(sizes) < 80 << 20
    assert sorted(lake.read("samples", ["seq"])["seq"].to_pylist()) == list(range(1, 31))


def test_a_row_that_comes_twice_in_one_batch_is_stored_once(lake: Lake):
    one = committer(lake)
    messages = [Received(DeviceTopics(NAME).up("event"), encode_up(event(NAME, seq))) for seq in (2, 1, 2, 4, 1)]
    assert [ack.ranges for _, ack in one.store(messages)] == [((1, 2), (4, 4))]
    assert (one.counters.received, one.counters.stored, one.counters.duplicates) == (5, 3, 2)
    assert sorted(lake.read("events", ["seq"])["seq"].to_pylist()) == [1, 2, 4]


def test_a_device_of_another_shard_is_left_to_its_own_ingest(lake: Lake):
    other = Committer(lake, [(shard_of(NAME) + 1) % SHARDS], Devices(), lambda: NOW)
    assert other.store([Received(DeviceTopics(NAME).up("event"), encode_up(event(NAME, 1)))]) == []
    assert (other.counters.foreign, lake.read("events").num_rows) == (1, 0)


def test_a_will_of_an_older_connection_is_stale():
    devices = Devices()
    live = msgspec.structs.replace(birth(NAME, 5), session=3)
    assert devices.update(live)
    assert not devices.update(msgspec.structs.replace(birth(NAME, 5, online=False), session=2))
    assert devices.snapshot()[NAME].online
    assert devices.update(msgspec.structs.replace(birth(NAME, 5, online=False), session=3))
