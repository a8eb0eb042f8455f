"""The lake: pinned schemas, one winner of a race, and reading that ends in a clean exit."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest

from edgeloop.errors import MissingExtraError
from edgeloop.messages import pack_array
from edgeloop_fleet.errors import LakeError, LostRaceError
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rows import message_rows, table_of
from edgeloop_fleet.schemas import SCHEMAS
from fleet_devices import event, profile, sample

NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)


def rows(*seqs: int, device: str = "cam-1") -> pa.Table:
    return message_rows([sample(device, s) for s in seqs], NOW)


@pytest.mark.parametrize("message", [sample("a", 1), profile("a", 2, [1, 2**40], 3), event("a", 3, why="ünïcode")])
def test_a_message_comes_back_from_its_table_as_it_went_in(lake: Lake, message):
    table = table_of(message)
    rows = message_rows([message], NOW)
    (row,) = rows.to_pylist()
    lake.append(table, rows)
    (back,) = lake.read(table).to_pylist()
    assert set(back) == set(SCHEMAS[table].names)
    assert row == back
    assert (back["device"], back["epoch"], back["seq"]) == (message.device, message.epoch, message.seq)
    body = {"samples": "output_data", "profiles": "counts", "events": "detail"}[table]
    assert back[body] in (pack_array(np.full(10, 0.1, dtype=np.float32)).data, [1, 2**40], '{"why":"ünïcode"}')


def test_a_table_that_is_not_there_yet_reads_as_empty_with_its_types(lake: Lake):
    for table, schema in SCHEMAS.items():
        assert lake.read(table).schema.types == schema.types
        assert lake.read(table).num_rows == 0


def test_reading_takes_columns_and_a_predicate(lake: Lake):
    lake.append("samples", rows(1, 2, 3))
    lake.append("samples", rows(4, device="cam-2"))
    found = lake.read("samples", ["seq", "device"], "device = 'cam-1' AND seq >= 2")
    assert sorted(found["seq"].to_pylist()) == [2, 3]
    assert found.column_names == ["seq", "device"]
    with pytest.raises(LakeError, match="samples"):
        lake.read("samples", where="no such column > 1")


def test_a_version_is_committed_once(lake: Lake):
    lake.append("samples", rows(1), transactions={"ingest/01": 1})
    assert lake.transaction_version("samples", "ingest/01") == 1
    assert lake.transaction_version("samples", "ingest/02") == 0
    with pytest.raises(LostRaceError, match="ingest/01"):
        lake.append("samples", rows(1), transactions={"ingest/02": 1, "ingest/01": 1})
    assert lake.transaction_version("samples", "ingest/02") == 0
    assert lake.read("samples").num_rows == 1


def test_of_two_writers_that_have_read_the_same_version_one_loses(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    lake.append("samples", rows(1), transactions={"ingest/01": 1})
    late, early = Lake(lake.uri), Lake(lake.uri)
    late.transaction_version("samples", "ingest/01")
    # The late one doesn't look again before it commits: what only Delta's own check can catch.
    monkeypatch.setattr(late, "_open", lambda table, create: late._handles[table])
    early.append("samples", rows(2), transactions={"ingest/01": 2})
    with pytest.raises(LostRaceError, match="faster"):
        late.append("samples", rows(2), transactions={"ingest/01": 2})
    assert sorted(lake.read("samples")["seq"].to_pylist()) == [1, 2]


def test_writers_of_different_shards_do_not_disturb_each_other(lake: Lake):
    others = [Lake(lake.uri) for _ in range(3)]
    for version in range(1, 4):
        for i, other in enumerate(others):
            other.append("samples", rows(10 * i + version), transactions={f"ingest/0{i}": version})
    assert lake.read("samples").num_rows == 9


def test_compaction_joins_files_and_keeps_rows_and_versions(lake: Lake):
    for seq in range(1, 9):
        lake.append("samples", rows(seq), transactions={"ingest/01": seq})
    assert lake.files("samples") == 8
    lake.compact("samples", retention_hours=0)
    assert lake.files("samples") == 1
    assert lake.transaction_version("samples", "ingest/01") == 8
    assert sorted(lake.read("samples")["seq"].to_pylist()) == list(range(1, 9))
    assert sorted(Lake(lake.uri).read("samples")["seq"].to_pylist()) == list(range(1, 9))


def test_daft_reads_the_same_rows(lake: Lake):
    pytest.importorskip("daft", reason="the [cluster] extra isn't installed")
    with pytest.raises(LakeError, match="nothing was committed"):
        lake.daft("samples")
    lake.append("samples", rows(1, 2, 3))
    frame = lake.daft("samples")
    assert sorted(frame.where(frame["seq"] > 1).select("seq").to_pydict()["seq"]) == [2, 3]


def test_without_daft_the_extra_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "daft", None)
    with pytest.raises(MissingExtraError, match=r"edgeloop\[cluster\]"):
        lake.daft("samples")


def test_a_process_that_has_read_ends_cleanly(lake: Lake):
    lake.append("samples", rows(1))
    code = f"from edgeloop_fleet.lake import Lake; print(Lake({lake.uri!r}).read('samples').num_rows)"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=False,
            text=True,
        )
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_a_lake_that_can_not_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(LakeError, match="file"):
        Lake(tmp_path / "file").append("samples", rows(1))


def test_an_unknown_table_is_refused(lake: Lake):
    with pytest.raises(ValueError, match="no table 'sample'"):
        lake.read("sample")
