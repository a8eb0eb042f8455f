"""The page's table: every artifact of every run, as data that `table.js` sorts, searches, shows and copies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from edgeloop.html import data_html
from edgeloop_bench.report.gathered import Gathered, Row

__all__ = ["PRINTED_ROWS", "table_html"]

PRINTED_ROWS = 100

# name, title, kind, digits that count; a column that holds nothing is left out
_COLUMNS: tuple[tuple[str, str, str, int], ...] = (
    ("artifact", "artifact", "text", 0),
    ("verdict", "verdict", "text", 0),
    ("device", "device", "text", 0),
    ("median", "median, µs", "number", 4),
    ("low", "95 % from", "number", 4),
    ("high", "to", "number", 4),
    ("p90", "90 %, µs", "number", 4),
    ("p99", "99 %, µs", "number", 4),
    ("ratio", "× first of its run", "number", 4),
    ("accuracy", "accuracy", "number", 4),
    ("metric", "metric", "text", 0),
    ("size", "file, kB", "number", 4),
    ("peak", "peak, MB", "number", 3),
    ("energy", "energy a call, µJ", "number", 3),
    ("throughput", "inputs a second", "number", 4),
    ("load", "load, ms", "number", 3),
    ("first", "first call, µs", "number", 4),
    ("warmup", "warm-up, calls", "count", 0),
    ("calls", "calls", "count", 0),
    ("label", "label", "text", 0),
    ("when", "when (UTC)", "text", 0),
)


_MINOR = frozenset({"metric", "throughput", "load", "first", "warmup", "calls", "label", "when"})
"""Not printed: paper is narrow."""


def table_html(gathered: Gathered) -> str:
    """The table with its tools; what comes from results is in its data, which becomes text and never HTML."""
    rows = [_cells(row, gathered.letters) for row in gathered.rows]
    columns: list[dict[str, Any]] = []
    values: list[list[Any]] = []
    for name, title, kind, digits in _COLUMNS:
        column = [row[name] for row in rows]
        if all(value is None or value == "" for value in column) or (name == "device" and len(gathered.devices) == 1):
            continue
        described: dict[str, Any] = {
            "name": name,
            "title": title,
            "kind": kind,
            "digits": digits,
            "minor": name in _MINOR,
        }
        if kind == "text":
            known = {value: i for i, value in enumerate(dict.fromkeys(column))}
            described["values"] = list(known)
            column = [known[value] for value in column]
        columns.append(described)
        values.append(column)
    data = {"printed": PRINTED_ROWS, "columns": columns, "rows": list(map(list, zip(*values, strict=True)))}
    heads = "".join(f'<th scope="col" class="{_classes(c)}"><button>{c["title"]}</button></th>' for c in columns)
    more = len(rows) - PRINTED_ROWS
    left_out = f'<p class="only-print">{PRINTED_ROWS} of {len(rows):,} rows are printed.</p>' if more > 0 else ""
    return (
        '<section id="results"><div class="tools">'
        '<input type="search" placeholder="Search names, labels, devices" aria-label="Search the table">'
        '<button type="button" data-copy="tsv">Copy for a spreadsheet</button>'
        '<button type="button" data-copy="markdown">Copy as Markdown</button>'
        '<output aria-live="polite"></output></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="All results, a table">'
        f"<table><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>{left_out}{data_html(data)}"
        "<noscript>The table and the plots need JavaScript, all of which is in this file.</noscript></section>"
    )


def _classes(column: dict[str, Any]) -> str:
    kind = "s" if column["kind"] == "text" else "n"
    return f"{kind} minor" if column["minor"] else kind


def _cells(row: Row, letters: Sequence[str]) -> dict[str, Any]:
    run, subject = row.run, row.subject
    cells: dict[str, Any] = {
        "artifact": subject.name,
        "device": letters[row.device],
        "label": run.label,
        "when": datetime.fromtimestamp(run.start_s, timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "verdict": _verdict(row),
        "ratio": _rounded(subject.ratio.value if subject.ratio else None),
        "accuracy": _rounded(subject.accuracy.value if subject.accuracy else None),
        "metric": subject.accuracy.metric if subject.accuracy else "",
        "size": _rounded(subject.file_bytes / 1e3 if subject.file_bytes else None),
        "peak": _rounded(subject.memory.peak_bytes / 1e6 if subject.memory else None),
        "energy": _rounded(subject.energy.uj_per_call if subject.energy else None),
        "load": _rounded(subject.load_us / 1e3 if subject.load_us is not None else None),
        "first": _rounded(subject.first_us),
        "warmup": subject.warmup.calls if subject.warmup else None,
    }
    names = ("median", "low", "high", "p90", "p99", "throughput", "calls")
    if row.scenario is None:
        return cells | dict.fromkeys(names)
    latency = row.scenario.latency
    low, high = latency.median_ci_us or (None, None)
    figures = (latency.median_us, low, high, latency.p90_us, latency.p99_us, row.scenario.throughput.per_s)
    return cells | dict(zip(names, (*map(_rounded, figures), latency.n), strict=True))


def _verdict(row: Row) -> str:
    if not row.run.verdict.valid:
        return "INVALID"
    if row.subject.error is not None:
        return "failed"
    return "partial" if row.run.is_partial else "valid"


def _rounded(value: float | None) -> float | None:
    """To six digits: what is beyond them is noise, and takes room."""
    return None if value is None else float(f"{value:.6g}")
