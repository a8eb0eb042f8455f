"""`edgeloop run` over every kind of input."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from brokers import mosquitto
from edgeloop.artifact import write_artifact
from edgeloop.cli import main

X = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]], np.float32)


@pytest.fixture
def folder(tmp_path: Path, make_artifact, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_artifact(tmp_path / "m.tflite", make_artifact())
    np.save(tmp_path / "x.npy", X)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_arrays_and_their_limit(folder: Path, capsys) -> None:
    assert main(["run", "m.tflite", "x.npy", "--limit", "2"]) == 0
    assert [(line["ref"], line["label"]) for line in lines(capsys)] == [("0", "b"), ("1", "a")]


def test_a_csv_s_columns_and_a_row_that_does_not_parse(folder: Path, capsys) -> None:
    (folder / "x.csv").write_text("n,d,c,b,a\n1,0,0,1,0\n1,0,x,1,0\n1,0,1,0,0\n")
    assert main(["run", "m.tflite", "x.csv", "--columns", "a,b,c,d", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [line["label"] for line in said["predictions"]] == ["b", "c"]
    assert said["skipped"] == {"a cell that is no number": 1}


def test_sound_in_windows_of_the_model_s_length(folder: Path, capsys) -> None:
    with wave.open("x.wav", "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((X.ravel() * 32767).astype("<i2").tobytes())
    assert main(["run", "m.tflite", "x.wav"]) == 0
    assert [line["label"] for line in lines(capsys)] == ["b", "a", "c"]


def test_a_folder_of_images_as_the_model_takes_them(folder: Path, make_artifact, capsys) -> None:
    image = pytest.importorskip("PIL.Image", reason="the images extra isn't installed")
    from edgeloop.preprocessing import Resize

    write_artifact(folder / "m.tflite", make_artifact(preprocessing=(Resize(1, 4, "nearest"),), sample_shape=(2, 4)))
    (folder / "photos").mkdir()
    for name, row in zip("abc", X, strict=True):
        image.fromarray(np.stack([row, row]).astype(np.uint8)).save(folder / f"photos/{name}.png")
    (folder / "photos/d.png").write_text("no image")
    assert main(["run", "m.tflite", "photos"]) == 1
    assert [(line["ref"], line["label"]) for line in lines(capsys)] == [("a.png", "b"), ("b.png", "a"), ("c.png", "c")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_table_is_scored_in_batches(folder: Path, suffix: str, capsys) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="the tables extra isn't installed")
    assert main(["run", "m.tflite", "x.npy", "-o", f"out.{suffix}", "--batch", "2"]) == 0
    assert f"out.{suffix}: 3 rows" in capsys.readouterr().out
    assert main(["run", "m.tflite", "x.npy", "-o", f"out.{suffix}", "--limit", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["refused"]) == (2, 0)
    if suffix != "parquet":
        assert len((folder / f"out.{suffix}").read_text().splitlines()) == 2 + (suffix == "csv")


def test_a_parquet_table_row_by_row(folder: Path, capsys) -> None:
    pa = pytest.importorskip("pyarrow", reason="the tables extra isn't installed")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: X[:, i] for i, name in enumerate("abcd")}), "x.parquet")
    assert main(["run", "m.tflite", "x.parquet"]) == 0
    assert [line["label"] for line in lines(capsys)] == ["b", "a", "c"]


def test_several_sinks_at_once(folder: Path, capsys) -> None:
    with mosquitto(folder) as broker:
        sinks = ["--sink", "p.jsonl", "--sink", "p.db", "--sink", broker.url]
        assert main(["run", "m.tflite", "x.npy", *sinks]) == 0
    assert "3 inferences" in capsys.readouterr().out
    assert len(Path("p.jsonl").read_text().splitlines()) == 3
    db = sqlite3.connect("p.db")
    assert db.execute("SELECT count(*) FROM predictions").fetchone() == (3,)
    db.close()


def piped(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    code = "import sys; from edgeloop.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code, "run", "m.tflite", "-", *args]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


def test_standard_input_is_answered_while_it_is_open(folder: Path) -> None:
    with piped(folder) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b'[0, 1, 0, 0]\n{"x": [1, 0, 0, 0], "ref": "me"}\nbad\n')
        process.stdin.flush()
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(60) == 1
        assert b"not JSON of an input" in (process.stderr.read() if process.stderr else b"")
    assert [(line["ref"], line["label"]) for line in (first, second)] == [("line 1", "b"), ("me", "a")]


def test_an_interrupt_ends_it_while_standard_input_is_silent(folder: Path) -> None:
    import signal

    with piped(folder) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"[0, 1, 0, 0]\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert b"Traceback" not in (process.stderr.read() if process.stderr else b"")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["none.csv"], "none.csv: No such file"),
        (["m.tflite"], "unknown kind of inputs"),
        (["x.npy", "--sink", "p.txt"], "p.txt: name it"),
        (["x.npy", "--sink", "mqtt://127.0.0.1:1/x"], "write mqtt://"),
        (["x.npy", "-o", "out.txt"], "out.txt: name it"),
        (["x.npy", "-o", "out.csv", "--sink", "-"], "choose one"),
        (["x.npy", "--batch", "0"], "--batch 0"),
        (["m.tflite", "-o", "out.csv"], "no table to score"),
        (["x.npy", "-o", "none/out.csv"], "No such file"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, args: list[str], said: str, capsys) -> None:
    assert main(["run", "m.tflite", *args]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert (captured.out, len(captured.err.strip().splitlines())) == ("", 1)
