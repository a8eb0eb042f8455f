"""The lake on object storage: the same code, a real S3 protocol, and two writers at once."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timezone

import pyarrow as pa
import pytest

from edgeloop.topics import SHARDS, shard_of
from edgeloop_fleet.devices import load_devices
from edgeloop_fleet.errors import LakeError, LostRaceError
from edgeloop_fleet.ingest import Ingester
from edgeloop_fleet.labels import add_labels, label_queue, labelled_set
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.records import last_records, record
from edgeloop_fleet.rows import message_rows
from fleet_devices import FakeDevice, birth, sample
from s3_server import BUCKET, s3_server

_LAKES = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def lake(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose keys and endpoint are in the environment, as a service has them."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return Lake(f"s3://{BUCKET}/lake-{next(_LAKES)}")


def rows(*seqs: int) -> pa.Table:
    now = datetime.now(timezone.utc)
    return message_rows([sample("cam-1", s) for s in seqs], now)


def test_what_devices_send_is_stored_once_by_two_processes_worth_of_ingest(mosquitto_url: str, name: str, lake: Lake):
    names = [name, f"{name}-b", f"{name}-c"]
    shards = sorted({shard_of(device) for device in names})
    others = [s for s in range(SHARDS) if s not in shards]
    groups = [shards[:1], shards[1:] or others[:1]]
    for attempt in range(2):  # the second time all are duplicates, of which a new process learns from the lake
        ingesters = [
            Ingester(mosquitto_url, Lake(lake.uri), shards=group, client_id=f"s3-{name}-{i}", batch_s=0.02)
            for i, group in enumerate(groups)
        ]
        with ingesters[0] as first, ingesters[1] as second:
            first.wait_connected()
            second.wait_connected()
            for device_name in names:
                with FakeDevice(mosquitto_url, device_name) as device:
                    device.send_state(birth(device_name, 1))
                    device.send(*(sample(device_name, seq) for seq in range(1, 6)))
                    device.wait_acked(set(range(1, 6)))
        stored = sum(i.counters.stored for i in ingesters)
        assert stored == (15 if attempt == 0 else 0)
    table = lake.read("samples", ("device", "seq"))
    assert sorted(zip(*(table[c].to_pylist() for c in ("device", "seq")), strict=True)) == [
        (device, seq) for device in sorted(names) for seq in range(1, 6)
    ]
    assert set(load_devices(lake).snapshot()) == set(names)


def test_writers_at_the_same_time_lose_no_commit(lake: Lake):
    lake.append("samples", rows(1))
    failures: list[Exception] = []

    def write(shard: int) -> None:
        own = Lake(lake.uri)
        for version in range(1, 7):
            try:
                own.append("samples", rows(100 * shard + version), transactions={f"ingest/{shard:02d}": version})
            except LakeError as error:
                failures.append(error)

    threads = [threading.Thread(target=write, args=(shard,)) for shard in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    wanted = [1, *(100 * shard + version for shard in range(1, 4) for version in range(1, 7))]
    assert sorted(lake.read("samples")["seq"].to_pylist()) == wanted


def test_of_two_writers_of_one_shard_one_loses(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    lake.append("samples", rows(1), transactions={"ingest/01": 1})
    late, early = Lake(lake.uri), Lake(lake.uri)
    late.transaction_version("samples", "ingest/01")
    monkeypatch.setattr(late, "_open", lambda table, create: late._handles[table])
    early.append("samples", rows(2), transactions={"ingest/01": 2})
    with pytest.raises(LostRaceError, match="faster"):
        late.append("samples", rows(2), transactions={"ingest/01": 2})
    assert sorted(lake.read("samples")["seq"].to_pylist()) == [1, 2]


def test_labels_records_and_compaction_work_there_too(lake: Lake):
    for seq in (1, 2, 3):
        lake.append("samples", rows(seq), transactions={"ingest/01": seq})
    first = label_queue(lake)[0]
    add_labels(lake, {first.identity: 7}, annotator="me")
    assert labelled_set(lake)[1].tolist() == [7]
    record(lake, "alarm", "a1", "open", {"x": 1})
    assert last_records(lake, "alarm")["a1"][0] == "open"
    lake.compact("samples", retention_hours=0)
    assert lake.files("samples") == 1
    assert Lake(lake.uri).transaction_version("samples", "ingest/01") == 3
    assert sorted(Lake(lake.uri).read("samples")["seq"].to_pylist()) == [1, 2, 3]


def test_daft_reads_it_with_keys_of_its_own(lake: Lake, server: dict[str, str]):
    daft = pytest.importorskip("daft", reason="the [cluster] extra isn't installed")
    lake.append("samples", rows(1, 2, 3))
    config = daft.io.S3Config(
        endpoint_url=server["AWS_ENDPOINT_URL"],
        key_id=server["AWS_ACCESS_KEY_ID"],
        access_key=server["AWS_SECRET_ACCESS_KEY"],
        region_name=server["AWS_REGION"],
        use_ssl=False,
    )
    frame = lake.daft("samples", daft.io.IOConfig(s3=config))
    assert sorted(frame.where(frame["seq"] > 1).select("seq").to_pydict()["seq"]) == [2, 3]


def test_a_store_that_is_not_there_is_one_line_without_the_key(
    server: dict[str, str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    options = server | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "max_retries": "1"}
    with pytest.raises(LakeError) as caught:
        Lake(f"s3://{BUCKET}/lake", options).append("samples", rows(1))
    said = str(caught.value)
    assert said.startswith(f"s3://{BUCKET}/lake/samples: ")
    assert "\n" not in said
    assert "\x1b" not in said
    assert server["AWS_SECRET_ACCESS_KEY"] not in said + caplog.text
