"""The lake's small files are joined while others write, and nothing is lost by it."""

from __future__ import annotations

import threading
from datetime import datetime, timezone

import pytest

from edgeloop_fleet.errors import LakeError
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.retention import Caretaker
from edgeloop_fleet.rows import message_rows
from fleet_devices import profile


def append(lake: Lake, seq: int, shard: int = 1) -> None:
    rows = message_rows([profile(f"cam-{shard}", seq, [1], 1)], datetime.now(timezone.utc))
    lake.append("profiles", rows, transactions={f"ingest/{shard:02d}": seq})


def test_files_that_have_become_many_are_joined(lake: Lake):
    caretaker = Caretaker(lake)
    found = []
    for seq in range(1, 10):
        append(lake, seq)
        caretaker.join(more_than=3)
        found.append(lake.files("profiles"))
    assert found == [1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert sorted(lake.read("profiles")["seq"].to_pylist()) == list(range(1, 10))
    assert lake.transaction_version("profiles", "ingest/01") == 9


def test_others_go_on_writing_meanwhile(lake: Lake):
    append(lake, 1, shard=0)
    failures: list[Exception] = []

    def write(shard: int) -> None:
        own = Lake(lake.uri)
        try:
            for seq in range(1, 16):
                append(own, seq, shard)
        except LakeError as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(shard,)) for shard in (1, 2)]
    for writer in writers:
        writer.start()
    caretaker = Caretaker(lake)
    while any(writer.is_alive() for writer in writers):
        caretaker.join()
    for writer in writers:
        writer.join()
    caretaker.join()
    assert failures == []
    assert lake.files("profiles") == 1
    assert lake.read("profiles").num_rows == 31


def test_a_failure_is_left_for_the_next_time(lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog):
    def fail(_lake: Lake, table: str) -> None:
        raise LakeError(f"{table}: joined by another process already")

    append(lake, 1)
    append(lake, 2)
    monkeypatch.setattr(Lake, "compact", fail)
    Caretaker(lake).join()
    assert "joined by another process" in caplog.text
