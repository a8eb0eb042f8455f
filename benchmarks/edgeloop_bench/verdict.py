"""Whether a run's figures may be believed. All thresholds stand here, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeloop.machine import Machine
from edgeloop_bench.result import Settings, SubjectResult, Verdict, Vitals

__all__ = ["judge"]

CLOCK_FELL = 0.10
"""A processor's steps are some 5 to 10 %: more than one of them down is no longer the machine that was named."""

STOLEN_PERCENT = 10.0
"""Past a tenth, calls that others interrupted reach the 90th percentile that is reported."""

LEAST_OPENINGS = 6
"""Under six, order statistics give no 95 % interval of a median: see `edgeloop.order.median_ranks`."""


def judge(
    machine: Machine,
    vitals: Vitals,
    settings: Settings,
    results: Sequence[SubjectResult],
    *,
    unsteady: Iterable[str] = (),
    notes: Iterable[str] = (),
    is_partial: bool = False,
) -> Verdict:
    """The verdict: its reasons are what makes it INVALID, then what should be known besides.

    Args:
        machine: what it ran on, as it was before.
        vitals: of the board meanwhile.
        settings: how.
        results: by artifact.
        unsteady: the artifacts whose calls never became steady.
        notes: what the passes have to say.
        is_partial: whether it was stopped before its end.
    """
    reasons = [*_of_board(machine, vitals), *_of_runs(settings, results)]
    reasons += [f"{name}: its calls never became steady within the warm-up" for name in unsteady]
    if is_partial:
        reasons.append("it was stopped before its end: figures are of what was measured by then")
    known = list(notes)
    if machine.governor == "powersave":
        known.append("the governor is powersave: with other than intel_pstate's driver the clock stays at its lowest")
    return Verdict(valid=not reasons, reasons=(*reasons, *known))


def _of_board(machine: Machine, vitals: Vitals) -> list[str]:
    reasons = []
    if vitals.throttled:
        reasons.append(f"the processor was slowed down: {', '.join(vitals.throttled)}: cool it, check its supply")
    if vitals.cpu_hz is not None and (fell := 1 - vitals.cpu_hz[0] / vitals.cpu_hz[1]) > CLOCK_FELL:
        low, high = (hz / 1e9 for hz in vitals.cpu_hz)
        reasons.append(
            f"the clock fell by {fell:.0%}, from {high:.2f} to {low:.2f} GHz: set the governor 'performance'"
        )
    if vitals.load_1m >= machine.cores:
        reasons.append(
            f"the load was {vitals.load_1m:.1f} on {machine.cores} cores before the run: let others end first"
        )
    if vitals.stolen_percent is not None and vitals.stolen_percent > STOLEN_PERCENT:
        reasons.append(f"{vitals.stolen_percent:.0f} % of the processor's time went to others meanwhile")
    return reasons


def _of_runs(settings: Settings, results: Sequence[SubjectResult]) -> list[str]:
    reasons = [f"{result.name}: {result.error}" for result in results if result.error is not None]
    for result in results:
        for scenario in result.scenarios:
            where = f"{result.name}, {scenario.kind} with {scenario.threads} threads and batch {scenario.batch}"
            if scenario.latency.n < settings.min_runs:
                reasons.append(f"{where}: {scenario.latency.n} calls of the {settings.min_runs} that were wanted")
            if scenario.latency.rounds < LEAST_OPENINGS:
                reasons.append(f"{where}: {scenario.latency.rounds} openings carry no interval")
    return reasons
