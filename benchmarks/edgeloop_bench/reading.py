"""Reading results back: ours and pytest-benchmark's; what can't be read says where and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeloop.errors import DataError, MessageError
from edgeloop.histogram import unpack_histogram
from edgeloop_bench.pytest_file import from_pytest
from edgeloop_bench.result import SCHEMA, BenchResult

__all__ = ["Found", "is_result", "parse_result", "read_result", "read_results"]


class _Head(msgspec.Struct):
    """What tells the documents apart."""

    schema: int | None = None
    machine_info: msgspec.Raw = msgspec.Raw()
    benchmarks: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True)
class Found:
    """What was in files.

    Args:
        results: in the order of the files.
        problems: a line for each that couldn't be read.
    """

    results: tuple[BenchResult, ...]
    problems: tuple[str, ...]


def is_result(path: str | Path) -> bool:
    """Whether a file is meant as a result, rather than as an artifact: it begins as JSON does.

    Raises:
        OSError: it can't be read.
    """
    with Path(path).open("rb") as file:
        return file.read(64).lstrip()[:1] == b"{"


def read_result(path: str | Path) -> BenchResult:
    """One result, of `edgeloop bench --json` or of `pytest --benchmark-json`.

    Raises:
        OSError: the file can't be read.
        DataError: it is no result: cut off, another tool's, or of a newer or unreleased schema.
    """
    return parse_result(Path(path).read_bytes(), str(path))


def read_results(paths: Iterable[str | Path]) -> Found:
    """All that the files hold, results or histories (JSON lines); a broken one doesn't stop the others."""
    results: list[BenchResult] = []
    problems: list[str] = []
    for path in paths:
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        lines = [(i, line) for i, line in enumerate(raw.splitlines(), 1) if line.strip()]
        is_history = len(lines) > 1 and lines[0][1].startswith(b'{"schema"')
        for document, where in [(line, f"{path}, line {i}") for i, line in lines] if is_history else [(raw, str(path))]:
            try:
                results.append(parse_result(document, where))
            except DataError as error:
                problems.append(str(error))
    return Found(tuple(results), tuple(problems))


def parse_result(raw: bytes, where: str) -> BenchResult:
    """A result from its JSON; `where` it stands begins every error.

    Raises:
        DataError: as `read_result`.
    """
    if not raw.strip():
        raise DataError(f"{where}: is empty: measure again")
    try:
        head = msgspec.json.decode(raw, type=_Head)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: no result of edgeloop bench: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: cut off, or no JSON: {error}") from error
    if head.schema is None and bytes(head.benchmarks) and bytes(head.machine_info):
        return from_pytest(raw, where)
    if head.schema is None:
        raise DataError(f"{where}: no result of edgeloop bench, nor of pytest-benchmark: it names no schema")
    if head.schema > SCHEMA:
        raise DataError(f"{where}: schema {head.schema} is newer than this edgeloop, which reads {SCHEMA}: update it")
    if head.schema < SCHEMA:
        raise DataError(f"{where}: schema {head.schema} was never released: measure again")
    try:
        result = msgspec.json.decode(raw, type=BenchResult)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: a damaged result: {error}") from error
    _check(result, where)
    return result


def _check(result: BenchResult, where: str) -> None:
    for subject in result.results:
        for scenario in subject.scenarios:
            try:
                unpack_histogram(scenario.histogram)
            except MessageError as error:
                raise DataError(f"{where}: the histogram of {subject.name!r} is damaged: {error}") from error
            if not scenario.latency.median_us > 0:
                raise DataError(
                    f"{where}: {subject.name!r} takes {scenario.latency.median_us} µs: nothing takes no time"
                )
