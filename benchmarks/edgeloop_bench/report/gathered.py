"""What the page shows, gathered from results: a row for each measured artifact, and artifacts over all their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeloop.histogram import LatencyHistogram, unpack_histogram
from edgeloop_bench.history import Device, device_of, headline
from edgeloop_bench.result import BenchResult, Scenario, SubjectResult

__all__ = ["Artifact", "Gathered", "Row", "front", "gather", "letter"]


@dataclass(frozen=True)
class Row:
    """One artifact in one run; `device` counts from 0, `scenario` is the one that stands for it."""

    run: BenchResult
    subject: SubjectResult
    device: int
    scenario: Scenario | None


@dataclass(frozen=True)
class Artifact:
    """One file on one device, over all its runs that may be believed; over all where there is none such.

    Args:
        name: the file's; with the head of its hash where several files of one name are shown.
        device: counts from 0.
        rows: its runs.
        median_us: the median of their medians.
        is_valid: whether at least one of its runs may be believed.
    """

    name: str
    device: int
    rows: tuple[Row, ...]
    median_us: float
    is_valid: bool

    @property
    def file_bytes(self) -> int:
        """Of the whole file; 0 where it isn't known."""
        return self.rows[0].subject.file_bytes

    @property
    def latest(self) -> SubjectResult:
        """From its last run."""
        return max(self.rows, key=lambda row: row.run.start_s).subject

    @property
    def accuracy(self) -> tuple[str, float] | None:
        """The metric and its value."""
        found = next((row.subject.accuracy for row in self.rows if row.subject.accuracy is not None), None)
        return None if found is None else (found.metric, found.value)

    def distribution(self) -> LatencyHistogram:
        """Of the calls of all its runs."""
        packed = [row.scenario.histogram for row in self.rows if row.scenario is not None]
        return sum((unpack_histogram(raw) for raw in packed), unpack_histogram(b""))


@dataclass(frozen=True)
class Gathered:
    """What the page shows.

    Args:
        runs: by time.
        devices: a name for each.
        rows: by run, then as they were measured.
        artifacts: by device, then as they were first seen.
    """

    runs: tuple[BenchResult, ...]
    devices: tuple[str, ...]
    rows: tuple[Row, ...]
    artifacts: tuple[Artifact, ...]

    @property
    def letters(self) -> tuple[str, ...]:
        """A short name for each device: a letter, and its board or processor."""
        return tuple(f"{letter(i)}: {name.partition(' · ')[0]}" for i, name in enumerate(self.devices))

    def on(self, device: int) -> list[Artifact]:
        """The artifacts on one device."""
        return [a for a in self.artifacts if a.device == device]


def letter(device: int) -> str:
    """A, B, …, Z, #27, …."""
    return chr(ord("A") + device) if device < 26 else f"#{device + 1}"


def gather(results: Sequence[BenchResult]) -> Gathered:
    """Sort results by time and device; a run that is given twice counts once."""
    runs = sorted({run.id: run for run in results}.values(), key=lambda run: run.start_s)
    numbers: dict[Device, int] = {}
    for run in runs:
        numbers.setdefault(device_of(run.machine), len(numbers))
    rows = [
        Row(run, subject, numbers[device_of(run.machine)], headline(subject)) for run in runs for subject in run.results
    ]
    return Gathered(tuple(runs), tuple(map(str, numbers)), tuple(rows), tuple(_artifacts(rows)))


def front(artifacts: Sequence[Artifact], *, higher_is_better: bool = True) -> list[Artifact]:
    """Those than which no other is better in one of latency, size and accuracy, and as good in the others.

    Of artifacts of one device, and of one metric or none.
    """
    if not artifacts:
        return []
    sign = -1 if higher_is_better else 1
    costs = np.array([[a.median_us, a.file_bytes, sign * (a.accuracy[1] if a.accuracy else 0)] for a in artifacts])
    order = np.lexsort(costs.T[::-1])
    kept: list[int] = []
    for i in order:  # nothing that comes later can be better than what was kept
        best = costs[kept]
        if not len(best) or not ((best <= costs[i]).all(axis=1) & (best < costs[i]).any(axis=1)).any():
            kept.append(int(i))
    return [artifacts[i] for i in kept]


def _artifacts(rows: Sequence[Row]) -> list[Artifact]:
    found: dict[tuple[int, str, str], list[Row]] = {}
    for row in rows:
        if row.scenario is not None:
            found.setdefault((row.device, row.subject.name, row.subject.sha256), []).append(row)
    files: dict[str, set[str]] = {}
    for _, name, sha256 in found:
        files.setdefault(name, set()).add(sha256)
    artifacts = []
    for (device, name, sha256), its in sorted(found.items(), key=lambda item: item[0][0]):
        valid = [row for row in its if row.run.verdict.valid]
        kept = valid or its
        medians = [row.scenario.latency.median_us for row in kept if row.scenario is not None]
        shown = name if len(files[name]) == 1 else f"{name} #{sha256[:6]}"
        artifacts.append(Artifact(shown, device, tuple(kept), float(np.median(medians)), bool(valid)))
    return artifacts
