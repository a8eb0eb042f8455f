"""Ingest over real brokers: exactly once by identity, acknowledged after the commit and never before."""

from __future__ import annotations

import os
import queue
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgeloop.errors import BrokerError, ConfigError
from edgeloop.link import Link
from edgeloop.messages import encode
from edgeloop.topics import ROOT, DeviceTopics, shard_of
from edgeloop_fleet.errors import LakeError
from edgeloop_fleet.ingest import Ingester
from edgeloop_fleet.lake import Lake
from fleet_devices import FakeDevice, birth, event, profile, sample


def ingester(url: str, lake: Lake, name: str, **options: object) -> Ingester:
    return Ingester(url, lake, shards=[shard_of(name)], client_id=f"ingest-{name}", batch_s=0.05, **options)


def stored(lake: Lake, table: str, device: str) -> list[int]:
    rows = lake.read(table, ["device", "seq"], f"device = '{device}'")
    return sorted(rows["seq"].to_pylist())


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_what_is_redelivered_is_stored_once_and_acknowledged_again(device: FakeDevice, broker_url: str, lake: Lake):
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        messages = [sample(device.name, 1), profile(device.name, 2, [3, 4], 7), event(device.name, 3, reason="power")]
        device.send(*messages)
        device.wait_acked({1, 2, 3})
        device.send(*messages, sample(device.name, 4))
        assert device.wait_acked({1, 2, 3, 4}) == {1, 2, 3, 4}
        assert stored(lake, "samples", device.name) == [1, 4]
        assert stored(lake, "profiles", device.name) == [2]
        assert stored(lake, "events", device.name) == [3]
        assert (ingest.counters.stored, ingest.counters.duplicates) == (4, 3)


def test_the_acknowledgement_comes_after_the_commit(broker_url: str, lake: Lake, name: str):
    found: list[bool] = []

    class Looking(FakeDevice):
        def _on_message(self, client, data, message):
            super()._on_message(client, data, message)
            ack = self.acks.queue[-1]
            there = set(stored(Lake(lake.uri), "samples", self.name))
            found.append(all(seq in there for first, last in ack.ranges for seq in range(first, last + 1)))

    with Looking(broker_url, name) as device, ingester(broker_url, lake, name, batch_rows=3) as ingest:
        ingest.wait_connected()
        device.send(*(sample(name, seq) for seq in range(1, 11)))
        device.wait_acked(set(range(1, 11)))
    assert found
    assert all(found)


def test_a_new_ingest_knows_what_an_earlier_one_committed(device: FakeDevice, broker_url: str, lake: Lake):
    for again in range(2):
        with ingester(broker_url, Lake(lake.uri), device.name) as ingest:
            ingest.wait_connected()
            device.send(*(sample(device.name, seq) for seq in (1, 2, 5, 9)))
            device.wait_acked({1, 2, 5, 9})
            assert ingest.counters.duplicates == 4 * again
    assert stored(lake, "samples", device.name) == [1, 2, 5, 9]


def test_messages_sent_while_ingest_is_away_wait_in_its_session(device: FakeDevice, broker_url: str, lake: Lake):
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
    device.send(sample(device.name, 1))
    with ingester(broker_url, lake, device.name):
        device.wait_acked({1})
    assert stored(lake, "samples", device.name) == [1]


def test_a_failed_commit_is_not_acknowledged_and_is_tried_again(device: FakeDevice, broker_url: str, tmp_path: Path):
    class Failing(Lake):
        failures = 3

        def append(self, table, rows, **options):
            if table == "samples" and self.failures:
                self.failures -= 1
                raise LakeError("the disk is full")
            return super().append(table, rows, **options)

    lake = Failing(tmp_path / "lake")
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        device.send(profile(device.name, 1, [1], 1), sample(device.name, 2))
        device.wait_acked({1, 2})
    assert lake.failures == 0
    assert (stored(lake, "profiles", device.name), stored(lake, "samples", device.name)) == ([1], [2])


def test_a_commit_whose_answer_was_lost_is_not_repeated(device: FakeDevice, broker_url: str, tmp_path: Path):
    class Forgetful(Lake):
        lost = False

        def append(self, table, rows, **options):
            version = super().append(table, rows, **options)
            if not self.lost:
                self.lost = True
                raise LakeError("the connection to the storage ended")
            return version

    lake = Forgetful(tmp_path / "lake")
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        device.send(sample(device.name, 1))
        device.wait_acked({1})
    assert lake.lost
    assert stored(lake, "samples", device.name) == [1]


def test_two_ingests_of_the_same_shard_store_each_row_once(broker_url: str, lake: Lake, name: str):
    with (
        FakeDevice(broker_url, name) as device,
        Ingester(broker_url, Lake(lake.uri), shards=[shard_of(name)], client_id=f"a-{name}", batch_s=0.02) as first,
        Ingester(broker_url, Lake(lake.uri), shards=[shard_of(name)], client_id=f"b-{name}", batch_s=0.03) as second,
    ):
        first.wait_connected()
        second.wait_connected()
        for seq in range(1, 41):
            device.send(sample(name, seq))
        device.wait_acked(set(range(1, 41)))
        wait_until(lambda: all(i.counters.received == 40 for i in (first, second)))
        assert first.counters.stored + second.counters.stored == 40
        assert first.counters.duplicates + second.counters.duplicates == 40
    assert stored(lake, "samples", name) == list(range(1, 41))


KILLED_BETWEEN_TABLES = """
    import os, signal, sys, time
    from edgeloop.topics import shard_of
    from edgeloop_fleet.ingest import Ingester
    from edgeloop_fleet.lake import Lake

    class Killed(Lake):
        def append(self, table, rows, **options):
            if table == "samples":
                os.kill(os.getpid(), signal.SIGKILL)
            return super().append(table, rows, **options)

    url, uri, name = sys.argv[1:]
    with Ingester(url, Killed(uri), shards=[shard_of(name)], client_id=f"ingest-{name}", batch_s=0.3) as ingest:
        ingest.wait_connected()
        print("ready", flush=True)
        time.sleep(60)
"""


def test_sigkill_between_two_tables_of_a_batch_loses_nothing_and_doubles_nothing(
    device: FakeDevice, broker_url: str, lake: Lake
):
    command = [sys.executable, "-c", textwrap.dedent(KILLED_BETWEEN_TABLES), broker_url, lake.uri, device.name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        outbox = [profile(device.name, 1, [1, 2], 3), sample(device.name, 2), event(device.name, 3)]
        device.send(*outbox)
        assert child.wait(20) == -signal.SIGKILL
    assert stored(lake, "profiles", device.name) == [1]
    assert stored(lake, "samples", device.name) == []
    assert device.acks.empty()
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        device.send(*outbox)
        device.wait_acked({1, 2, 3})
    assert [stored(lake, t, device.name) for t in ("profiles", "samples", "events")] == [[1], [2], [3]]


def test_garbage_is_kept_aside_with_its_reason_and_the_rest_goes_on(device: FakeDevice, broker_url: str, lake: Lake):
    rng = random.Random(7)
    up = device.topics.up
    nan = encode(profile(device.name, 8, [1], 1))
    garbage = [
        (up("sample"), b""),
        (up("sample"), rng.randbytes(9000)),
        (up("event"), b"{" * 2000),
        (up("event"), b'{"kind": "event"}'),
        (up("sample"), encode(sample("another-device", 3))),
        (up("unheardof"), b"x"),
        (up("event"), encode(event(device.name, 0))),
        (up("profile"), nan[:-3]),
        (device.topics.state, b"not a state"),
        (device.topics.state, encode(birth("another-device", 1))),
    ]
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        for topic, payload in garbage:
            device.publish(topic, payload)
        device.send(sample(device.name, 1, time_s=float("nan")), event(device.name, 2, big=2**80))
        device.wait_acked({1, 2})
        wait_until(lambda: ingest.counters.quarantined == len(garbage))
        assert ingest.devices.snapshot() == {}
    rows = lake.read("quarantine").to_pylist()
    assert sorted(row["topic"] for row in rows) == sorted(topic for topic, _ in garbage)
    assert max(len(row["payload"]) for row in rows) == 4096
    assert max(row["size_bytes"] for row in rows) == 9000
    assert all(row["reason"] for row in rows)
    assert any("another-device" in row["reason"] for row in rows)
    assert lake.read("samples", ["time"])["time"].to_pylist() == [None]


def test_a_message_in_the_wrong_shard_is_kept_aside(broker_url: str, lake: Lake, name: str):
    wrong = (shard_of(name) + 1) % 16
    with (
        FakeDevice(broker_url, name) as device,
        Ingester(broker_url, lake, shards=[wrong], client_id=f"w-{name}", batch_s=0.01) as ingest,
    ):
        ingest.wait_connected()
        device.publish(f"{ROOT}/{wrong:02d}/{name}/up/sample", encode(sample(name, 1)))
        wait_until(lambda: ingest.counters.quarantined == 1)
    assert "belongs to shard" in lake.read("quarantine")["reason"][0].as_py()


def test_what_never_will_validate_is_acknowledged_so_that_the_outbox_moves_on(
    device: FakeDevice, broker_url: str, lake: Lake
):
    poison = msgspec.msgpack.encode({"kind": "sample", "device": device.name, "epoch": 1, "seq": 6, "ref": 5})
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        for _ in range(2):
            device.publish(device.topics.up("sample"), poison)
            device.wait_acked({6})
    assert stored(lake, "quarantine", device.name) == [6]


def test_a_will_of_an_older_boot_does_not_put_a_device_offline(broker_url: str, lake: Lake, name: str):
    with FakeDevice(broker_url, name) as device, ingester(broker_url, lake, name) as ingest:
        ingest.wait_connected()
        device.send_state(birth(name, 5))
        wait_until(lambda: name in ingest.devices.snapshot())
        device.send_state(birth(name, 4, online=False))
        device.send(event(name, 1))
        device.wait_acked({1})
        assert ingest.devices.snapshot()[name].online
        device.send_state(birth(name, 5, online=False, model=None))
        assert ingest.devices.wait(lambda states: not states[name].online, 10)
    rows = lake.read("devices").sort_by("ingested").to_pylist()
    assert [(row["epoch"], row["online"], row["model_version"]) for row in rows] == [(5, True, 1), (5, False, 1)]


def test_a_device_that_dies_is_offline_by_its_will(broker_url: str, lake: Lake, name: str):
    with ingester(broker_url, lake, name) as ingest:
        ingest.wait_connected()
        with FakeDevice(broker_url, name, will=birth(name, 1, online=False)) as device:
            device.send_state(birth(name, 1))
            assert ingest.devices.wait(lambda states: name in states and states[name].online, 10)
            device.client.socket().shutdown(2)
            assert ingest.devices.wait(lambda states: not states[name].online, 10)


def test_ingest_comes_back_after_its_connection_was_taken(device: FakeDevice, broker_url: str, lake: Lake):
    with ingester(broker_url, lake, device.name) as ingest:
        ingest.wait_connected()
        with Link(broker_url, f"ingest-{device.name}", session_s=3600) as thief:
            thief.wait_connected()
        device.send(sample(device.name, 1))
        device.wait_acked({1})


def test_no_broker_is_said_with_its_address(lake: Lake):
    with Ingester("mqtt://127.0.0.1:9", lake) as ingest, pytest.raises(BrokerError, match=r"127\.0\.0\.1:9.*refused"):
        ingest.wait_connected(0.5)


@pytest.mark.parametrize("shards", [[], [16], [-1, 2]])
def test_a_shard_that_there_is_not_is_refused(lake: Lake, shards: list[int]):
    with pytest.raises(ConfigError, match="shards"):
        Ingester("mqtt://127.0.0.1:9", lake, shards=shards)


def test_the_acknowledgement_of_one_device_goes_to_no_other(broker_url: str, lake: Lake, name: str):
    other = next(n for n in (f"{name}-{i}" for i in range(1000)) if shard_of(n) == shard_of(name))
    with (
        FakeDevice(broker_url, name) as mine,
        FakeDevice(broker_url, other) as theirs,
        ingester(broker_url, lake, name) as ingest,
    ):
        ingest.wait_connected()
        mine.send(event(name, 1))
        theirs.send(event(other, 2))
        assert mine.wait_acked({1}) == {1}
        assert theirs.wait_acked({2}) == {2}
        with pytest.raises(queue.Empty):
            mine.acks.get(timeout=0.2)
    assert DeviceTopics(name).ack != DeviceTopics(other).ack
