from __future__ import annotations

import json

import pytest

from edgeloop import read_artifact
from edgeloop.cli import build_parser, run_command
from edgeloop_converters.commands import CONVERT, RUNS, TARGETS, parse_scale
from edgeloop_converters.recipes_command import RECIPES

COMMANDS = {"convert": CONVERT, "recipes": RECIPES, "runs": RUNS, "targets": TARGETS}


@pytest.fixture
def edgeloop(tmp_path, monkeypatch, capfd):
    """Runs the command line in this process; gives the exit code, the JSON, and standard error."""
    monkeypatch.setenv("EDGELOOP_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*words):
        args = build_parser(COMMANDS).parse_args([*map(str, words), "--json"])
        code = run_command(COMMANDS[args.command], args)
        out, err = capfd.readouterr()
        return code, json.loads(out), err

    return run


def convert_words(files, output):
    return [
        "convert", files / "model.keras", "--data", files / "train.npz", "--eval", files / "test.npz",
        "--scale", "1/16", "--images", "-o", output,
    ]  # fmt: skip


@pytest.mark.tf
def test_a_conversion_writes_artifact_c_array_and_report_and_is_recorded(edgeloop, digit_files, tmp_path) -> None:
    output, page = tmp_path / "digits.tflite", tmp_path / "report.html"
    words = convert_words(digit_files, output)
    code, facts, _ = edgeloop(*words, "--report", page, "--c-array", "digits_model", "--max-drop", "2%")
    assert code == 0, facts
    assert read_artifact(output).manifest.metrics["accuracy"] == facts["after"]["accuracy"]
    assert f"[{facts['evaluation']['size_bytes']}]" in (tmp_path / "digits_model.h").read_text()
    assert page.read_text().startswith("<!doctype html>")
    code, runs, _ = edgeloop("runs")
    assert (code, [r["id"] for r in runs["runs"]]) == (0, [facts["run"]])
    code, shown, _ = edgeloop("runs", facts["run"])
    assert shown["sha256"] == facts["sha256"]


@pytest.mark.tf
def test_a_missed_budget_exits_with_1_names_it_and_writes_nothing(edgeloop, digit_files, tmp_path) -> None:
    output = tmp_path / "digits.tflite"
    code, facts, _ = edgeloop(*convert_words(digit_files, output), "--recipe", "int8", "--max-size", "2kB")
    assert code == 1
    assert not output.exists()
    missed = [b["name"] for b in facts["budgets"] if not b["holds"]]
    assert missed == ["max_size_bytes"]
    assert facts["recipe"]["name"] == "int8"
    assert facts["output"] is None


@pytest.mark.tf
def test_strict_fails_on_what_is_wrong_with_the_data(edgeloop, digit_files, tmp_path) -> None:
    words = convert_words(digit_files, tmp_path / "d.tflite")
    words[words.index("--eval") + 1] = digit_files / "train.npz"
    code, found, _ = edgeloop(*words, "--strict")
    assert code == 1
    assert "shared_samples" in {f["code"] for f in found["data_findings"]}
    assert not (tmp_path / "d.tflite").exists()


@pytest.mark.tf
@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--recipe", "int9"], "unknown recipe 'int9'"),
        (["--target", "toaster"], "unknown target 'toaster'"),
        (["--max-latency", "2"], "has no unit"),
        (["--metric", "beauty"], "unknown metric 'beauty'"),
    ],
)
def test_bad_input_exits_with_2_and_says_what(edgeloop, digit_files, tmp_path, extra, says) -> None:
    code, out, err = edgeloop(*convert_words(digit_files, tmp_path / "d.tflite"), *extra)
    assert code == 2
    assert says in out["error"]["message"]
    assert says in err


def test_recipes_and_targets_are_listed(edgeloop) -> None:
    code, listed, _ = edgeloop("recipes")
    assert code == 0
    rows = {r["name"]: r for r in listed["recipes"]}
    assert rows["int8-qat"]["needs_labels"]
    assert rows["prune-50-distil-int8"]["time"] == "minutes"
    assert rows["int8-litert"]["takes"] == "keras or .tflite"
    code, shown, _ = edgeloop("recipes", "int8")
    assert shown["steps"][0]["scheme"] == "int8"
    code, targets, _ = edgeloop("targets")
    assert "edgetpu" in {t["name"] for t in targets["targets"]}


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("1/255", (None, 1 / 255, 0.0)), ("1/127.5,-1", (None, 1 / 127.5, -1.0)), ("left=2", ("left", 2.0, 0.0))],
)
def test_a_scale_is_a_factor_and_an_offset_of_an_input(text, parsed) -> None:
    assert parse_scale(text) == parsed


@pytest.mark.tf
def test_a_place_that_does_not_answer_exits_with_2_and_says_why(edgeloop, digit_files, tmp_path) -> None:
    output = tmp_path / "digits.tflite"
    for place, says in (("toaster", "unknown place 'toaster'"), ("ssh://127.0.0.1:1", "ssh failed")):
        code, out, _ = edgeloop(*convert_words(digit_files, output), "--prove-on", place)
        assert code == 2
        assert says in out["error"]["message"]
        assert not output.exists()
