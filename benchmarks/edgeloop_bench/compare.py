"""One run over several artifacts: opened afresh, in changing order, and timed in turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeloop.latency import Rounds, ratio, sample_rounds, summarize
from edgeloop.machine import describe_machine
from edgeloop_bench.result import BenchResult, Row, Settings
from edgeloop_bench.subject import Subject, open_subject

__all__ = ["compare"]


def compare(subjects: Sequence[Subject], settings: Settings) -> BenchResult:
    """Measure `subjects` side by side.

    Intervals are over the openings, since where a model comes to lie in memory lasts as long as it is open; see
    `edgeloop_bench.subject`.

    Raises:
        ModelError, ConfigError: see `open_subject`.
    """
    machine = describe_machine()  # before our own load shows in it
    loads_us: list[list[float]] = [[] for _ in subjects]
    firsts_us: list[list[float]] = [[] for _ in subjects]
    times: list[Rounds] = [[] for _ in subjects]
    order = list(range(len(subjects)))
    for _ in range(settings.openings):
        calls = {}
        for i in order:
            # The same input for all and in every opening.
            rng = np.random.default_rng(settings.seed)
            opened = open_subject(subjects[i], threads=settings.threads, rng=rng)
            loads_us[i].append(opened.load_us)
            firsts_us[i].append(opened.first_us)
            calls[str(i)] = opened.invoke
        sampled = sample_rounds(
            calls,
            min_time_s=settings.seconds / settings.openings,
            min_runs=-(-settings.min_runs // settings.openings),
            warmup=settings.warmup,
        )
        for i in order:
            times[i].append(np.concatenate(sampled[str(i)]))
        order.reverse()
    rows = (
        Row(
            name=subject.name,
            sha256=subject.sha256,
            file_bytes=subject.file_bytes,
            load_us=float(np.median(loads_us[i])),
            first_us=float(np.median(firsts_us[i])),
            latency=summarize(times[i]),
            ratio=ratio(times[i], times[0]) if i else None,
        )
        for i, subject in enumerate(subjects)
    )
    return BenchResult(machine, settings, tuple(rows))
