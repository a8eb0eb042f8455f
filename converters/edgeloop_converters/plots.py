"""The report's plots, each a Plotly figure that reads on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeloop_converters.candidates import Candidate
from edgeloop_converters.explaining import Look
from edgeloop_converters.proof import Bin, Importance, RobustnessRow, SliceReport
from edgeloop_converters.tflite import Diagnosis

__all__ = ["importance_bars", "layer_bars", "pareto", "reliability", "robustness_bars", "signal_look", "slice_bars"]

# Okabe and Ito's colours (2008), told apart by the colour-blind too.
GREEN, RED, BLUE, ORANGE = "#009E73", "#D55E00", "#0072B2", "#E69F00"
GREY = "#808890"
MOST_LAYERS = 20
MOST_COLUMNS = 15
MOST_CHANNELS = 3


def pareto(candidates: Sequence[Candidate], front: Sequence[Candidate], result: Candidate, original: float) -> Any:
    """Size against the metric; the larger the mark, the slower. The front has names; the result has a ring."""
    import plotly.graph_objects as go

    figure = go.Figure()
    shown = [c for c in candidates if not c.is_proxy]
    # The result's own size is that of its whole file; its mark is where it stood among the others.
    made = next((c for c in shown if c.recipe == result.recipe), result)
    slowest = max((c.latency_us or 1.0 for c in shown), default=1.0)
    for name, holds, colour in (("holds every budget", True, GREEN), ("misses one", False, RED)):
        those = [c for c in shown if c.verdict.holds is holds]
        figure.add_scatter(
            x=[c.size_bytes / 1e3 for c in those],
            y=[c.measurement.value for c in those],
            mode="markers+text",
            name=name,
            text=[c.recipe.name if c in front else "" for c in those],
            textposition="top center",
            cliponaxis=False,
            textfont={"size": 11},
            customdata=[[c.recipe.name, c.latency_us or 0.0] for c in those],
            hovertemplate="%{customdata[0]}<br>%{y:.4f}, %{x:.1f} kB, %{customdata[1]:.0f} µs<extra></extra>",
            marker={
                "color": colour,
                "size": [10 + 22 * ((c.latency_us or 0) / slowest) for c in those],
                "opacity": 0.75,
            },
        )
    figure.add_scatter(
        x=[made.size_bytes / 1e3],
        y=[made.measurement.value],
        mode="markers",
        name="the result",
        marker={"color": BLUE, "size": 46, "symbol": "circle-open", "line": {"width": 3}},
        hoverinfo="skip",
    )
    figure.add_hline(y=original, line={"color": GREY, "dash": "dash"}, annotation_text="original")
    figure.update_xaxes(title="size, kB")
    figure.update_yaxes(title=result.measurement.metric)
    return styled(figure, height=440)


def reliability(bins: Sequence[Bin]) -> Any:
    """How often the model is right, by how sure it is."""
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="as it should be", line={"color": GREY, "dash": "dash"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[b.confidence for b in bins],
        y=[b.accuracy for b in bins],
        customdata=[b.count for b in bins],
        mode="lines+markers",
        name="artifact",
        line={"color": BLUE, "width": 2.5},
        hovertemplate="%{x:.0%} sure, %{y:.0%} right, %{customdata} samples<extra></extra>",
    )
    figure.update_xaxes(title="confidence", tickformat=".0%", range=[0, 1.02])
    figure.update_yaxes(title="right", tickformat=".0%", range=[0, 1.02])
    return styled(figure, height=380)


def slice_bars(report: SliceReport) -> Any:
    """The metric by slice, with its interval."""
    import plotly.graph_objects as go

    rows = report.rows
    ends = {report.best: GREEN, report.worst: RED}
    figure = go.Figure()
    figure.add_bar(
        x=[r.value for r in rows],
        y=[f"{r.name} " for r in rows],
        orientation="h",
        marker_color=[ends.get(r.name, BLUE) for r in rows],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [r.high - r.value for r in rows],
            "arrayminus": [r.value - r.low for r in rows],
            "color": GREY,
        },
        customdata=[r.n for r in rows],
        hovertemplate="%{x:.3f}, %{customdata} samples<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title=report.metric)
    figure.update_yaxes(autorange="reversed")
    return styled(figure, height=90 + 28 * len(rows))


def robustness_bars(artifact: Sequence[RobustnessRow], original: Sequence[RobustnessRow], metric: str) -> Any:
    """The metric under each small change, of both models."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, rows, colour in (("original", original, GREY), ("artifact", artifact, BLUE)):
        figure.add_bar(
            x=[r.value for r in rows],
            y=["nothing " if r.name == "none" else f"{r.name} {r.strength} " for r in rows],
            orientation="h",
            name=name,
            marker_color=colour,
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(title=metric)
    figure.update_yaxes(autorange="reversed")
    return styled(figure, height=110 + 34 * len(artifact))


def layer_bars(diagnosis: Diagnosis) -> Any:
    """The error that each layer adds by itself, the worst first."""
    import plotly.graph_objects as go

    rows = [d for d in diagnosis.layers if d.added_nrmse is not None][:MOST_LAYERS]
    figure = go.Figure()
    figure.add_bar(
        x=[d.added_nrmse for d in rows],
        y=[f"{d.index}: {d.op.lower()} " for d in rows],
        orientation="h",
        marker_color=ORANGE,
        customdata=[[d.layer, d.nrmse] for d in rows],
        hovertemplate="%{customdata[0]}<br>adds %{x:.2%}, in all %{customdata[1]:.2%}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(title="error that it adds", tickformat=".1%")
    figure.update_yaxes(autorange="reversed")
    return styled(figure, height=100 + 26 * len(rows))


def importance_bars(original: Sequence[Importance], artifact: Sequence[Importance]) -> Any:
    """How much both models lean on each column, the most important ones."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, found, colour in (("original", original, GREY), ("artifact", artifact, BLUE)):
        rows = found[:MOST_COLUMNS]
        figure.add_bar(
            x=[i.mean for i in rows],
            y=[f"{i.name} " for i in rows],
            orientation="h",
            name=name,
            marker_color=colour,
            error_x={"type": "data", "array": [i.deviation for i in rows], "color": GREY},
        )
    figure.update_layout(barmode="group")
    figure.update_xaxes(title="loss of the metric where the column is shuffled")
    figure.update_yaxes(autorange="reversed", type="category")
    return styled(figure, height=130 + 34 * min(len(original), MOST_COLUMNS))


def signal_look(look: Look) -> Any:
    """A signal, and below it by how much either model's answer falls where it is covered."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for channel in range(min(look.sample.shape[1], MOST_CHANNELS)):
        figure.add_scatter(
            y=look.sample[:, channel].tolist(), mode="lines", line={"color": GREY, "width": 1}, showlegend=False,
            hovertemplate=f"channel {channel}: %{{y:.4g}}<extra></extra>", row=1, col=1,
        )  # fmt: skip
    for name, fall, colour in (("original", look.original, GREY), ("artifact", look.artifact, BLUE)):
        figure.add_scatter(y=fall.tolist(), mode="lines", name=name, line={"color": colour, "width": 2}, row=2, col=1)
    figure.update_yaxes(title="signal", row=1, col=1)
    figure.update_yaxes(title="fall", row=2, col=1)
    figure.update_xaxes(title="step", row=2, col=1)
    return styled(figure, height=300)


def styled(figure: Any, *, height: int) -> Any:
    """Transparent, so that the page's own light or dark shows."""
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "color": GREY, "size": 13},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "rgba(128,136,144,0.4)"},
    )
    figure.update_xaxes(gridcolor="rgba(128,136,144,0.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(128,136,144,0.25)", zeroline=False, automargin=True)
    return figure
