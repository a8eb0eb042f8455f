"""Whether one artifact is slower than another: what an interval of their ratio says, and when it says enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeloop.errors import ConfigError
from edgeloop.latency import Latency, Ratio
from edgeloop.machine import Machine
from edgeloop_bench.draft import Draft
from edgeloop_bench.result import BenchResult, Finding, Gate, Outcome, Settings, SubjectResult

__all__ = [
    "ALPHA",
    "LOOKS",
    "MARGIN",
    "NOISE",
    "Question",
    "check_same_machine",
    "finding_of",
    "noise_text",
    "outcome_of",
    "settle",
    "stored_ratio",
]

MARGIN = 0.01
"""A difference is one from here on. Where tensors come to lie moves a model's speed by about as much: see `subject`."""

NOISE = 0.05
"""An interval that reaches further than this from 1, and doesn't leave it out, says neither yes nor no."""

LOOKS = 4
"""The openings are doubled so often at most, less one: at four, eight times the seconds are measured."""

ALPHA = 0.05
"""Of all looks together: each has a share of it (Bonferroni), or looking often enough would always find something."""


@dataclass(frozen=True)
class Question:
    """What a run is to find out.

    Args:
        limit: of the ratio, from 1; None asks for the difference alone.
        stored: an older result, where there is no file to measure beside the others.
    """

    limit: float | None = None
    stored: SubjectResult | None = None


def finding_of(ratio: Ratio) -> Finding:
    """What the interval says: a difference when all of it is `MARGIN` away from 1, none when it is within `NOISE`."""
    if ratio.ci is None:
        return "can't tell"
    low, high = ratio.ci
    if low > 1 + MARGIN:
        return "slower"
    if high < 1 - MARGIN:
        return "faster"
    return "no difference" if low >= 1 - NOISE and high <= 1 + NOISE else "can't tell"


def outcome_of(ratio: Ratio, limit: float) -> Outcome:
    """Slower when all of the interval is beyond the limit, in order when none of it is."""
    if ratio.ci is None:
        return "can't tell"
    if ratio.ci[0] > limit:
        return "slower"
    return "holds" if ratio.ci[1] <= limit else "can't tell"


def noise_text(ratio: Ratio) -> str:
    """Half the interval's width, of the ratio: what a difference must exceed to be seen."""
    if ratio.ci is None:
        return "there are too few openings for an interval"
    return f"the noise is ±{50 * (ratio.ci[1] - ratio.ci[0]) / ratio.value:.1f} %"


def settle(drafts: list[Draft], question: Question, measure: Callable[[int], None], openings: int) -> tuple[Gate, ...]:
    """Measure until every artifact's interval says something, or four looks are over.

    Args:
        drafts: the artifact that the others are held against comes first, unless the question has a stored one.
        question: what is to be found out.
        measure: does so many more openings of all of them.
        openings: until the first look; each look has twice as many as the one before.

    Returns:
        For each artifact that could be measured.
    """
    gates: tuple[Gate, ...] = ()
    done = 0
    for look in range(LOOKS):
        measure((openings << look) - done)
        done = openings << look
        gates = tuple(gate for draft in _compared(drafts, question) if (gate := _gate(draft, drafts[0], question)))
        if all(_is_settled(gate) for gate in gates):
            break
    return gates


def _compared(drafts: list[Draft], question: Question) -> list[Draft]:
    return drafts[1:] if question.stored is None else drafts


def _is_settled(gate: Gate) -> bool:
    return "can't tell" not in (gate.finding, gate.outcome)


def _gate(draft: Draft, first: Draft, question: Question) -> Gate | None:
    alpha = ALPHA / LOOKS
    if question.stored is None:
        ratio, against = draft.ratio_to(first, alpha=alpha), first.subject.name
    else:
        scenarios = draft.result(first).scenarios
        ratio = stored_ratio(scenarios[0].latency, question.stored.scenarios[0].latency) if scenarios else None
        against, alpha = question.stored.name, ALPHA
    if ratio is None:
        return None
    return Gate(
        name=draft.subject.name,
        against=against,
        ratio=ratio,
        confidence=1 - alpha,
        is_interleaved=question.stored is None,
        finding=finding_of(ratio),
        limit=question.limit,
        outcome=None if question.limit is None else outcome_of(ratio, question.limit),
    )


def stored_ratio(now: Latency, then: Latency) -> Ratio:
    """The ratio of two medians from two runs: its interval reaches over all that both intervals allow."""
    ci = None
    if now.median_ci_us is not None and then.median_ci_us is not None:
        ci = now.median_ci_us[0] / then.median_ci_us[1], now.median_ci_us[1] / then.median_ci_us[0]
    return Ratio(now.median_us / then.median_us, ci, min(now.rounds, then.rounds))


def check_same_machine(old: BenchResult, now: Machine, settings: Settings, where: str) -> tuple[str, ...]:
    """Refuse to compare figures of different devices or settings.

    Args:
        old: a stored result.
        now: the machine of what it would be compared with.
        settings: likewise.
        where: the stored result's file.

    Returns:
        What else differs, and may be what a difference comes from.

    Raises:
        ConfigError: they are not of one machine, or were not measured alike.
    """
    then = old.machine
    facts = {
        name: (getattr(then, name), getattr(now, name))
        for name in ("board", "cpu", "arch", "cores", "memory_bytes", "governor")
    }
    facts |= {
        name: (getattr(old.settings, name), getattr(settings, name)) for name in ("backend", "kernels", "delegate")
    }
    facts["threads"] = old.settings.threads[0], settings.threads[0]
    differing = [f"{name} {was!r} then, {is_!r} now" for name, (was, is_) in facts.items() if was != is_]
    if differing:
        raise ConfigError(
            f"{where} was measured otherwise ({'; '.join(differing)}): compare files, or measure it again"
        )
    notes = [
        f"{name} {getattr(then, name)} when {where} was measured, {getattr(now, name)} now"
        for name in ("kernel", "python")
        if getattr(then, name) != getattr(now, name)
    ]
    names = sorted(
        name for name in then.libraries | now.libraries if then.libraries.get(name) != now.libraries.get(name)
    )
    notes += [
        f"{name} {then.libraries.get(name)} when {where} was measured, {now.libraries.get(name)} now" for name in names
    ]
    return tuple(notes)
