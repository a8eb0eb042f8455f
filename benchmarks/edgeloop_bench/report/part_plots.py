"""The page's plots of what a call is made of, of devices side by side, and of history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from typing import Any

from edgeloop_bench.history import Point, Series
from edgeloop_bench.report.gathered import Artifact
from edgeloop_bench.report.plots import DASHES, SYMBOLS, Plot, colour, row_names
from edgeloop_bench.report.scales import format_bytes, format_us, linear_axis, log_axis, short
from edgeloop_bench.result import Scenario, SubjectResult

__all__ = ["bars", "latencies", "operators", "throughputs", "trend"]

_PATTERNS = ("", "/", ".", "x", "-", "+")
_ROW = 64


def operators(subject: SubjectResult) -> Plot:
    """A treemap: the time of every operator, in its kind."""
    kinds: dict[str, float] = {}
    for o in subject.operators:
        kinds[o.kind] = kinds.get(o.kind, 0.0) + o.us
    ordered = sorted(kinds, key=lambda kind: -kinds[kind])
    total = sum(kinds.values())
    ids, labels, parents, values, colours = [], [], [], [], []
    for i, kind in enumerate(ordered):
        its = [o for o in subject.operators if o.kind == kind]
        ids.append(kind)
        labels.append(f"{escape(kind)} × {len(its)}")
        parents.append("")
        values.append(kinds[kind])
        colours.append(f"{colour(i)}/0.25")
        for n, o in enumerate(its):
            ids.append(f"{kind}/{n}")
            labels.append(escape(short(o.name, 32)))
            parents.append(kind)
            values.append(o.us)
            colours.append(f"{colour(i)}/0.4")
    data = {
        "type": "treemap",
        "ids": ids,
        "labels": labels,
        "parents": parents,
        "values": values,
        "text": [format_us(v) for v in values],
        "branchvalues": "total",
        "texttemplate": "%{label}<br>%{text}, %{percentRoot:.0%}",
        "hovertemplate": "%{label}<br>%{text}, %{percentRoot:.1%}<extra></extra>",
        "marker": {"colors": colours, "line": {"width": 1, "color": "@paper"}},
        "textfont": {"color": "@ink"},
        "tiling": {"pad": 2},
        "pathbar": {"visible": False},
    }
    says = f"The time of {subject.name}'s operators by kind: " + ", ".join(
        f"{kind} {kinds[kind] / total if total else 0:.0%}" for kind in ordered[:6]
    )
    return Plot(
        [data], {"margin": {"l": 0, "r": 0, "t": 8, "b": 8}, "uniformtext": {"minsize": 10, "mode": "hide"}}, 380, says
    )


def bars(
    names: Sequence[str], parts: Sequence[tuple[str, Sequence[float]]], title: str, *, unit: str, says: str
) -> Plot:
    """Stacked bars, one row for each name; `parts` are (what, the values of the names) in microseconds or bytes."""
    words = format_us if unit == "us" else format_bytes
    count = len(names)
    rows = list(range(count - 1, -1, -1))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": rows,
            "x": list(values),
            "width": 0.42,
            "name": what,
            "marker": {
                "color": f"{colour(i)}/0.55",
                "line": {"color": colour(i), "width": 1.5},
                "pattern": {"shape": _PATTERNS[i], "fgcolor": colour(i), "size": 7, "solidity": 0.25},
            },
            "customdata": [[escape(name), words(v)] for name, v in zip(names, values, strict=True)],
            "hovertemplate": "%{customdata[0]}<br>" + what + " %{customdata[1]}<extra></extra>",
        }
        for i, (what, values) in enumerate(parts)
    ]
    totals = [sum(values[i] for _, values in parts) for i in range(count)]
    top = max(totals, default=1.0) or 1.0
    ends = [
        {
            "x": total,
            "y": rows[i],
            "xanchor": "left",
            "xshift": 4,
            "showarrow": False,
            "text": words(total),
            "font": {"color": "@soft", "size": 12},
        }
        for i, total in enumerate(totals)
    ]
    layout = {
        "barmode": "stack",
        "xaxis": linear_axis(top, title, unit=unit),
        "yaxis": {"visible": False, "range": [-0.4, count - 0.35]},
        "annotations": row_names([names[count - 1 - i] for i in range(count)], offset=0.22) + ends,
    }
    return Plot(data, layout, 130 + _ROW * count, says)


def latencies(groups: Sequence[tuple[str, Sequence[Artifact]]], devices: Sequence[str]) -> Plot:
    """Devices side by side: a row for each artifact's name, in it a mark with its interval for each device."""
    count = len(groups)
    data: list[dict[str, Any]] = []
    found: list[float] = []
    for i in range(len(devices)):
        points = [
            (count - 1 - row + 0.12 - 0.11 * i, a) for row, (_, its) in enumerate(groups) for a in its if a.device == i
        ]
        if not points:
            continue
        lows, highs = zip(*(_interval(a) for _, a in points), strict=True)
        found += [*lows, *highs]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [a.median_us for _, a in points],
                "y": [y for y, _ in points],
                "name": escape(short(devices[i], 48)),
                "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 11, "color": colour(i)},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [high - a.median_us for (_, a), high in zip(points, highs, strict=True)],
                    "arrayminus": [a.median_us - low for (_, a), low in zip(points, lows, strict=True)],
                    "color": colour(i),
                    "thickness": 1.5,
                },
                "customdata": [[escape(a.name), format_us(a.median_us)] for _, a in points],
                "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra>" + escape(devices[i]) + "</extra>",
            }
        )
    layout = {
        "xaxis": log_axis(found, "median of a call, 95 % interval", margin=1.25),
        "yaxis": {"visible": False, "range": [-0.65, count - 0.3]},
        "annotations": row_names([name for name, _ in reversed(groups)], offset=0.3),
        "legend": {"orientation": "v", "y": 1.0, "yanchor": "bottom", "x": 0},
    }
    says = f"Median latency of {count} artifacts on {len(devices)} devices; the table below has the same figures."
    return Plot(data, layout, 130 + 26 * len(devices) + 84 * count, says)


def _interval(a: Artifact) -> tuple[float, float]:
    """Of the run nearest to the artifact's median; no wider than a point where there is none."""
    latest = min(
        (row.scenario.latency for row in a.rows if row.scenario is not None),
        key=lambda latency: abs(latency.median_us - a.median_us),
    )
    low, high = latest.median_ci_us or (a.median_us, a.median_us)
    return min(low, a.median_us), max(high, a.median_us)


def throughputs(artifacts: Sequence[tuple[str, Sequence[Scenario]]]) -> Plot:
    """Inputs a second by threads and batch: a line for each artifact and batch."""
    data: list[dict[str, Any]] = []
    threads = sorted({s.threads for _, scenarios in artifacts for s in scenarios})
    batches = sorted({s.batch for _, scenarios in artifacts for s in scenarios})
    for i, (name, scenarios) in enumerate(artifacts):
        # One line of the legend for each artifact: the dashes of the batches are the same for all.
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [None],
                "y": [None],
                "name": escape(short(name)),
                "legendgroup": str(i),
                "line": {"color": colour(i), "width": 2},
                "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
            }
        )
        for batch in sorted({s.batch for s in scenarios}):
            its = sorted((s for s in scenarios if s.batch == batch), key=lambda s: s.threads)
            spread = [s.throughput.ci_per_s or (s.throughput.per_s, s.throughput.per_s) for s in its]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": [threads.index(s.threads) for s in its],
                    "y": [s.throughput.per_s for s in its],
                    "error_y": {
                        "type": "data",
                        "symmetric": False,
                        "array": [high - s.throughput.per_s for s, (_, high) in zip(its, spread, strict=True)],
                        "arrayminus": [s.throughput.per_s - low for s, (low, _) in zip(its, spread, strict=True)],
                        "thickness": 1.2,
                    },
                    "name": f"{escape(short(name))}, batch {batch}",
                    "legendgroup": str(i),
                    "showlegend": False,
                    "line": {"color": colour(i), "width": 2, "dash": DASHES[batches.index(batch) % len(DASHES)]},
                    "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
                    "hovertemplate": "%{y:,.0f} inputs/s<extra>%{fullData.name}</extra>",
                }
            )
    layout = {
        "xaxis": {
            "tickvals": list(range(len(threads))),
            "ticktext": [str(t) for t in threads],
            "range": [-0.3, len(threads) - 0.7],
            "title": {"text": "threads"},
        },
        "yaxis": {"title": {"text": "inputs a second"}, "type": "log", "dtick": "D2", "tickformat": "~s"},
        "legend": {"orientation": "v", "y": 1.0, "yanchor": "bottom", "x": 0},
    }
    return Plot(data, layout, 330 + 21 * len(artifacts), "Throughput in inputs a second, by threads and batch.")


def trend(series: Series) -> Plot:
    """The median of every run with its interval, the level between changes, and the changes themselves."""
    trusted, doubted = series.trusted, [p for p in series.points if not p.is_trusted]
    data = [_dots(trusted, "a run", "circle", "@1")]
    if doubted:
        data.append(_dots(doubted, "INVALID, not counted", "x", "@2"))
    edges = [0, *(c.index for c in series.changes), len(trusted)]
    levels = [series.changes[0].before, *(c.after for c in series.changes)] if series.changes else []
    x: list[str | None] = []
    y: list[float | None] = []
    for a, b, level in zip(edges[:-1], edges[1:], levels, strict=False):
        x += [_when(trusted[a]), _when(trusted[b - 1]), None]
        y += [level, level, None]
    if levels:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "name": "its level",
                "line": {"color": "@ink", "width": 2.5},
                "hoverinfo": "skip",
            }
        )
    shapes, notes = [], []
    for i, change in enumerate(series.changes):
        when = _when(trusted[change.index])
        shapes.append(
            {
                "type": "line",
                "x0": when,
                "x1": when,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "@2", "width": 1.5, "dash": "dash"},
            }
        )
        notes.append(
            {
                "x": when,
                "yref": "paper",
                "y": 1.0 + 0.075 * (i % 2),
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"{change.ratio - 1:+.1%}",
                "font": {"color": "@ink", "size": 12},
                "bgcolor": "@paper",
            }
        )
    medians = [p.scenario.latency.median_us for p in series.points]
    layout = {
        "xaxis": {"type": "date"},
        "yaxis": log_axis(medians, "median of a call", margin=1.06, least=1.25),
        "shapes": shapes,
        "annotations": notes,
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
    }
    told = ", ".join(f"{c.ratio - 1:+.1%} at run {c.index + 1}" for c in series.changes) or "none"
    says = f"The latency of {series.name} over {len(series.points)} runs on {series.device}. Changes: {told}."
    return Plot(data, layout, 360, says)


def _dots(points: Sequence[Point], name: str, symbol: str, ink: str) -> dict[str, Any]:
    spans = [p.scenario.latency.median_ci_us or (p.scenario.latency.median_us,) * 2 for p in points]
    medians = [p.scenario.latency.median_us for p in points]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_when(p) for p in points],
        "y": medians,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high - m) for m, (_, high) in zip(medians, spans, strict=True)],
            "arrayminus": [max(0.0, m - low) for m, (low, _) in zip(medians, spans, strict=True)],
            "thickness": 1,
            "width": 0,
            "color": f"{ink}/0.5",
        },
        "name": name,
        "marker": {"symbol": symbol, "size": 7, "color": ink},
        "customdata": [[escape(p.run.label or p.run.id), format_us(m)] for p, m in zip(points, medians, strict=True)],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    }


def _when(point: Point) -> str:
    return datetime.fromtimestamp(point.run.start_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
