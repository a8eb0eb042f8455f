"""One input after another: models opened afresh, in changing order, and timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from edgeloop.errors import ModelError
from edgeloop.latency import sample_rounds
from edgeloop_bench.draft import Draft
from edgeloop_bench.passes.warmup import warm_up
from edgeloop_bench.result import Settings
from edgeloop_bench.subject import open_subject

__all__ = ["open_and_time"]

LEAST_WARMUP, MOST_WARMUP = 20, 200
SHIFT_BYTES = 1 << 16


def open_and_time(drafts: Sequence[Draft], settings: Settings, *, threads: int, opening: int) -> None:
    """One opening of each model that hasn't failed: its load, its first call, and its calls in turns with the others.

    Args:
        drafts: gain what is measured, or an `error`.
        settings: of the run; an opening takes its share of the time and of the calls.
        threads: of the interpreter.
        opening: its number. Every second one goes backwards.

    Raises:
        ConfigError: the interpreter isn't installed.
    """
    rng = np.random.default_rng((settings.seed, opening))
    order = [draft for draft in drafts if draft.error is None]
    calls: dict[str, Callable[[], object]] = {}
    by_name: dict[str, Draft] = {}
    held = []
    for draft in order if opening % 2 == 0 else reversed(order):
        # What lies in memory before a model moves where it comes to lie, which moves its speed: a draw of it in each
        # opening makes that a part of the noise. C. Curtsinger and E. D. Berger, "Stabilizer", ASPLOS 2013.
        held.append(bytearray(int(rng.integers(1, SHIFT_BYTES))))
        with draft.failing():
            # The same input for all and in every opening.
            opened = open_subject(draft.subject, settings, threads=threads, rng=np.random.default_rng(settings.seed))
            if threads == settings.threads[0]:
                draft.loads_us.append(opened.load_us)
                draft.firsts_us.append(opened.first_us)
            if draft.warmup is None:
                draft.warmup, draft.is_steady = warm_up(opened.invoke)
            name = str(len(calls))
            calls[name], by_name[name] = opened.invoke, draft
    if not calls:
        return
    try:
        sampled = sample_rounds(
            calls,
            min_time_s=settings.seconds / settings.openings,
            min_runs=-(-settings.min_runs // settings.openings),
            warmup=_warmup(by_name.values()),
        )
    except (RuntimeError, ValueError) as error:
        _blame(calls, by_name, error)
        return
    for name, draft in by_name.items():
        draft.times.setdefault(threads, []).append(np.concatenate(sampled[name]))


def _warmup(drafts: Iterable[Draft]) -> int:
    """Calls before an opening's first turn: what the slowest to become steady has needed, within limits."""
    needed = (its.warmup.calls for its in drafts if its.warmup is not None and its.is_steady)
    return min(MOST_WARMUP, max((LEAST_WARMUP, *needed)))


def _blame(calls: dict[str, Callable[[], object]], by_name: dict[str, Draft], error: Exception) -> None:
    """Which of the models has failed, after it had answered before: the opening counts for none of them.

    Raises:
        ModelError: none fails when it is called again.
    """
    for name, draft in by_name.items():
        with draft.failing():
            calls[name]()
    if all(draft.error is None for draft in by_name.values()):
        raise ModelError(f"a model failed while running, and not again: {error}") from error
