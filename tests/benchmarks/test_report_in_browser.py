"""The page in headless Chromium, without network: drawn, sorted, searched, copied, printed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop_bench.report.page import render
from edgeloop_bench.result import BenchResult

pytest.importorskip("plotly", reason="the bench extra isn't installed")
SUITES = Path(__file__).resolve().parents[2] / "benchmarks" / "suites"
MANY = 1200
DRAWN = """new Promise(async (done) => {
  const none = () => !document.querySelector("figure[data-drawn]");
  for (let i = 0; i < 400 && none(); i++) await new Promise(r => setTimeout(r, 50));
  done(document.querySelectorAll("figure[data-drawn] svg.main-svg").length);
})"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    """One browser for all: each test opens a page of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SUITES))
        module = importlib.import_module("chromium")
    binary = module.find_chromium()
    if binary is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with module.chromium(binary) as tab:
        yield tab


@pytest.fixture
def whole(synthetic: Callable[..., BenchResult], tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    runs = [synthetic(models=(0, 2, 5), is_whole=True), synthetic(1, board=1)]
    path.write_text(render(runs, history=[synthetic(i, models=(0,), at=i / 50) for i in range(12)]))
    return path


@pytest.fixture
def many(suite: Callable[[str], Any], tmp_path: Path) -> Path:
    path = tmp_path / "many.html"
    path.write_text(render(suite("synthetic_results").synthetic_results(MANY, seed=2)))
    return path


def column(tab: Any, at: int) -> list[str]:
    cells = f"[...document.querySelectorAll('#results tbody tr:not(.gap)')].map(row => row.children[{at}].textContent)"
    return list(tab.evaluate(cells))


def test_figures_are_drawn_when_they_come_near_and_nothing_is_said(tab: Any, whole: Path) -> None:
    tab.open(whole)
    assert tab.evaluate(DRAWN) > 0
    all_ = tab.evaluate("document.querySelectorAll('figure.drawn').length")
    assert tab.evaluate("document.querySelectorAll('figure[data-drawn]').length") < all_
    assert tab.said == []


def test_printing_draws_every_figure_on_white_even_where_the_screen_is_dark(tab: Any, whole: Path) -> None:
    tab.open(whole, dark=True)
    assert tab.evaluate(DRAWN) > 0
    ink = "getComputedStyle(document.querySelector('figure.drawn text')).fill"
    assert tab.evaluate(ink) == "rgb(154, 165, 177)"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.querySelector('figure.drawn:not([data-drawn])')") is None
    tab.evaluate("new Promise(done => { scrollTo(0, 2000); setTimeout(done, 200); })")
    ticks = "[...document.querySelectorAll('figure.drawn .xtick text')]"
    assert tab.evaluate(f"[...new Set({ticks}.map(one => getComputedStyle(one).fill))]") == ["rgb(89, 99, 110)"]
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(ink) == "rgb(154, 165, 177)"
    assert tab.pdf().startswith(b"%PDF")
    assert tab.said == []


def test_on_a_phone_nothing_is_wider_than_the_window(tab: Any, whole: Path) -> None:
    tab.open(whole, width=390, height=844)
    assert tab.evaluate(DRAWN) > 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_columns_are_sorted_by_a_button_and_say_so(tab: Any, whole: Path) -> None:
    tab.open(whole)
    titles = tab.evaluate("[...document.querySelectorAll('#results thead th')].map(one => one.textContent)")
    at = titles.index("median, µs")
    press = f"document.querySelectorAll('#results thead button')[{at}].click()"
    said = f"document.querySelectorAll('#results thead th')[{at}].getAttribute('aria-sort')"
    tab.evaluate(press)
    up = [float(text.replace(",", "")) for text in column(tab, at)]
    assert up == sorted(up)
    assert tab.evaluate(said) == "ascending"
    tab.evaluate(press)
    assert [float(text.replace(",", "")) for text in column(tab, at)] == up[::-1]
    assert tab.evaluate(said) == "descending"
    assert tab.evaluate("document.querySelectorAll('#results th[aria-sort]').length") == 1


def test_what_is_not_known_is_last_both_ways(tab: Any, whole: Path) -> None:
    tab.open(whole)
    titles = tab.evaluate("[...document.querySelectorAll('#results thead th')].map(one => one.textContent)")
    at = titles.index("× first of its run")
    for _ in range(2):
        tab.evaluate(f"document.querySelectorAll('#results thead button')[{at}].click()")
        assert column(tab, at)[-2:] == ["–", "–"]


def test_many_rows_are_scrolled_searched_and_copied_though_few_are_in_the_document(tab: Any, many: Path) -> None:
    tab.open(many)
    assert 0 < len(column(tab, 0)) < 150
    assert tab.evaluate("document.querySelector('#results table').getAttribute('aria-rowcount')") == str(MANY + 1)
    tab.evaluate(
        "new Promise(done => { const box = document.querySelector('#results .scroll');"
        "box.scrollTop = box.scrollHeight; setTimeout(done, 300); })"
    )
    last = "[...document.querySelectorAll('#results tr[aria-rowindex]')].at(-1).getAttribute('aria-rowindex')"
    assert tab.evaluate(last) == str(MANY + 1)
    tab.evaluate(
        "(() => { const box = document.querySelector('#results input'); box.value = 'person-int4';"
        "box.dispatchEvent(new Event('input')); })()"
    )
    assert set(column(tab, 0)) == {"synthetic-person-int4.tflite"}
    assert tab.evaluate("document.querySelector('#results output').textContent") == "40 of 1,200 rows"
    tab.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    tab.evaluate("document.querySelector('[data-copy=tsv]').click()")
    lines = tab.evaluate("window.copied").splitlines()
    assert len(lines) == 41
    assert lines[0].split("\t")[0] == "artifact"
    assert len({line.count("\t") for line in lines}) == 1
    tab.evaluate("document.querySelector('[data-copy=markdown]').click()")
    assert tab.evaluate("window.copied").splitlines()[2].startswith("| synthetic-person-int4.tflite |")
    assert tab.said == []


def test_names_with_markup_are_text(tab: Any, synthetic: Callable[..., BenchResult], tmp_path: Path) -> None:
    import msgspec

    run = synthetic(is_whole=True)
    evil = "=1+1 <img src=x onerror='window.pwned = 1'>"
    run = msgspec.structs.replace(
        run, label=evil, results=tuple(msgspec.structs.replace(s, name=evil) for s in run.results)
    )
    path = tmp_path / "evil.html"
    path.write_text(render([run]))
    tab.open(path)
    tab.evaluate(DRAWN)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("window.pwned ?? null") is None
    assert tab.evaluate("document.querySelectorAll('img').length") == 0
    tab.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    tab.evaluate("document.querySelector('[data-copy=tsv]').click()")
    assert json.dumps(tab.evaluate("window.copied")).count("\\n'=1+1") == 2  # no formula for a spreadsheet
    assert tab.said == []
