"""Suites of `edgeloop bench` itself: whether its gate, its figures and its page may be relied on."""

from __future__ import annotations

from typing import Any

from suite_runner.figures import Figure, at_least, at_most, exactly
from suite_runner.suite import Suite, module, program, script, within

__all__ = ["SUITES"]

PEER = "litert-benchmark"


def share(pair: str, what: str) -> Any:
    return lambda d: d[pair][what] / d[pair]["runs"]


def alarms(kind: str) -> Any:
    return lambda d: max(row[kind] for row in d["alarms"])


SUITES: tuple[Suite, ...] = (
    Suite(
        "tool",
        "`edgeloop bench` beside litert-benchmark, on 60 convolutions",
        within(600, script("litert_benchmark.py", "--json")),
        within(60, script("litert_benchmark.py", "--turns", "10", "--json")),
        (
            Figure(
                "a call, as either tool measures it",
                lambda d: d["median_us"]["interpreter"],
                "µs",
                peer=PEER,
                ratio=lambda d: d["as_they_are"],
            ),
            Figure(
                "the same call, by our loop",
                lambda d: d["median_us"]["compiled"],
                "µs",
                peer=PEER,
                ratio=lambda d: d["tools"],
            ),
            Figure(
                "the tools apart, of the same call",
                lambda d: abs(d["tools"]["value"] - 1),
                "×",
                at_most(0.03),
            ),
        ),
    ),
    Suite(
        "page",
        "the page of 10,000 synthetic results, in a browser without network",
        within(600, script("report.py", "--json")),
        within(60, script("report.py", "--results", "1000", "--json")),
        (
            Figure("until it is loaded", lambda d: d["load_median_s"], "s", at_most(2)),
            Figure("until its first plot", lambda d: d["first_plot_median_s"], "s", at_most(2)),
            Figure("words in the browser's console", lambda d: len(d["console"]), "", exactly(0)),
        ),
        (program("chromium", "chromium"), module("plotly", "bench")),
    ),
    Suite(
        "changes",
        "change points in a history: found in steps, and not in noise",
        within(900, script("change_points.py", "--json")),
        within(60, script("change_points.py", "--series", "100", "--json")),
        (
            Figure("noise that is taken for a change", alarms("normal"), "×"),
            Figure("… with heavy tails", alarms("heavy_tails"), "×"),
            Figure("steps of 5 % in the middle of 50 runs that are found", lambda d: d["found"][1]["found"], "×"),
        ),
    ),
    Suite(
        "gate",
        "how often `edgeloop bench --against` cries wolf, and how often it sees a slowdown of 5 %",
        within(2400, script("gate.py", "--runs", "100", "--seconds", "0.4", "--json")),
        None,
        (
            Figure("A/A runs that say no difference", share("same", "found"), "×", at_least(0.95)),
            Figure("A/A runs that pass", share("same", "exited"), "×", at_least(0.95)),
            Figure("runs that see 5 % more work", share("more", "found"), "×", at_least(0.9)),
            Figure("of these, that fail at 2 %", share("more", "exited"), "×", at_least(0.9)),
        ),
    ),
)
