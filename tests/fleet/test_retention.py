"""Deleting samples, and joining files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from brokers import mosquitto
from edgeloop.errors import ConfigError
from edgeloop.messages import encode
from edgeloop.topics import DeviceTopics, shard_of
from edgeloop_fleet.commit import Committer
from edgeloop_fleet.devices import Devices
from edgeloop_fleet.inbox import Received
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.retention import Caretaker, forget
from edgeloop_fleet.rows import message_rows
from fleet_devices import sample

NOW = datetime.now(timezone.utc)


def store(lake: Lake, device: str, *seqs: int, age_days: int = 0) -> None:
    when = NOW - timedelta(days=age_days)
    lake.append("samples", message_rows([sample(device, seq) for seq in seqs], when))


def stored(lake: Lake) -> list[tuple[str, int]]:
    rows = lake.read("samples", ["device", "seq"])
    return sorted(zip(rows["device"].to_pylist(), rows["seq"].to_pylist(), strict=True))


def test_one_device_s_samples_are_erased_from_the_disk(lake: Lake):
    store(lake, "cam-1", 1, 2)
    store(lake, "cam-2", 3)
    assert forget(lake, device="cam-1") == {"samples": 2, "quarantine": 0}
    assert stored(lake) == [("cam-2", 3)]
    left = b"".join(path.read_bytes() for path in Path(lake.uri).rglob("samples/*/*.parquet"))
    assert b"digits/3" in left
    assert b"digits/1" not in left


def test_samples_go_by_age(lake: Lake):
    store(lake, "cam-1", 1, age_days=9)
    store(lake, "cam-1", 2, age_days=1)
    assert forget(lake, before=(NOW - timedelta(days=5)).date())["samples"] == 1
    assert stored(lake) == [("cam-1", 2)]


def test_what_was_forgotten_is_acknowledged_and_does_not_come_back(lake: Lake):
    store(lake, "cam-1", 1, 2, 3)
    forget(lake, device="cam-1")
    committer = Committer(lake, [shard_of("cam-1")], Devices(), lambda: NOW)
    topic = DeviceTopics("cam-1").up("sample")
    batch = [Received(topic, encode(sample("cam-1", seq))) for seq in (2, 3, 4)]
    ((device, ack),) = committer.store(batch)
    assert (device, ack.ranges) == ("cam-1", ((2, 4),))
    assert stored(lake) == [("cam-1", 4)]
    assert committer.counters.duplicates == 2


def test_what_to_forget_must_be_said(lake: Lake):
    with pytest.raises(ConfigError, match="whose"):
        forget(lake)
    with pytest.raises(ConfigError, match="device name"):
        forget(lake, device="x' OR 1=1 --")
    assert forget(lake, before=date(2020, 1, 1)) == {"samples": 0, "quarantine": 0}


def test_the_caretaker_joins_files_and_deletes_what_is_too_old(lake: Lake):
    for seq in range(1, 9):
        store(lake, "cam-1", seq)
    store(lake, "cam-1", 9, age_days=40)
    Caretaker(lake, keep_days=30).tidy()
    assert lake.files("samples") == 1
    assert [seq for _, seq in stored(lake)] == list(range(1, 9))


@pytest.mark.parametrize("command", ["INGEST", "CENTRE"])
def test_whoever_ingests_takes_care_of_the_lake(command: str, lake: Lake, tmp_path: Path):
    store(lake, "cam-1", 1, age_days=40)
    code = (
        f"import argparse, sys; from edgeloop_fleet.commands import {command}; p = argparse.ArgumentParser(); "
        f"{command}.configure(p); {command}.run(p.parse_args(sys.argv[1:]))"
    )
    arguments = ["--lake", lake.uri, "--tidy-every", "0.0001", "--keep-samples", "30"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        mosquitto(tmp_path) as broker,  # its own, since both leave a session for all shards there
        subprocess.Popen([sys.executable, "-c", code, "--broker", broker.url, *arguments], env=environment) as child,
    ):
        end_s = time.monotonic() + 60
        while stored(Lake(lake.uri)) and time.monotonic() < end_s:
            time.sleep(0.1)
        child.terminate()
    assert stored(Lake(lake.uri)) == []
    assert child.returncode == 0
