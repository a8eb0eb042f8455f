"""`RESULTS.md`: what was run, on what, each figure with its command, and where we are behind first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone

import msgspec

from edgeloop.machine import Machine
from suite_runner.figures import Row, judge, significant
from suite_runner.running import Record
from suite_runner.suite import Suite

__all__ = ["Run", "behind", "render"]

_INTRODUCTION = (
    "Written by `make bench`; don't edit. What a suite does stands at the top of its file in `benchmarks/suites`. "
    "A ratio is ours over the peer's, measured in the same run, in turns."
)
_BUSY = 0.25  # of the cores, before a suite, by others than it


class Run(msgspec.Struct, frozen=True):
    """One `make bench`.

    Args:
        start_s: when it began, seconds since 1970.
        commit: of the tree, and whether it was changed since.
        machine: what it ran on.
        quick: whether with the short settings.
        records: of the suites, in their order.
    """

    start_s: float
    commit: str
    machine: Machine
    quick: bool
    records: tuple[Record, ...]


def render(run: Run, suites: Sequence[Suite]) -> str:
    """The whole page. Suites and figures stand in the catalogue's order, so that two pages can be compared."""
    rows = judged(run, suites)
    by_name = {suite.name: suite for suite in suites}
    done = [record for record in run.records if record.outcome == "done"]
    parts = [
        "# Results",
        _INTRODUCTION,
        *_warnings(run),
        _facts(run),
        "## Where we are behind",
        _behind_table(behind(run, suites)),
        *_unmeasured(run, suites),
        "## All figures",
        *(part for record in done for part in _section(by_name[record.suite], record, rows[record.suite])),
    ]
    return "\n\n".join(parts) + "\n"


def judged(run: Run, suites: Sequence[Suite]) -> Mapping[str, tuple[Row, ...]]:
    """The rows of each suite that was done."""
    figures = {suite.name: suite.figures for suite in suites}
    return {
        record.suite: tuple(judge(figure, record.document) for figure in figures[record.suite])
        for record in run.records
        if record.outcome == "done"
    }


def behind(run: Run, suites: Sequence[Suite]) -> list[tuple[str, Row]]:
    """Missed promises, then peers that are better: each with its suite, and the furthest off first."""
    rows = [(name, row) for name, its in judged(run, suites).items() for row in its]
    late = [pair for pair in rows if pair[1].state in ("MISSED", "behind")]
    return sorted(late, key=lambda pair: (pair[1].state != "MISSED", -pair[1].distance))


def _warnings(run: Run) -> Iterable[str]:
    if run.quick:
        yield "> **Short settings** (`make bench-quick`): enough to see that all runs, too few rounds to quote."
    if not run.records:
        return
    # A suite's own load shows in the next one's, so only the first one's tells of others.
    load = run.machine.load_1m
    if load > _BUSY * run.machine.cores:
        yield (
            f"> **The machine was busy**: a load of {load:.1f} on {run.machine.cores} cores before the first suite. "
            "Ratios within a run may stand, of calls that are short; times and rates are not to be quoted."
        )


def _facts(run: Run) -> str:
    machine = run.machine
    when = datetime.fromtimestamp(run.start_s, timezone.utc)
    facts = {
        "date": f"{when:%Y-%m-%d %H:%M} UTC",
        "commit": run.commit,
        "board": machine.board or "not told",
        "processor": f"{machine.cpu}, {machine.cores} cores, {machine.arch}",
        "memory": f"{machine.memory_bytes / 1e9:.1f} GB",
        "kernel, governor": f"{machine.kernel}, {machine.governor or 'not told'}",
        "Python": machine.python,
        "libraries": ", ".join(f"{name} {version}" for name, version in sorted(machine.libraries.items())),
        "load before": f"{machine.load_1m:.1f}",
    }
    return _table(("what", "is"), list(facts.items()))


def _behind_table(late: Sequence[tuple[str, Row]]) -> str:
    if not late:
        return "Nowhere in what was measured."
    body = [(row.figure.what, *_cells(row)[1:-1], _off(row), name) for name, row in late]
    return _table(("figure", "promised", "measured", "peer", "ratio [95 %]", "off by", "suite"), body)


def _off(row: Row) -> str:
    return "–" if row.distance in (0.0, float("inf")) else f"{_times(row.distance)} ×"


def _times(ratio: float) -> str:
    """Near 1 the thousandths matter."""
    return f"{ratio:.3f}" if 0.5 < ratio < 2 else significant(ratio)


def _unmeasured(run: Run, suites: Sequence[Suite]) -> Iterable[str]:
    body: list[tuple[str, str, str]] = [(r.suite, r.outcome, r.reason) for r in run.records if r.outcome != "done"]
    body += [(r.suite, "done, but", r.reason) for r in run.records if r.outcome == "done" and r.reason]
    for record in run.records:
        if record.outcome == "done" and isinstance(record.document, Mapping):
            # A suite names peers that it went without, with the reason.
            skipped = record.document.get("skipped")
            if isinstance(skipped, Mapping):
                body += [(record.suite, f"without {peer}", str(reason)) for peer, reason in skipped.items()]
    for name, rows in judged(run, suites).items():
        body += [(name, "not in its output", row.figure.what) for row in rows if row.value is None]
    if body:
        yield "## What wasn't measured"
        yield _table(("suite", "what became of it", "why"), body)


def _section(suite: Suite, record: Record, rows: Sequence[Row]) -> Iterable[str]:
    yield f"### {suite.name}"
    load = f"load {record.load_1m[0]:.1f} before, {record.load_1m[1]:.1f} after"
    yield f"{suite.what[0].upper()}{suite.what[1:]}: `{record.command}` ({record.seconds:.0f} s; {load})."
    body = [_cells(row) for row in rows if row.value is not None]
    if body:
        yield _table(("figure", "promised", "measured", "peer", "ratio [95 %]", ""), body)


def _cells(row: Row) -> tuple[str, ...]:
    figure = row.figure
    unit = f" {figure.unit}" if figure.unit else ""
    promised = f"{figure.promise.sign} {significant(figure.promise.bound)}{unit}" if figure.promise else "–"
    measured = "–" if row.value is None else f"{significant(row.value)}{unit}"
    ratio = "–" if row.ratio is None else _times(row.ratio)
    if row.ci is not None:
        ratio += f" [{_times(row.ci[0])}, {_times(row.ci[1])}]"
    return (figure.what, promised, measured, figure.peer or "–", ratio, row.state or "–")


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in cells)} |"

    return "\n".join((line(head), line(["---"] * len(head)), *map(line, body)))
