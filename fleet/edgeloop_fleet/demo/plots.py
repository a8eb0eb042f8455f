"""The demo's plots, each a Plotly figure that reads on a light and on a dark page."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeloop_fleet.demo.camera import frame_of
from edgeloop_fleet.demo.verdict import Moments, Story

__all__ = ["accuracy_bars", "accuracy_over_time", "drift_over_time"]

# Okabe and Ito's colours (2008), told apart by the colour-blind too.
COLOURS = ("#009E73", "#D55E00", "#0072B2", "#CC79A7", "#E69F00")
_GREY = "#808890"
_BIN_S = 2.0


def accuracy_over_time(story: Story) -> Any:
    """The share of frames that each device got right, in bins of two seconds, with what happened when."""
    import plotly.graph_objects as go

    figure = go.Figure()
    start = story.moments.start
    for colour, (name, lines) in zip(COLOURS, story.lines.items(), strict=False):
        times = np.array([line.time_s for line in lines]) - start
        right = np.array([story.truth[frame_of(line.ref)[2]] == line.index for line in lines])
        bins = (times // _BIN_S).astype(int)
        kept = [b for b in np.unique(bins) if (bins == b).sum() >= 60]  # a bin of a few frames is noise
        figure.add_scatter(
            x=[(b + 0.5) * _BIN_S for b in kept],
            y=[right[bins == b].mean() for b in kept],
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5, "dash": "solid" if name in story.bad else "dot"},
            hovertemplate="%{y:.1%} at %{x:.0f} s",
        )
    _mark(figure, story.moments)
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.02])
    figure.update_xaxes(title="seconds since the devices started")
    return _styled(figure, height=380)


def drift_over_time(story: Story) -> Any:
    """How far each profiled feature was from training, window by window: a heat map of PSI for each device."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    names = sorted(story.lines)
    features = list(story.series[0].psi) if story.series else []
    figure = make_subplots(rows=len(names), cols=1, shared_xaxes=True, vertical_spacing=0.08, subplot_titles=names)
    for row, name in enumerate(names, 1):
        windows = [judged for judged in story.series if judged.device == name]
        figure.add_trace(
            go.Heatmap(
                x=[f"{judged.index}" for judged in windows],
                y=features,
                z=[[np.log10(max(judged.psi[f], 1e-3)) for judged in windows] for f in features],
                customdata=[[judged.psi[f] for judged in windows] for f in features],
                hovertemplate="%{y}, window %{x}: PSI %{customdata:.2f}<extra></extra>",
                colorscale="Cividis",
                zmin=-2,
                zmax=1,
                colorbar={"title": "PSI", "tickvals": [-2, -1, 0, 1], "ticktext": ["0.01", "0.1", "1", "10"]},
                showscale=row == 1,
            ),
            row=row,
            col=1,
        )
    figure.update_xaxes(title="window of the first model", row=len(names), col=1)
    return _styled(figure, height=190 * len(names) + 60)


def accuracy_bars(story: Story) -> Any:
    """Before, during, after, for each device."""
    import plotly.graph_objects as go

    figure = go.Figure()
    names = list(story.accuracy)
    for part, colour in (("before", COLOURS[0]), ("during", COLOURS[1]), ("after", COLOURS[2])):
        values = [getattr(story.accuracy[name], part) for name in names]
        figure.add_bar(
            x=names, y=values, name=part, marker_color=colour, text=[f"{v:.0%}" for v in values], textposition="outside"
        )
    figure.update_yaxes(title="accuracy", tickformat=".0%", range=[0, 1.12])
    return _styled(figure, height=340)


def _mark(figure: Any, moments: Moments) -> None:
    """Shade the time of the bad lenses, and draw lines at the alarm and at the switch; no two labels at one height."""
    start = moments.start
    for first, last, label, height, opacity in (
        (moments.blurred, moments.worn, "blur", 0.23, 0.10),
        (moments.worn, moments.end, "blur, low contrast, noise", 0.02, 0.18),
    ):
        figure.add_vrect(x0=first - start, x1=last - start, fillcolor=_GREY, opacity=opacity, line_width=0)
        _label(figure, first - start, height, label, "left")
    for when, label, height, anchor in (
        (moments.alarm, "alarm", 0.16, "left"),
        (moments.switched, "new model on all devices", 0.09, "right"),
    ):
        figure.add_vline(x=when - start, line={"color": _GREY, "dash": "dash"})
        _label(figure, when - start, height, label, anchor)
    figure.update_xaxes(range=[0, moments.end - start])


def _label(figure: Any, x: float, height: float, text: str, anchor: str) -> None:
    shift = 4 if anchor == "left" else -4
    figure.add_annotation(x=x, y=height, yref="paper", text=text, showarrow=False, xanchor=anchor, xshift=shift)


def _styled(figure: Any, *, height: int) -> Any:
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": _GREY},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "color": _GREY, "size": 13},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        hovermode="x unified" if figure.data and figure.data[0].type == "scatter" else "closest",
    )
    figure.update_xaxes(gridcolor="rgba(128,136,144,0.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(128,136,144,0.25)", zeroline=False)
    return figure
