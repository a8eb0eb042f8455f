from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop_converters.runs import list_runs, read_run, record_run, runs_folder, track_in_mlflow
from edgeloop_converters.runs_table import brief, differences, table_of

FACTS = {
    "name": "digits",
    "created": "2026-01-02T03:04:05+00:00",
    "recipe": {
        "name": "p",
        "seed": 3,
        "steps": [{"step": "prune", "ratio": 0.5}, {"step": "compile", "scheme": "int8"}],
    },
    "metrics": {"accuracy": 0.9, "original.accuracy": 0.95},
    "drop": 0.05,
    "size_bytes": 1234,
    "holds": False,
    "sha256": "abc",
    "provenance": {"train.sha256": "def"},
}
LOG_AND_READ = """
import json, sys
from pathlib import Path
from edgeloop_converters.runs import track_in_mlflow

assert track_in_mlflow(json.loads(sys.argv[1]), [Path(sys.argv[2])])
import mlflow

client = mlflow.MlflowClient()
(run,) = client.search_runs([client.get_experiment_by_name("edgeloop").experiment_id])
files = [f.path for f in client.list_artifacts(run.info.run_id)]
print(json.dumps([run.info.run_name, run.info.status, run.data.params, run.data.metrics, run.data.tags, files]))
"""


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


def in_mlflow(code: str, *words: str, uri: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: MLflow keeps global state, threads, and opinions on warnings."""
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow isn't installed (extra `mlflow`)")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_FILE_STORE": "true",  # frozen since 3.x, but it needs no server and no database
    }
    return subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=False
    )


def test_a_run_goes_to_mlflow_with_its_options_figures_and_files(tmp_path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes(b"bytes")
    done = in_mlflow(LOG_AND_READ, json.dumps(FACTS), str(file), uri=(tmp_path / "store").as_uri())
    assert done.returncode == 0, done.stderr
    name, status, params, metrics, tags, files = json.loads(done.stdout.splitlines()[-1])
    assert (name, status, files) == ("digits", "FINISHED", ["model.tflite"])
    assert params == {"recipe": "p", "seed": "3", "prune.ratio": "0.5", "compile.scheme": "int8"}
    assert metrics == {"accuracy": 0.9, "original_accuracy": 0.95, "drop": 0.05, "size_bytes": 1234.0}
    assert (tags["holds"], tags["sha256"], tags["train.sha256"]) == ("False", "abc", "def")


def test_a_store_that_mlflow_does_not_know_is_an_error_with_its_reason(tmp_path) -> None:
    done = in_mlflow(LOG_AND_READ, json.dumps(FACTS), str(tmp_path), uri="nowhere://x")
    assert "ConfigError: MLFLOW_TRACKING_URI=nowhere://x: not logged" in done.stderr


def recorded(**changes) -> dict:
    facts = {
        **FACTS,
        "before": {"metric": "accuracy", "value": 0.95, "size_bytes": 4000, "latency_us": 30.0},
        "after": {"metric": "accuracy", "value": 0.9, "size_bytes": 1000, "latency_us": 10.0},
        "budgets": [{"name": "max_drop", "holds": False}, {"name": "max_size_bytes", "holds": True}],
        "provenance": {"train.sha256": "def", "evaluation.sha256": "0123456789"},
    }
    return {**facts, **changes}


def test_runs_are_compared_against_their_own_original_and_only_on_the_same_data() -> None:
    other = recorded(provenance={"evaluation.sha256": "another"}, holds=True, budgets=[])
    shown = brief(recorded())
    assert (shown["times_smaller"], shown["times_faster"], shown["missed"]) == (4.0, 3.0, ["max_drop"])
    lines = table_of([("one", recorded()), ("two", recorded()), ("three", other)]).splitlines()
    assert [line.split()[1] for line in lines[1:4]] == ["A", "A", "B"]
    assert lines[1].endswith("no: max_drop")
    assert "only runs of the same letter" in lines[4]
    assert "letter" not in table_of([("one", recorded()), ("two", recorded())])


def test_a_comparison_says_in_what_the_runs_differ() -> None:
    steps = [{"step": "prune", "ratio": 0.25}, {"step": "compile", "scheme": "int8"}]
    other = recorded(recipe={"name": "q", "seed": 3, "steps": steps})
    said = differences([("one", recorded()), ("two", other)]).splitlines()
    assert [line.split() for line in said[1:]] == [["prune.ratio", "0.5", "0.25"]]
    assert "in nothing" in differences([("one", recorded()), ("two", recorded())])
