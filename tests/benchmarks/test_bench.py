"""`edgeloop bench`, over the real interpreter."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import msgspec
import pytest

from edgeloop import cli
from edgeloop.artifact import write_artifact
from edgeloop.histogram import unpack_histogram
from edgeloop_bench.result import BenchResult
from tiny_models import tiny_artifact, tiny_model

QUICK = ("--seconds", "0.05", "--latency-only")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "tiny.tflite", tiny_artifact())
    return tmp_path / "tiny.tflite"


def bench(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> BenchResult:
    assert cli.main(["bench", "--json", *QUICK, *map(str, arguments)]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=BenchResult)


def test_one_artifact_is_measured(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, tiny)
    (row,) = result.results
    assert row.name == "tiny.tflite"
    assert row.sha256 == hashlib.sha256(tiny_model()).hexdigest()
    assert row.file_bytes == tiny.stat().st_size
    scenario = row.scenarios[0]
    assert (scenario.kind, scenario.threads, scenario.batch) == ("single-stream", 1, 1)
    assert scenario.latency.n >= result.settings.min_runs
    assert scenario.latency.rounds == result.settings.openings
    assert 0 < scenario.latency.min_us <= scenario.latency.median_us <= scenario.latency.p90_us
    assert unpack_histogram(scenario.histogram).n == scenario.latency.n
    assert result.instrument_us > 0
    assert row.load_us is not None
    assert row.load_us > 0
    assert row.first_us is not None
    assert row.first_us > 0
    assert row.ratio is None


def test_others_are_compared_to_the_first_even_the_same_file(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, tiny, tiny)
    first, second = result.results
    assert first.ratio is None
    assert second.ratio is not None
    assert second.ratio.rounds == result.settings.openings
    assert 0.2 < second.ratio.value < 5


def test_the_table_has_a_row_for_each_and_no_path(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *QUICK, "--threads", "2", str(tiny), str(tiny)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith("tiny.tflite")]
    assert [row[1:3] for row in rows[:2]] == [["single-stream", "2"]] * 2
    assert str(tiny.parent) not in out


def test_a_plain_tflite_is_measured_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plain.tflite").write_bytes(tiny_model())
    assert bench(capsys, tmp_path / "plain.tflite").results[0].file_bytes == len(tiny_model())


def test_a_model_with_metadata_of_another_tool_is_measured_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    appended = io.BytesIO()
    with zipfile.ZipFile(appended, "w") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    (tmp_path / "labelled.tflite").write_bytes(tiny_model() + appended.getvalue())
    assert bench(capsys, tmp_path / "labelled.tflite").results


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"hello, I am a text", "not a TFLite model"),
        (tiny_model()[:-40], "cut off"),
    ],
)
def test_what_is_no_model_is_one_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["bench", "--json", str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert message in json.loads(captured.out)["error"]["message"]


@pytest.mark.parametrize("option", [("--seconds", "0"), ("--seconds", "nan"), ("--threads", "0"), ("--threads", "x")])
def test_impossible_settings_are_refused(
    option: tuple[str, str], tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["bench", *option, str(tiny)])
    assert exit_.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_published_models_are_measured(shared_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = shared_dir / "models"
    result = bench(capsys, models / "ad01_int8.tflite", models / "kws_int8.tflite", models / "kws_float32.tflite")
    assert [row.name for row in result.results] == ["ad01_int8.tflite", "kws_int8.tflite", "kws_float32.tflite"]
    assert all(row.scenarios[0].latency.median_us > 1 for row in result.results)
