from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop_converters.runs import list_runs, read_run, record_run, runs_folder, track_in_mlflow

FACTS = {
    "name": "digits",
    "created": "2026-01-02T03:04:05+00:00",
    "recipe": {"name": "int8", "seed": 0},
    "metrics": {"accuracy": 0.9},
}


def test_runs_are_listed_in_the_order_of_their_making(tmp_path) -> None:
    first = record_run(tmp_path, FACTS)
    second = record_run(tmp_path, FACTS)
    later = record_run(tmp_path, {**FACTS, "created": "2026-02-01T00:00:00+00:00"})
    assert (first, second) == ("20260102-030405-digits-1", "20260102-030405-digits-2")
    assert [run for run, _ in list_runs(tmp_path)] == [first, second, later]
    assert read_run(tmp_path, first) == FACTS
    assert read_run(tmp_path, "digits-2") == FACTS


def test_a_run_that_is_not_there_or_not_one_is_refused(tmp_path) -> None:
    assert list_runs(tmp_path / "nowhere") == []
    record_run(tmp_path, FACTS)
    record_run(tmp_path, {**FACTS, "created": "2026-02-01T00:00:00+00:00"})
    with pytest.raises(ConfigError, match="0 runs"):
        read_run(tmp_path, "other")
    with pytest.raises(ConfigError, match="2 runs"):
        read_run(tmp_path, "digits-1")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match=r"broken\.json: not a recorded run"):
        read_run(tmp_path, "broken")


def test_the_folder_is_the_one_that_was_asked_for(monkeypatch) -> None:
    monkeypatch.delenv("EDGELOOP_RUNS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert runs_folder() == Path("/state/edgeloop/runs")
    monkeypatch.setenv("EDGELOOP_RUNS", "/mine")
    assert runs_folder() == Path("/mine")
    assert runs_folder("/this") == Path("/this")


def test_mlflow_is_asked_only_where_its_uri_is_set(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert track_in_mlflow(FACTS, []) is False
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"edgeloop\[mlflow\]"):
        track_in_mlflow(FACTS, [])
