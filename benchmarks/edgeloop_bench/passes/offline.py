"""As fast as it goes: batches of a size, by so many threads."""

from __future__ import annotations

import numpy as np

from edgeloop.errors import ModelError
from edgeloop.latency import Rounds, sample_rounds
from edgeloop_bench.draft import Draft, scenario_of
from edgeloop_bench.passes.single_stream import LEAST_WARMUP
from edgeloop_bench.result import Settings
from edgeloop_bench.subject import open_subject

__all__ = ["measure_offline"]


def measure_offline(draft: Draft, settings: Settings) -> None:
    """Measure one model in the offline scenario: each number of threads with each size of a batch.

    Combinations are opened in turns, in changing order. A batch that the model can't be resized to is left out, which
    a note says.

    Source: V. J. Reddi et al., "MLPerf Inference Benchmark", ISCA 2020, for the scenario.
    """
    rounds: dict[tuple[int, int], Rounds] = {(t, b): [] for t in settings.threads for b in settings.batches}
    for opening in range(settings.openings):
        for threads, batch in list(rounds)[:: -1 if opening % 2 else 1]:
            try:
                rng = np.random.default_rng(settings.seed)
                opened = open_subject(draft.subject, settings, threads=threads, batch=batch, rng=rng)
            except ModelError:
                if batch == 1:
                    raise
                del rounds[threads, batch]
                note = f"{draft.subject.name} can't be run in batches of {batch}: left out"
                if note not in draft.notes:
                    draft.notes.append(note)
                continue
            sampled = sample_rounds(
                {"": opened.invoke},
                min_time_s=settings.seconds / settings.openings,
                min_runs=-(-settings.min_runs // settings.openings),
                warmup=LEAST_WARMUP,
            )
            rounds[threads, batch].append(np.concatenate(sampled[""]))
    for (threads, batch), its in rounds.items():
        draft.others.append(scenario_of("offline", its, threads=threads, batch=batch))
