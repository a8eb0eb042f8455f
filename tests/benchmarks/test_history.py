"""The append-only history, and the series in it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgeloop.errors import DataError
from edgeloop_bench.history import append, read_history, series_of
from edgeloop_bench.result import BenchResult

Make = Callable[..., BenchResult]


def test_runs_come_back_in_the_order_of_time(synthetic: Make, tmp_path: Path) -> None:
    early, late = synthetic(1, at=0.1), synthetic(2, at=0.2)
    for run in (late, early, late):
        append(tmp_path / "h.jsonl", run)
    found = read_history(tmp_path / "h.jsonl")
    assert found.results == (early, late)
    assert found.problems == ()


def test_nothing_that_stands_there_is_touched(synthetic: Make, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, synthetic(1))
    before = path.read_bytes()
    append(path, synthetic(2))
    assert path.read_bytes().startswith(before)


def test_torn_last_line_is_told_and_what_follows_is_whole(synthetic: Make, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append(path, synthetic(1))
    with path.open("ab") as file:
        file.write(msgspec.json.encode(synthetic(2))[:300])
    torn = read_history(path)
    assert torn.results == (synthetic(1),)
    assert "line 2" in torn.problems[0]
    assert "torn" in torn.problems[0]
    append(path, synthetic(3, at=0.5))
    found = read_history(path)
    assert found.results == (synthetic(1), synthetic(3, at=0.5))
    assert len(found.problems) == 1


def test_file_that_is_no_history_is_not_added_to(synthetic: Make, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3 is here")
    with pytest.raises(DataError, match="no history"):
        append(path, synthetic())
    assert path.read_bytes() == b"TFL3 is here"


def _append_some(path: Path, runs: list[BenchResult]) -> None:
    for run in runs:
        append(path, run)


def test_several_processes_add_at_once_and_no_line_is_mixed(synthetic: Make, tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    runs = [[synthetic(100 * p + i) for i in range(20)] for p in range(4)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_some, args=(path, its)) for its in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = read_history(path)
    assert found.problems == ()
    assert {run.id for run in found.results} == {run.id for its in runs for run in its}


def test_devices_never_share_a_series_nor_do_settings(synthetic: Make) -> None:
    runs = [synthetic(i, board=i % 2, models=(0,), at=i / 100) for i in range(10)]
    reference = synthetic(11, models=(0,), at=0.5)
    settings = msgspec.structs.replace(reference.settings, kernels="reference")
    series = series_of([*runs, msgspec.structs.replace(reference, settings=settings)])
    assert sorted(len(s.points) for s in series) == [1, 5, 5]
    assert len({s.device for s in series}) == 2


def test_step_is_found_and_what_was_new_on_the_machine_is_named(synthetic: Make) -> None:
    runs = [synthetic(i, models=(0,), at=0.6 + i / 200, slower=1.15 if i >= 20 else 1.0) for i in range(40)]
    (series,) = series_of(runs)
    (change,) = series.changes
    assert change.index == 20
    assert "ai-edge-litert 2.1.0 → 2.3.0" in series.trusted[20].note


def test_runs_that_are_not_valid_do_not_count(synthetic: Make) -> None:
    runs = [synthetic(i, models=(0,), at=i / 100, slower=2.0 if i >= 20 else 1.0) for i in range(40)]
    doubted = [
        msgspec.structs.replace(run, verdict=msgspec.structs.replace(run.verdict, valid=i < 20))
        for i, run in enumerate(runs)
    ]
    (series,) = series_of(doubted)
    assert len(series.points) == 40
    assert series.changes == ()
