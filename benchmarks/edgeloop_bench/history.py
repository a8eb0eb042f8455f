"""The history of results: JSON lines that are only ever added to, and what they say over time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeloop.errors import DataError
from edgeloop.machine import Machine
from edgeloop_bench.change_points import ChangePoint, change_points
from edgeloop_bench.reading import Found, parse_result
from edgeloop_bench.result import BenchResult, Scenario, SubjectResult

__all__ = [
    "Device",
    "Point",
    "Series",
    "append",
    "check_appendable",
    "device_of",
    "headline",
    "read_history",
    "series_of",
]

_LONGEST_FIRST_LINE = 1 << 24


@dataclass(frozen=True, order=True)
class Device:
    """What makes figures comparable over time: the hardware. Its software may change, and that be seen."""

    board: str
    cpu: str
    arch: str
    cores: int

    def __str__(self) -> str:
        name = " · ".join(dict.fromkeys(filter(None, (self.board, self.cpu, self.arch))))
        return f"{name or 'a machine that says nothing of itself'}, {self.cores} core{'s' * (self.cores != 1)}"


@dataclass(frozen=True)
class Point:
    """One run in a series; `note` names what else was new on its machine."""

    run: BenchResult
    scenario: Scenario
    note: str = ""

    @property
    def is_trusted(self) -> bool:
        """Whether it counts for change points."""
        return self.run.verdict.valid


@dataclass(frozen=True)
class Series:
    """The latency of one artifact's name on one device, asked in one way, oldest first.

    Args:
        name: the artifact's.
        device: where.
        setting: scenario, threads, batch and backend, in words.
        points: the runs.
        changes: of the level; an index is of `trusted`.
    """

    name: str
    device: Device
    setting: str
    points: tuple[Point, ...]
    changes: tuple[ChangePoint, ...]

    @property
    def trusted(self) -> tuple[Point, ...]:
        """The points that change points are looked for in."""
        return tuple(p for p in self.points if p.is_trusted)


def append(path: str | Path, result: BenchResult) -> None:
    """Add a result at the end of the history, under a lock, and sync it to disk. What stands there isn't touched.

    A last line that was torn by a power cut is ended first, and stays as it is.

    Raises:
        OSError: the file can't be written.
        DataError: it is no history; nothing was written.
    """
    line = msgspec.json.encode(result) + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    with os.fdopen(handle, "rb", buffering=0) as file:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size:
            _check_is_history(os.pread(handle, _LONGEST_FIRST_LINE, 0), str(path))
            if os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
        try:
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(file.fileno())
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from error


def check_appendable(path: str | Path) -> None:
    """See, before the work, that `append` will take a result there; a file that is absent is made empty.

    Raises:
        OSError, DataError: as `append` does.
    """
    with open(path, "a+b") as file:  # noqa: PTH123  # as `append`: to read and to add
        file.seek(0)
        if start := file.read(_LONGEST_FIRST_LINE):
            _check_is_history(start, str(path))


def _check_is_history(start: bytes, where: str) -> None:
    if not start.startswith(b'{"schema":'):
        raise DataError(f"{where}: no history of edgeloop bench, and not added to: name another file")


def read_history(path: str | Path) -> Found:
    """All runs in the history, oldest first; a run that stands there twice counts once, and what can't be read is told.

    Raises:
        OSError: the file can't be read.
    """
    runs: dict[str, BenchResult] = {}
    problems = []
    raw = Path(path).read_bytes()
    lines = raw.split(b"\n")
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            run = parse_result(line, f"{path}, line {i}")
        except DataError as error:
            torn = " (the last line was torn)" if i == len(lines) else ""
            problems.append(f"{error}{torn}")
        else:
            runs.setdefault(run.id, run)
    return Found(tuple(sorted(runs.values(), key=lambda run: run.start_s)), tuple(problems))


def device_of(machine: Machine) -> Device:
    """The hardware that a result is of. Two boards of one kind are one: nothing in a result tells them apart."""
    return Device(machine.board or "", machine.cpu, machine.arch, machine.cores)


def headline(subject: SubjectResult) -> Scenario | None:
    """The scenario that stands for a subject: the first single-stream one, or the first; None where nothing ran."""
    single = (s for s in subject.scenarios if s.kind == "single-stream")
    return next(single, subject.scenarios[0] if subject.scenarios else None)


def series_of(runs: Sequence[BenchResult]) -> tuple[Series, ...]:
    """The series in a history, each of one artifact's name, device and setting, longest first."""
    found: dict[tuple[str, Device, str], list[tuple[BenchResult, Scenario]]] = {}
    for run in sorted(runs, key=lambda run: run.start_s):
        for subject in run.results:
            scenario = headline(subject)
            if scenario is not None:
                key = (subject.name, device_of(run.machine), _setting(run, scenario))
                found.setdefault(key, []).append((run, scenario))
    series = []
    for (name, device, setting), pairs in found.items():
        points = [Point(*pair, _news(pairs[i - 1][0], pair[0]) if i else "") for i, pair in enumerate(pairs)]
        changes = change_points([p.scenario.latency.median_us for p in points if p.is_trusted])
        series.append(Series(name, device, setting, tuple(points), changes))
    return tuple(sorted(series, key=lambda s: (-len(s.points), s.name, s.device)))


def _setting(run: BenchResult, scenario: Scenario) -> str:
    s = run.settings
    threads = f"{scenario.threads} thread{'s' * (scenario.threads != 1)}"
    others = (s.kernels + " kernels" if s.kernels != "default" else "", s.delegate or "")
    return ", ".join(filter(None, (scenario.kind, threads, f"batch {scenario.batch}", s.backend, *others)))


def _news(before: BenchResult, now: BenchResult) -> str:
    """What else changed on the machine between two runs: a cause to look at first."""
    a, b = before.machine, now.machine
    pairs = [("kernel", a.kernel, b.kernel), ("governor", a.governor, b.governor), ("Python", a.python, b.python)]
    names = sorted({*a.libraries, *b.libraries} - {"edgeloop"})
    pairs += [(name, a.libraries.get(name), b.libraries.get(name)) for name in names]
    return ", ".join(f"{name} {old or 'none'} → {new or 'none'}" for name, old, new in pairs if old != new)
