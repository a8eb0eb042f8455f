"""Sinks: what they keep, and that what they can't keep is counted and stops nothing."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import ConfigError, DataError
from edgeloop.runtime import Prediction, Runtime
from edgeloop.sinks import Callback, CallbackSink, Fanout, JsonLinesSink, SqliteSink
from edgeloop.sources import SourceItem
from edgeloop.stream import run_stream

X = np.array([0, 1, 0, 0], np.float32)


@pytest.fixture(scope="module")
def runtime(make_artifact) -> Runtime:
    return Runtime(make_artifact())


@pytest.fixture(scope="module")
def prediction(runtime: Runtime) -> Prediction:
    return runtime.run(X)


def test_json_lines_are_appended(tmp_path: Path, runtime: Runtime, prediction: Prediction) -> None:
    for ref in ("a", "b"):
        sink = JsonLinesSink(str(tmp_path / "p.jsonl"))
        sink.write(ref, prediction, runtime)
        sink.close()
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [(line["ref"], line["label"], line["version"]) for line in lines] == [("a", "b", 1), ("b", "b", 1)]


def test_a_full_disk_is_counted_and_the_stream_goes_on(tmp_path: Path, runtime: Runtime) -> None:
    full, good = JsonLinesSink("/dev/full"), JsonLinesSink(str(tmp_path / "p.jsonl"))
    report = run_stream(runtime, (SourceItem(X, str(i)) for i in range(1000)), Fanout([full, good]))
    full.close()
    good.close()
    assert (report.inferences, report.lost, full.lost, good.lost) == (1000, 1000, 1000, 0)
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 1000


def test_a_line_that_was_cut_off_does_not_spoil_the_next(
    tmp_path: Path, runtime: Runtime, prediction: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonLinesSink(str(tmp_path / "p.jsonl"))
    real = os.write
    calls: list[int] = []

    def fills_up(fd: int, data: memoryview) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(fd, data[:10])

    sink.write("lost", prediction, runtime)
    with monkeypatch.context() as patch:
        patch.setattr("edgeloop.sinks.jsonl.os.write", fills_up)
        sink.flush()
    sink.write("kept", prediction, runtime)
    sink.close()
    lines = (tmp_path / "p.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["ref"] == "kept"
    assert sink.lost == 1


def test_sqlite_keeps_rows_over_runs(tmp_path: Path, runtime: Runtime) -> None:
    for _ in range(2):
        sink = SqliteSink(str(tmp_path / "p.db"))
        run_stream(runtime, (SourceItem(X, str(i)) for i in range(300)), sink)
        sink.close()
    with sqlite3.connect(tmp_path / "p.db") as db:
        rows = db.execute("SELECT ref, model, version, class, label, output FROM predictions ORDER BY id").fetchall()
    db.close()
    assert len(rows) == 600
    assert rows[-1] == ("299", "tiny", 1, 1, "b", None)


def test_sqlite_keeps_the_output_of_what_is_no_classifier(tmp_path: Path, make_artifact) -> None:
    sink = SqliteSink(str(tmp_path / "p.db"))
    with Runtime(make_artifact(task="regression", labels=())) as runtime:
        output = runtime.run(X).output
        sink.write("r", runtime.run(X), runtime)
    sink.close()
    db = sqlite3.connect(tmp_path / "p.db")
    (row,) = db.execute("SELECT class, output FROM predictions").fetchall()
    db.close()
    assert row[0] is None
    assert json.loads(row[1]) == pytest.approx(output.tolist())


def test_a_full_database_is_counted_and_stops_nothing(tmp_path: Path, runtime: Runtime) -> None:
    sink = SqliteSink(str(tmp_path / "p.db"))
    sink._db.execute("PRAGMA max_page_count=4")
    report = run_stream(runtime, (SourceItem(X, "x" * 200) for _ in range(1024)), sink)
    assert report.inferences == 1024
    assert 0 < report.lost <= 1024
    (kept,) = sink._db.execute("SELECT count(*) FROM predictions").fetchone()
    assert kept + report.lost == 1024
    sink.close()


def test_what_is_no_database_or_has_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"hello" * 1000)
    with pytest.raises(DataError, match=r"x\.db"):
        SqliteSink(str(tmp_path / "x.db"))
    with sqlite3.connect(tmp_path / "y.db") as db:
        db.execute("CREATE TABLE predictions (mine TEXT)")
    db.close()
    with pytest.raises(DataError, match="no column named"):
        SqliteSink(str(tmp_path / "y.db"))
    with pytest.raises(DataError, match="none/z"):
        SqliteSink(str(tmp_path / "none/z.db"))


def test_a_callback_that_raises_is_counted(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    def fails(ref: str, _: Prediction) -> None:
        raise KeyError(ref)

    report = run_stream(runtime, (SourceItem(X, str(i)) for i in range(5)), CallbackSink(fails))
    assert (report.inferences, report.lost) == (5, 5)
    assert caplog.text.count("Traceback") == 1


def test_a_callback_is_found_by_name() -> None:
    assert Callback("json:dumps").open("cam-1")
    for call in ("json", "json:nothing", "no.such.module:f"):
        with pytest.raises(ConfigError, match="module:function"):
            Callback(call).open("cam-1")
