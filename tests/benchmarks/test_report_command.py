"""`edgeloop bench report` and `edgeloop bench view`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgeloop import cli
from edgeloop_bench.history import append
from edgeloop_bench.result import BenchResult

pytest.importorskip("plotly", reason="the bench extra isn't installed")
Make = Callable[..., BenchResult]


@pytest.fixture
def result(synthetic: Make, tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_bytes(msgspec.json.encode(synthetic()))
    return path


def run(*arguments: object) -> int:
    return cli.main(["bench", *map(str, arguments)])


def test_page_is_written_and_replaced(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    assert run("report", result, "-o", page) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out == f"{page}: 1 run\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "result.json"]


def test_broken_file_is_told_and_the_rest_is_shown(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("{")
    assert run("report", "--json", result, tmp_path / "bad.json", "-o", tmp_path / "page.html") == 1
    captured = capsys.readouterr()
    assert "bad.json" in captured.err
    assert "bad.json" in json.loads(captured.out)["problems"][0]
    assert "bad.json: cut off" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("content", "message"), [("{", "cut off"), ('{"schema": 99}', "newer"), ("", "is empty"), (None, "No such file")]
)
def test_nothing_that_can_be_read_is_bad_input(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "bad.json").write_text(content)
    for action in (("report", tmp_path / "bad.json", "-o", tmp_path / "page.html"), ("view", tmp_path / "bad.json")):
        assert run(*action) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "page.html").exists()


def test_torn_history_is_told_on_the_page_and_by_the_exit_code(
    result: Path, synthetic: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "h.jsonl"
    append(history, synthetic(1))
    with history.open("ab") as file:
        file.write(b'{"schema":2,"id"')
    assert run("report", result, "--history", history, "-o", tmp_path / "page.html") == 1
    assert "torn" in (tmp_path / "page.html").read_text()
    assert "without 1 that can't be read" in capsys.readouterr().out


def test_place_that_can_not_be_written_is_known_first(result: Path, tmp_path: Path, capsys) -> None:
    assert run("report", result, "-o", tmp_path / "none" / "page.html") == 2
    assert run("report", result, "-o", tmp_path / "page.pdf") == 2
    assert ".html" in capsys.readouterr().err


def test_one_result_is_written_for_pytest_benchmark(result: Path, tmp_path: Path, capsys) -> None:
    assert run("report", result, "-o", tmp_path / "out.json") == 0
    assert len(json.loads((tmp_path / "out.json").read_text())["benchmarks"]) == 2
    assert run("report", result, result, "-o", tmp_path / "two.json") == 2
    assert "holds one run" in capsys.readouterr().err


def test_view_prints_a_table_and_opens_nothing_without_a_display(
    result: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("webbrowser.open", lambda url: pytest.fail("a browser was opened"))
    assert run("view", result) == 0
    out = capsys.readouterr().out
    assert "synthetic-keywords-int8.tflite" in out
    assert "No display here" in out
    assert run("view", "--no-open", result) == 0
    assert "No display here" not in capsys.readouterr().out


def test_view_opens_the_page_where_there_is_a_display(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    assert run("view", result) == 0
    (page,) = tmp_path.glob("edgeloop-bench-*.html")
    assert opened == [page.as_uri()]
    assert "<!doctype html>" in page.read_text()


def test_an_artifact_of_that_name_is_still_reached(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").write_text("no model")
    assert run("./report") == 2
    assert "report" in capsys.readouterr().err
