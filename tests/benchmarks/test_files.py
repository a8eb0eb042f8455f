"""Results on disk: what can't be read is told, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgeloop import cli
from edgeloop.errors import DataError
from edgeloop_bench.reading import read_result
from edgeloop_bench.writing import write_result
from tiny_models import tiny_model

QUICK = ("--seconds", "0.05", "--latency-only")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "tiny.tflite").write_bytes(tiny_model())
    return tmp_path / "tiny.tflite"


@pytest.fixture
def written(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert cli.main(["bench", *QUICK, str(model), "-o", str(tmp_path / "out.json"), "--label", "abc123"]) == 0
    capsys.readouterr()
    return tmp_path / "out.json"


def test_what_is_written_reads_back_and_names_no_folder(written: Path) -> None:
    result = read_result(written)
    assert (result.label, result.results[0].name) == ("abc123", "tiny.tflite")
    assert str(written.parent) not in written.read_text()
    second = write_result(written.with_name("copy.json"), result)
    assert second.read_bytes() == written.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[: len(raw) // 2], "cut off, or no JSON"),
        (lambda raw: b"", "is empty"),
        (lambda raw: b'{"benchmarks": []}', "no result of edgeloop bench"),
        (lambda raw: b'{"schema": 2}', "a damaged result"),
        (lambda raw: raw.replace(b'"schema": 2', b'"schema": 3'), "reads 2: update it"),
        (lambda raw: raw.replace(b'"schema": 2', b'"schema": 1'), "measure again"),
    ],
)
def test_a_result_that_cant_be_used_is_one_line(
    change, message: str, written: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written.write_bytes(change(written.read_bytes()))
    with pytest.raises(DataError, match=message):
        read_result(written)
    if written.read_bytes():  # an empty file isn't known for a result
        assert cli.main(["bench", *QUICK, str(model), "--against", str(written)]) == 2
        assert message in capsys.readouterr().err


def test_a_file_that_is_there_stays_unless_forced(
    written: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written.read_bytes()
    assert cli.main(["bench", *QUICK, str(model), "-o", str(written)]) == 2
    assert "--force" in capsys.readouterr().err
    assert written.read_bytes() == before
    assert cli.main(["bench", *QUICK, str(model), "-o", str(written), "--force"]) == 0
    assert read_result(written).id != json.loads(before)["id"]


def test_a_file_that_appears_during_the_run_stays_too(written: Path) -> None:
    result, before = read_result(written), written.read_bytes()
    where = write_result(written, msgspec.structs.replace(result, label="later"))
    assert where.name == f"out-{result.id}.json"
    assert written.read_bytes() == before
    assert read_result(where).label == "later"


def test_a_history_that_is_none_is_refused_before_the_work(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("not a history")
    assert (
        cli.main(["bench", *QUICK, str(model), "--history", str(tmp_path / "notes.txt"), "-o", str(tmp_path / "o")])
        == 2
    )
    assert "no history of edgeloop bench" in capsys.readouterr().err
    assert not (tmp_path / "o").exists(), "it measured first"
    assert cli.main(["bench", *QUICK, str(model), "--history", str(tmp_path / "h.jsonl")]) == 0
    assert len((tmp_path / "h.jsonl").read_text().splitlines()) == 1


def test_ctrl_c_writes_what_was_measured_and_exits_with_130(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [
        sys.executable,
        "-m",
        "edgeloop",
        "bench",
        str(model),
        "--latency-only",
        "--seconds",
        "120",
        "-o",
        str(out),
    ]
    path = os.pathsep.join(p for p in sys.path if p)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stderr is not None
    while "XNNPACK" not in process.stderr.readline():  # the first interpreter of a process announces itself
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "INVALID, partial" in said
    assert read_result(out).is_partial
