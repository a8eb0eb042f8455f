"""The page's plots of latency, accuracy and size, as Plotly's own dictionaries.

A colour is a name that the page replaces by one that reads on its paper, light or dark ("@1" to "@6", "@ink", "@soft",
"@line"), and never says anything alone: there is a symbol, a dash, a pattern or a word with it. Names that come from
a result are escaped: Plotly reads a little HTML in texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.histogram import LatencyHistogram, bucket_value_us
from edgeloop_bench.report.gathered import Artifact, letter
from edgeloop_bench.report.scales import format_bytes, format_us, log_axis, short

__all__ = ["DASHES", "SYMBOLS", "Plot", "colour", "pareto", "ridges", "row_names", "tails"]

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "hexagon")
COLOURS = 6
_LARGEST_MARK, _SMALLEST_MARK = 34, 8
_CELLS = 45
_LABELLED = 8


@dataclass(frozen=True)
class Plot:
    """A figure.

    Args:
        data: Plotly's traces.
        layout: Plotly's layout, without what all figures share.
        height: in pixels.
        says: the figure in words, for those who don't see it.
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int
    says: str


def colour(i: int) -> str:
    """The name of the i-th colour, from 0; they come round again."""
    return f"@{i % COLOURS + 1}"


def row_names(names: Sequence[str], *, offset: float) -> list[dict[str, Any]]:
    """A name at the left above each row 0, 1, …: on a phone, names at the axis would leave no room for the plot."""
    return [
        {
            "xref": "paper",
            "x": 0,
            "xanchor": "left",
            "y": i + offset,
            "yanchor": "bottom",
            "showarrow": False,
            "text": escape(short(name)),
            "font": {"color": "@ink", "size": 13},
        }
        for i, name in enumerate(names)
    ]


def pareto(
    artifacts: Sequence[Artifact],
    fronts: Sequence[Sequence[Artifact]],
    devices: Sequence[str],
    metric: str | None,
    *,
    higher_is_better: bool = True,
) -> Plot:
    """Latency against the metric, the larger the mark the larger the file; or against size, where there is no metric.

    Args:
        artifacts: what to show, all of one metric.
        fronts: of each device.
        devices: their names, which artifacts count from 0.
        metric: its name.
        higher_is_better: its direction.
    """
    data: list[dict[str, Any]] = []
    largest = max((a.file_bytes for a in artifacts), default=1) or 1
    latencies = [a.median_us for a in artifacts]
    for i, its_front in enumerate(fronts):
        its = [a for a in artifacts if a.device == i]
        if not its:
            continue
        who = f"{letter(i)}: " if len(devices) > 1 else ""
        line = sorted(its_front, key=lambda a: a.median_us)
        best = _staircase(line, metric, 1 if metric and higher_is_better else -1)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [a.median_us for a in best],
                "y": [_height(a, metric) for a in best],
                "line": {"color": colour(i), "width": 2, "dash": DASHES[i % len(DASHES)], "shape": "hv"},
                "name": f"{who}the front",
                "hoverinfo": "skip",
            }
        )
        kept = {id(a) for a in line}
        groups = (
            (f"{who}on the front", [a for a in its if id(a) in kept], ""),
            (f"{who}behind it", [a for a in _thinned(its, metric) if id(a) not in kept and a.is_valid], "-open"),
            ("INVALID", [a for a in _thinned(its, metric) if id(a) not in kept and not a.is_valid], "x-thin-open"),
        )
        for name, those, kind in groups:
            if those:
                symbol = kind if kind.startswith("x") else SYMBOLS[i % len(SYMBOLS)] + kind
                few = len(its) if "on the front" not in name else len(line)
                labels = len(fronts) == 1 and few <= _LABELLED
                data.append(_marks(those, name, symbol, colour(i), largest, metric, labels=labels))
    says = (
        f"Latency against {metric or 'file size'} of {len(artifacts)} artifacts on {len(devices)} device"
        f"{'s' * (len(devices) != 1)}. "
        + " ".join(
            f"On {devices[i]} the front is {', '.join(a.name for a in f[:_LABELLED])}"
            + (f" and {len(f) - _LABELLED} more." if len(f) > _LABELLED else ".")
            for i, f in enumerate(fronts)
            if f
        )
    )
    y = (
        {"title": {"text": escape(metric)}, "range": _room([_height(a, metric) for a in artifacts])}
        if metric
        else log_axis([a.file_bytes for a in artifacts], "file size", unit="bytes")
    )
    layout = {"xaxis": log_axis(latencies, "latency of one call, median", margin=1.35), "yaxis": y}
    return Plot(data, layout, 460, says)


def _room(values: Sequence[float]) -> list[float]:
    """Around values, for marks and their names."""
    spread = (max(values) - min(values)) or abs(max(values)) * 0.1 or 1.0
    return [min(values) - 0.12 * spread, max(values) + 0.16 * spread]


def _marks(
    those: Sequence[Artifact],
    name: str,
    symbol: str,
    ink: str,
    largest: int,
    metric: str | None,
    *,
    labels: bool,
) -> dict[str, Any]:
    sizes = [_LARGEST_MARK * (a.file_bytes / largest) ** 0.5 if metric else 12 for a in those]
    return {
        "type": "scatter",
        "mode": "markers+text" if labels else "markers",
        "x": [a.median_us for a in those],
        "y": [_height(a, metric) for a in those],
        "text": [escape(short(a.name.removesuffix(".tflite"), 26)) for a in those],
        "textposition": "top center",
        "textfont": {"size": 11, "color": "@ink"},
        "cliponaxis": False,
        "customdata": [
            [escape(a.name), format_us(a.median_us), format_bytes(a.file_bytes), len(a.rows)] for a in those
        ],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}, %{customdata[2]}"
        + ("<br>%{y:.4f}" if metric else "")
        + "<br>runs: %{customdata[3]}<extra></extra>",
        "name": name,
        "marker": {
            "symbol": symbol,
            "color": ink,
            "opacity": 0.85,
            "size": [max(_SMALLEST_MARK, s) for s in sizes],
            "line": {"color": ink, "width": 1.5},
        },
    }


def _height(a: Artifact, metric: str | None) -> float:
    return a.accuracy[1] if metric and a.accuracy else float(a.file_bytes)


def _staircase(line: Sequence[Artifact], metric: str | None, sign: int) -> list[Artifact]:
    """Of a front in three by latency, what is the front in the two that the plot shows."""
    best: list[Artifact] = []
    for a in line:
        if not best or sign * _height(a, metric) > sign * _height(best[-1], metric):
            best.append(a)
    return best


def _thinned(artifacts: Sequence[Artifact], metric: str | None) -> list[Artifact]:
    """One for each cell of a grid: more marks on one spot show nothing more."""
    if len(artifacts) < _CELLS**2 // 4:
        return list(artifacts)
    spots = np.array([[np.log(a.median_us), _height(a, metric)] for a in artifacts])
    low, width = spots.min(axis=0), np.maximum(np.ptp(spots, axis=0), 1e-12)
    cells = np.minimum((spots - low) / width * _CELLS, _CELLS - 1).astype(int)
    _, first = np.unique(cells, axis=0, return_index=True)
    return [artifacts[i] for i in sorted(first)]


def ridges(found: Sequence[tuple[str, LatencyHistogram]], device: str) -> Plot:
    """The densities of latencies, one above the other, each to its own height, with median, 90 % and 99 %."""
    data: list[dict[str, Any]] = []
    rows = list(reversed(found))
    spans = []
    for i, (_, counted) in enumerate(rows):
        x, density = _density(counted)
        spans += [counted.quantile_us(q) or 0.0 for q in (0.0, 0.999)]
        base = {"type": "scatter", "x": x.tolist(), "mode": "lines", "hoverinfo": "skip", "showlegend": False}
        ink = colour(len(rows) - 1 - i)
        data.append(base | {"y": [i] * len(x), "line": {"width": 1, "color": "@line"}})
        data.append(
            base
            | {
                "y": (i + 0.6 * density / density.max()).round(4).tolist(),
                "line": {"width": 1.5, "color": ink},
                "fill": "tonexty",
                "fillcolor": ink + "/0.35",
            }
        )
    for q, symbol, words in (
        (0.5, "line-ns-open", "median"),
        (0.9, "triangle-up", "90 %"),
        (0.99, "diamond", "99 %"),
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [counted.quantile_us(q) for _, counted in rows],
                "y": list(range(len(rows))),
                "name": words,
                "marker": {"symbol": symbol, "size": 16 if q == 0.5 else 9, "color": "@ink", "line": {"width": 2}},
                "customdata": [[escape(name), format_us(counted.quantile_us(q)), counted.n] for name, counted in rows],
                "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<br>of %{customdata[2]:,} calls<extra>"
                + words
                + "</extra>",
            }
        )
    says = f"Distributions of latency on {device}: " + "; ".join(
        f"{name}: median {format_us(c.quantile_us(0.5))}, 90 % within {format_us(c.quantile_us(0.9))}, 99 % within "
        f"{format_us(c.quantile_us(0.99))}"
        for name, c in found
    )
    layout = {
        "xaxis": log_axis(spans, "latency of one call"),
        "yaxis": {"visible": False, "range": [-0.25, len(rows) + 0.12]},
        "annotations": row_names([name for name, _ in rows], offset=0.66),
    }
    return Plot(data, layout, 120 + 74 * len(rows), says)


def _density(counted: LatencyHistogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Over the logarithm, smoothed over some buckets, each of which is 2 % wide; within the fastest and 99.9 %."""
    at = np.flatnonzero(counted.counts)
    upto = np.cumsum(counted.counts)
    first, last = int(at[0]), int(np.searchsorted(upto, 0.999 * counted.n))
    # As wide as the body asks for: a long tail would blur it, and shift its peak off the median.
    width = max(1.0, (int(np.searchsorted(upto, 0.9 * counted.n)) - first) / 12)
    reach = int(np.ceil(3 * width))
    padded = np.zeros(last - first + 1 + 2 * reach)
    padded[reach : reach + last - first + 1] = counted.counts[first : last + 1]
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    smooth = np.convolve(padded, kernel, mode="same")
    step = max(1, len(smooth) // 400)
    kept = np.arange(0, len(smooth), step)
    values = bucket_value_us(kept + first - reach)
    return np.round(values, 4), smooth[kept]


def tails(found: Sequence[tuple[str, LatencyHistogram]], device: str) -> Plot:
    """The share of calls that took longer, both axes logarithmic: what a mean hides."""
    data = []
    for i, (name, counted) in enumerate(found):
        values, counts = counted.used()
        beyond = 1 - np.cumsum(counts) / counted.n
        kept = np.flatnonzero(beyond > 0)
        kept = kept[:: max(1, len(kept) // 150)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": values[kept].round(3).tolist(),
                "y": beyond[kept].tolist(),
                "name": escape(short(name, 30)),
                "line": {"color": colour(i), "width": 2, "dash": DASHES[i % len(DASHES)]},
                "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 6, "maxdisplayed": 8},
                "hovertemplate": "%{y:.3%} took longer than %{x:,.1f} µs",
            }
        )
    spans = [v for _, c in found for v in (c.quantile_us(0.0) or 0.0, c.quantile_us(1.0) or 0.0)]
    shares = [1.0, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6]
    least = min((1 / c.n for _, c in found), default=0.01)
    layout = {
        "xaxis": log_axis(spans, "latency of one call"),
        "yaxis": {
            "type": "log",
            "tickvals": shares,
            "ticktext": ["all", "10 %", "1 %", "0.1 %", "0.01 %", "0.001 %", "0.0001 %"],
            "range": [float(np.log10(least)) - 0.1, 0.05],
            "title": {"text": "calls that took longer"},
        },
    }
    return Plot(data, layout, 380, f"The share of calls that took longer than a latency, on {device}.")
