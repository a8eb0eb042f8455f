"""The page's section on history: when the level changed, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape

from edgeloop.html import table
from edgeloop_bench.change_points import ALPHA, LEAST_CHANGE
from edgeloop_bench.history import Series, series_of
from edgeloop_bench.report.drawing import figure
from edgeloop_bench.report.part_plots import trend
from edgeloop_bench.report.scales import format_us
from edgeloop_bench.result import BenchResult

__all__ = ["history_html"]

_MOST_SERIES = 6
_MOST_CHANGES = 40


def history_html(runs: Sequence[BenchResult]) -> str:
    """All changes in a table, newest first; then the series that changed last, or are longest."""
    series = series_of(runs)
    if not series:
        return '<p class="soft">The history holds no run yet.</p>'
    ranked = sorted(series, key=lambda s: (-_last_change_s(s), -len(s.points)))[:_MOST_SERIES]
    rest = len(series) - len(ranked)
    intro = (
        f"<p>{len(series):,} series, each of one artifact on one device, asked in one way. A change is told where its "
        f"level moved by {LEAST_CHANGE:.0%} at least; of series without any, {ALPHA:.0%} show one. INVALID runs don't "
        "count.</p>"
    )
    more = f'<p class="soft">{rest:,} more series.</p>' if rest else ""
    figures = "".join(
        f"<h3>{escape(s.name)}</h3>" + figure(trend(s), f"{s.device}; {s.setting}; {len(s.points):,} runs.")
        for s in ranked
    )
    return intro + _changes(series) + figures + more


def _changes(series: Sequence[Series]) -> str:
    found = sorted(((s, c) for s in series for c in s.changes), key=lambda x: -x[0].trusted[x[1].index].run.start_s)
    if not found:
        return '<p class="good">No change of level.</p>'
    rows = []
    for s, change in found[:_MOST_CHANGES]:
        point = s.trusted[change.index]
        kind, word = ("bad", "slower") if change.ratio > 1 else ("good", "faster")
        when = datetime.fromtimestamp(point.run.start_s, timezone.utc).strftime("%Y-%m-%d %H:%M")
        label = escape(point.run.label or point.run.id)
        rows.append(
            [
                f'<span class="{kind}">{abs(change.ratio - 1):.1%} {word}</span>',
                escape(s.name),
                f"<span class='keep'>{when}</span><br><span class='soft'>{label}</span>",
                f"{format_us(change.before)} → {format_us(change.after)}",
                escape(point.note or "–"),
                escape(str(s.device)),
            ]
        )
    rest = len(found) - len(rows)
    more = f'<p class="soft">{rest:,} earlier ones are left out.</p>' if rest else ""
    head = ["change", "artifact", "since (UTC)", "median of a call", "new on the machine", "device"]
    return table(head, rows, sentences=(4, 5)) + more


def _last_change_s(series: Series) -> float:
    return series.trusted[series.changes[-1].index].run.start_s if series.changes else 0.0
