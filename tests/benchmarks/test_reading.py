"""Reading results back, and what is said of files that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgeloop.errors import DataError
from edgeloop_bench.reading import read_result, read_results
from edgeloop_bench.result import BenchResult

Make = Callable[..., BenchResult]


def write(path: Path, result: BenchResult) -> Path:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2))
    return path


def test_what_was_written_is_read_back(synthetic: Make, tmp_path: Path) -> None:
    result = synthetic(is_whole=True)
    assert read_result(write(tmp_path / "a.json", result)) == result


def damaged(result: BenchResult, **fields: object) -> bytes:
    return json.dumps(msgspec.to_builtins(result) | fields).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: b"", "is empty"),
        (lambda raw: raw[: len(raw) // 2], "cut off, or no JSON"),
        (lambda raw: b"\xff\xfe\x00", "cut off, or no JSON"),
        (lambda raw: b"[1, 2]", "no result"),
        (lambda raw: b'{"a": 1}', "names no schema"),
        (lambda raw: raw.replace(b'"schema":2', b'"schema":3', 1), "newer than this edgeloop, which reads 2: update"),
        (lambda raw: raw.replace(b'"schema":2', b'"schema":1', 1), "never released"),
        (lambda raw: raw.replace(b'"cores":4', b'"cores":"x"', 1), "$.machine.cores"),
        (lambda raw: raw.replace(b'"median_us":', b'"median_us":-', 1), "nothing takes no time"),
        (lambda raw: raw.replace(b'"histogram":"', b'"histogram":"AAAA', 1), "histogram"),
    ],
)
def test_what_is_no_result_says_where_and_why(
    change: Callable[[bytes], bytes], message: str, synthetic: Make, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(change(msgspec.json.encode(synthetic())))
    with pytest.raises(DataError) as caught:
        read_result(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_one_broken_file_among_many_is_named_and_left_out(synthetic: Make, tmp_path: Path) -> None:
    good = [write(tmp_path / f"{i}.json", synthetic(i)) for i in range(2)]
    (tmp_path / "bad.json").write_text('{"schema": 2')
    found = read_results([good[0], tmp_path / "bad.json", tmp_path / "none.json", good[1]])
    assert len(found.results) == 2
    assert [problem.partition(":")[0] for problem in found.problems] == [
        str(tmp_path / "bad.json"), str(tmp_path / "none.json")
    ]  # fmt: skip


def test_history_is_read_as_results_too(synthetic: Make, tmp_path: Path) -> None:
    runs = [synthetic(i) for i in range(3)]
    lines = [msgspec.json.encode(run) for run in runs]
    (tmp_path / "h.jsonl").write_bytes(b"\n".join([lines[0], lines[1][:100], lines[2]]) + b"\n")
    found = read_results([tmp_path / "h.jsonl"])
    assert found.results == (runs[0], runs[2])
    assert "line 2" in found.problems[0]
