"""The page of results: what stands on it, and that nothing from a file becomes a part of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edgeloop.errors import DataError
from edgeloop.latency import Ratio
from edgeloop_bench.report.gathered import front, gather
from edgeloop_bench.report.page import render
from edgeloop_bench.report.scales import format_us, log_axis, short
from edgeloop_bench.result import BenchResult, Gate, Outcome

Make = Callable[..., BenchResult]
EVIL = "<script>window.pwned = 1</script><img src=x onerror=pwned()>"

pytest.importorskip("plotly", reason="the bench extra isn't installed")


def without_library(html: str) -> str:
    return re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", html, flags=re.DOTALL)


def data_of(html: str) -> list[Any]:
    return [
        json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    ]


def headings(html: str) -> list[str]:
    return re.findall(r"<h2 id=[^>]*>([^<]*)</h2>", html)


def changed(run: BenchResult, **fields: Any) -> BenchResult:
    return msgspec.structs.replace(run, results=tuple(msgspec.structs.replace(s, **fields) for s in run.results))


def test_every_section_that_has_something_is_there(synthetic: Make) -> None:
    html = render([synthetic(b, board=b, is_whole=True) for b in (0, 1)], history=[synthetic(i) for i in range(3)])
    assert headings(html) == [
        "Accuracy, latency and size", "All results", "Distributions", "Devices side by side", "Throughput",
        "Stages of an answer", "Operators", "Memory", "Energy", "Over time", "How it was measured",
    ]  # fmt: skip


def test_what_has_nothing_to_say_is_left_out(synthetic: Make) -> None:
    run = changed(synthetic(), accuracy=None, memory=None, energy=None)
    html = render([run])
    assert headings(html) == [
        "Accuracy, latency and size", "All results", "Distributions", "How it was measured"
    ]  # fmt: skip
    assert "No accuracy was measured" in html


def test_a_result_without_figures_is_still_a_page(synthetic: Make) -> None:
    run = changed(synthetic(), scenarios=(), accuracy=None, memory=None, error="LiteRT can't run it", load_us=None)
    html = render([run])
    assert "LiteRT can&#x27;t run it" in html
    assert headings(html)[0] == "Accuracy, latency and size"


def test_no_result_is_refused() -> None:
    with pytest.raises(DataError, match="edgeloop bench ARTIFACT"):
        render([])


def test_invalid_and_partial_come_before_any_figure(synthetic: Make) -> None:
    run = synthetic()
    verdict = msgspec.structs.replace(run.verdict, valid=False, reasons=("throttled: under-voltage",))
    html = render([msgspec.structs.replace(run, verdict=verdict, is_partial=True)], problems=["x.json: cut off"])
    start = html[: html.index("<h2")]
    for words in ("INVALID because", "throttled: under-voltage", "Partial", "x.json: cut off"):
        assert words in start
    assert "✗" in start


@pytest.mark.parametrize(("outcome", "sign"), [("holds", "✓"), ("slower", "✗"), ("can't tell", "✗"), (None, "✓")])
def test_what_a_gate_found_comes_before_any_figure(synthetic: Make, outcome: Outcome | None, sign: str) -> None:
    gate = Gate(EVIL, "old.tflite", Ratio(1.04, (1.03, 1.05), 12), 0.9875, True, "slower", outcome and 1.02, outcome)
    html = render([msgspec.structs.replace(synthetic(), gates=(gate,))])
    start = html[: html.index("<h2")]
    assert f"{sign} Compared" in start
    assert "against old.tflite: SLOWER; ratio 1.040 (1.030–1.050 at 98.75%), 12 openings" in start
    assert "<img" not in start


def test_nothing_from_a_result_becomes_a_part_of_the_page(synthetic: Make) -> None:
    run = synthetic(is_whole=True)
    operators = tuple(msgspec.structs.replace(o, name=EVIL, kind=EVIL) for o in run.results[0].operators)
    run = changed(run, name=EVIL, sha256=EVIL, error=EVIL, operators=operators)
    machine = msgspec.structs.replace(run.machine, board=EVIL, cpu=EVIL, kernel=EVIL, libraries={EVIL: EVIL})
    verdict = msgspec.structs.replace(run.verdict, reasons=(EVIL,))
    run = msgspec.structs.replace(run, machine=machine, label=EVIL, verdict=verdict)
    html = without_library(render([run], history=[run], problems=[EVIL]))
    assert "<script>window" not in html
    assert "<img" not in html
    assert "onerror=pwned()&gt;" in html


def test_texts_for_plotly_hold_no_markup(synthetic: Make) -> None:
    run = changed(synthetic(is_whole=True), name=EVIL)
    for figure in [d for d in data_of(render([run])) if "layout" in d]:
        assert "<script" not in json.dumps(figure)
        assert "<img" not in json.dumps(figure)


def test_every_figure_is_one_that_plotly_knows(synthetic: Make) -> None:
    import plotly.graph_objects as go

    runs = [synthetic(i, board=i % 2, is_whole=True, at=i / 100) for i in range(4)]
    history = [synthetic(i, models=(0,), at=i / 100, slower=1.2 if i > 15 else 1.0) for i in range(30)]
    figures = [d for d in data_of(render(runs, history=history)) if "layout" in d]
    assert len(figures) >= 12
    for figure in figures:
        # The page's own names of colours stand for real ones.
        text = re.sub(r'"@\w+(/[\d.]+)?"', '"#123456"', json.dumps({k: figure[k] for k in ("data", "layout")}))
        go.Figure(**json.loads(text))


def test_every_figure_says_in_words_what_it_shows(synthetic: Make) -> None:
    html = render([synthetic(is_whole=True)])
    labels = re.findall(r'role="img" aria-label="([^"]*)"', html)
    assert len(labels) == html.count('<figure class="drawn">') >= 6
    assert all(len(label) > 30 for label in labels)


def test_page_asks_for_nothing_from_elsewhere(synthetic: Make) -> None:
    html = without_library(render([synthetic(is_whole=True)]))
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", html)
    assert "@import" not in html


def test_devices_stay_apart(synthetic: Make) -> None:
    gathered = gather([synthetic(3, board=0), synthetic(4, board=1), synthetic(5, board=0)])
    assert len(gathered.devices) == 2
    assert [(a.device, len(a.rows)) for a in gathered.artifacts] == [(0, 2), (0, 2), (1, 1), (1, 1)]


def test_runs_that_may_not_be_believed_do_not_move_an_artifact(synthetic: Make) -> None:
    run, slow = synthetic(1), synthetic(2, slower=3.0)
    verdict = msgspec.structs.replace(slow.verdict, valid=False)
    gathered = gather([run, msgspec.structs.replace(slow, verdict=verdict)])
    assert gathered.artifacts[0].median_us == run.results[0].scenarios[0].latency.median_us


def test_files_of_one_name_are_told_apart(synthetic: Make) -> None:
    other = changed(synthetic(2), sha256="ab" * 32)
    names = {a.name for a in gather([synthetic(1), other]).artifacts}
    assert "synthetic-keywords-float32.tflite #ababab" in names


def test_front_holds_what_nothing_else_beats(synthetic: Make) -> None:
    artifacts = gather([synthetic(models=tuple(range(30)))]).artifacts
    kept = {a.name for a in front(artifacts)}
    for a in artifacts:
        beaten = any(
            b.median_us <= a.median_us and b.file_bytes <= a.file_bytes and (b.accuracy or ("", 0))[1] >= accuracy
            for b in artifacts
            if b is not a
            for accuracy in [(a.accuracy or ("", 0))[1]]
        )
        assert (a.name in kept) is not beaten
    assert 0 < len(kept) < 30


def test_a_users_own_metric_is_not_imported(synthetic: Make, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_metric.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    run = synthetic()
    accuracy = msgspec.structs.replace(run.results[0].accuracy, metric="evil_metric:f")
    assert "evil_metric:f" in render([changed(run, accuracy=accuracy)])


@pytest.mark.parametrize(
    ("us", "words"), [(0.0123, "12.3 ns"), (8.8, "8.80 µs"), (999.0, "999 µs"), (2_500_000.0, "2.50 s"), (None, "–")]
)
def test_times_have_the_unit_that_fits(us: float | None, words: str) -> None:
    assert format_us(us) == words


@pytest.mark.parametrize(("low", "high"), [(100.0, 101.0), (8.0, 900.0), (1.0, 5e6), (990.0, 2100.0)])
def test_logarithmic_axes_have_some_ticks_and_not_too_many(low: float, high: float) -> None:
    axis = log_axis([low, high], "latency")
    assert 2 <= len(axis["tickvals"]) <= 8
    assert all(axis["range"][0] <= math.log10(t) <= axis["range"][1] for t in axis["tickvals"])


def test_long_names_keep_both_ends() -> None:
    assert short("a" * 30 + "-int8.tflite", 20).endswith("t8.tflite")
    assert len(short("x" * 99, 20)) == 20
