"""The result of one `edgeloop bench` run: what was measured, how, and on what."""

from __future__ import annotations

import msgspec

from edgeloop.latency import Latency, Ratio
from edgeloop.machine import Machine

__all__ = ["BenchResult", "Row", "Settings", "as_table"]


class Settings(msgspec.Struct, frozen=True):
    """How it was measured: `seconds` and `min_runs` are of counted calls an artifact, shared among its `openings`."""

    seconds: float = 2.0
    threads: int = 1
    openings: int = 12
    min_runs: int = 100
    warmup: int = 20
    seed: int = 0


class Row(msgspec.Struct, frozen=True):
    """One artifact.

    Args:
        name: the file's name, without its folder.
        sha256: of the flatbuffer, in hexadecimal.
        file_bytes: the whole file.
        load_us: making the interpreter and allocating its tensors, the median over the openings.
        first_us: the first invoke after that, the median over the openings.
        latency: of the invokes that follow; its rounds are the openings.
        ratio: to the first artifact of the run, which has none; paired by opening.
    """

    name: str
    sha256: str
    file_bytes: int
    load_us: float
    first_us: float
    latency: Latency
    ratio: Ratio | None = None


class BenchResult(msgspec.Struct, frozen=True):
    """The one JSON document of `edgeloop bench --json`."""

    machine: Machine
    settings: Settings
    results: tuple[Row, ...]
    schema: int = 1


def as_table(result: BenchResult) -> str:
    """The result as a person reads it."""
    machine, settings = result.machine, result.settings
    head = ["artifact", "size", "load", "first call", "median", "95 % interval", "p90", "p99", "calls", "ratio"]
    if len(result.results) == 1:
        head.pop()
    rows = [head, *([*_cells(row), _ratio(row.ratio)][: len(head)] for row in result.results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    threads = f"{settings.threads} thread" + "s" * (settings.threads != 1)
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    where = [
        " · ".join(filter(None, (machine.board, machine.cpu, f"{machine.cores} cores", threads))),
        f"Linux {machine.kernel} {machine.arch}, governor {machine.governor or 'unknown'}, load {machine.load_1m:.1f}",
        f"Python {machine.python}, {libraries}",
    ]
    return "\n".join([*where, "", *(line.rstrip() for line in lines)])


def _cells(row: Row) -> list[str]:
    latency = row.latency
    interval = "–" if latency.median_ci_us is None else "–".join(f"{us:.1f}" for us in latency.median_ci_us) + " µs"
    return [
        row.name,
        f"{row.file_bytes / 1000:.1f} kB",
        f"{row.load_us / 1000:.2f} ms",
        _us(row.first_us),
        _us(latency.median_us),
        interval,
        _us(latency.p90_us),
        "–" if latency.p99_us is None else _us(latency.p99_us),
        f"{latency.n:,}",
    ]


def _us(value: float) -> str:
    return f"{value:,.1f} µs"


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "1"
    if ratio.ci is None:
        return f"{ratio.value:.3f}"
    verdict = "" if ratio.differs else ", no difference"
    return f"{ratio.value:.3f} ({ratio.ci[0]:.3f}–{ratio.ci[1]:.3f}{verdict})"
