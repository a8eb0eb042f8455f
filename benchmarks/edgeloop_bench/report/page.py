"""The page: one file that stands alone, drawn as it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources

from edgeloop.errors import DataError
from edgeloop.html import page
from edgeloop_bench.report.data_table import table_html
from edgeloop_bench.report.gathered import Gathered, gather
from edgeloop_bench.report.over_time import history_html
from edgeloop_bench.report.parts import energy_html, memory_html, operators_html, stages_html
from edgeloop_bench.report.sections import devices_html, distributions_html, pareto_html, throughput_html
from edgeloop_bench.report.verdicts import how_html, verdicts_html
from edgeloop_bench.result import BenchResult

__all__ = ["render"]


def render(
    results: Sequence[BenchResult], *, history: Sequence[BenchResult] | None = None, problems: Sequence[str] = ()
) -> str:
    """The whole page.

    Args:
        results: of any runs on any devices.
        history: the runs of a history, for the section on time; None leaves it out.
        problems: a line for each file that couldn't be read.

    Raises:
        DataError: there is no result.
        ModuleNotFoundError: plotly isn't installed.
    """
    gathered = gather(results)
    if not gathered.rows:
        raise DataError("no result to report: measure with `edgeloop bench ARTIFACT --json > result.json`")
    sections = {
        "Accuracy, latency and size": pareto_html(gathered),
        "All results": table_html(gathered),
        "Distributions": distributions_html(gathered),
        "Devices side by side": devices_html(gathered),
        "Throughput": throughput_html(gathered),
        "Stages of an answer": stages_html(gathered),
        "Operators": operators_html(gathered),
        "Memory": memory_html(gathered),
        "Energy": energy_html(gathered),
        "Over time": "" if history is None else history_html(history),
        "How it was measured": how_html(gathered),
    }
    shown = {title: html for title, html in sections.items() if html}
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in shown)
    body = [
        "<header>",
        f"<h1>{_title(gathered)}</h1>",
        verdicts_html(gathered, problems),
        f'<nav aria-label="Sections">{links}</nav></header><main>',
        *(f'<h2 id="{_anchor(title)}">{title}</h2>\n{html}' for title, html in shown.items()),
        "</main>",
        f'<script type="text/plain" id="plotly">{_plotly()}</script>',
        *(f"<script>{_own(name)}</script>" for name in ("table.js", "draw.js")),
    ]
    return page("edgeloop bench", "\n".join(body), style=_own("page.css"))


def _title(gathered: Gathered) -> str:
    names = list(dict.fromkeys(row.subject.name for row in gathered.rows))
    where = gathered.devices[0] if len(gathered.devices) == 1 else f"{len(gathered.devices):,} devices"
    runs = f"{len(gathered.runs):,} run{'s' * (len(gathered.runs) != 1)}"
    what = escape(names[0]) if len(names) == 1 else f"{len(names):,} artifacts"
    return f'{what}<span class="label">{runs} on {escape(where)}</span>'


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def _own(name: str) -> str:
    return resources.files("edgeloop_bench.report").joinpath(name).read_text("utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    code: str = get_plotlyjs()
    return code
