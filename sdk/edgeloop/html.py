"""Self-contained HTML pages: no network, light and dark, readable on a phone and printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["data_html", "figure_html", "page", "table"]

_STYLE = """
:root { --ink: #1b1f24; --soft: #59636e; --paper: #ffffff; --line: #d9dee4; --good: #0a7f5a; --bad: #b8430b;
        color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9aa5b1; --paper: #15181c; --line: #343b44; --good: #3cc795; --bad: #ff8a4c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
       font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0; } .soft { color: var(--soft); }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .8rem 0; min-width: 24rem; }
th, td { text-align: left; padding: .35rem 1rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; } td.n, th.n {
  text-align: right; font-variant-numeric: tabular-nums; }
td.s { min-width: 13rem; }
.strip { display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0; } .strip figure { margin: 0; width: 72px; }
.strip figcaption { font-size: .75rem; color: var(--soft); text-align: center; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
.looks { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; }
.look { break-inside: avoid; } .look p { max-width: 31rem; }
.look .strip { flex-wrap: nowrap; } .look .strip figure { flex: 1 1 0; width: auto; max-width: 150px; }
.look img { width: 100%; display: block; border-radius: 4px;
  image-rendering: pixelated; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; }
svg.pixels { width: 72px; height: 72px; display: block; border-radius: 4px; }
@media print {
  :root { --ink: #1b1f24; --soft: #59636e; --paper: #ffffff; --line: #d9dee4; --good: #0a7f5a; --bad: #b8430b;
          color-scheme: light; }
  body { max-width: none; padding: 0; } h2, .plot, table { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .modebar { display: none !important; } }
"""


def page(title: str, body: str, *, style: str = "") -> str:
    """A whole page. `body` is HTML; `title` is text; `style` is CSS after what all pages share."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = (), sentences: Sequence[int] = ()
) -> str:
    """A table of HTML cells, which aren't escaped.

    The columns in `numbers` are set to the right; those in `sentences` keep room for words on a narrow screen.
    """
    kind = [' class="n"' if i in numbers else ' class="s"' if i in sentences else "" for i in range(len(head))]
    top = "".join(f"<th{kind[i]}>{cell}</th>" for i, cell in enumerate(head))
    lines = ["<tr>" + "".join(f"<td{kind[i]}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows]
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def data_html(data: Any) -> str:
    """Data for a page's scripts as a JSON element, in which nothing can end the element or begin another."""
    code = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        code = code.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json">{code}</script>'


def figure_html(figure: Any, *, with_library: bool) -> str:
    """A Plotly figure as a piece of a page. The first on a page brings Plotly's own code along: `with_library`."""
    code: str = figure.to_html(
        full_html=False, include_plotlyjs=with_library, config={"displaylogo": False, "responsive": True}
    )
    return f'<div class="plot">{code}</div>'
