"""Running trials: what the cache holds isn't done again, the same one isn't done twice, an executor does the rest."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import msgspec

from edgeloop_converters.trials.cache import TrialCache
from edgeloop_converters.trials.executor import Executor
from edgeloop_converters.trials.process import disk_full
from edgeloop_converters.trials.trial import Trial, Trialled

__all__ = ["run_trials"]


def run_trials(
    trials: Sequence[Trial],
    cache: TrialCache,
    executor: Executor,
    *,
    on_done: Callable[[Trialled], None] = lambda _: None,
) -> list[Trialled]:
    """Run what the cache doesn't hold yet.

    A trial that crashes, or goes over its limits, gives a result with an `error` and isn't cached. On Ctrl-C the
    workers end and what is finished stays in the cache.

    Args:
        trials: in the order in which they are started.
        cache: where finished ones are looked for, and kept.
        executor: does the others.
        on_done: called with each result as it comes, those from the cache included.

    Returns:
        A result for each trial, in their order.

    Raises:
        OSError: the cache can't be written, or no process can be started.
    """
    results: dict[str, Trialled] = {}

    def done(result: Trialled) -> None:
        results[result.key] = result
        on_done(result)

    waiting: list[Trial] = []
    for trial in {t.key: t for t in trials}.values():
        found = cache.find(trial.key)
        if found is None:
            waiting.append(trial)
        else:
            done(msgspec.structs.replace(found, recipe=trial.recipe))
    try:
        executor.run(waiting, cache, done)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(cache.folder) from error
        raise
    return [results[t.key] for t in trials]
