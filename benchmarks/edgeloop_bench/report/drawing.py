"""A figure on the page: its words, its place, and the data that `draw.js` draws it from."""

from __future__ import annotations

from html import escape

from edgeloop.html import data_html
from edgeloop_bench.report.plots import Plot

__all__ = ["figure"]


def figure(plot: Plot, caption: str = "") -> str:
    """The plot's place, which has its height before it is drawn. `caption` is text."""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure class="drawn">{words}<div class="canvas" role="img" aria-label="{escape(plot.says)}" '
        f'style="height:{plot.height}px"></div>'
        + data_html({"data": plot.data, "layout": plot.layout, "height": plot.height})
        + "</figure>"
    )
