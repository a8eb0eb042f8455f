"""Where trials are done: in this process, in several on this machine, or (`on_ray`) on a cluster."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from edgeloop_converters.trials.cache import TrialCache
from edgeloop_converters.trials.process import POLL_S, TrialProcess
from edgeloop_converters.trials.trial import Trial, Trialled
from edgeloop_converters.trials.worker import do_trial

__all__ = ["Done", "Executor", "Here", "Processes", "executor_for"]

Done = Callable[[Trialled], None]


class Executor(Protocol):
    """Does trials, and puts those that end by themselves into the cache, a recipe's refusal included."""

    @property
    def slots(self) -> int:
        """How many it does at a time."""

    def run(self, trials: Sequence[Trial], cache: TrialCache, done: Done) -> None:
        """Do them all, calling `done` with each result as it comes; where it is interrupted, end what runs.

        Raises:
            OSError: the cache can't be written, or no process can be started.
        """


class Here:
    """One by one in this process, without limits: for what only compiles."""

    slots = 1

    def run(self, trials: Sequence[Trial], cache: TrialCache, done: Done) -> None:
        """See `Executor`."""
        for trial in trials:
            made = Path(tempfile.mkdtemp(prefix=".making-", dir=cache.folder))
            try:
                result = do_trial(trial, made)
                (made / "result.json").write_bytes(msgspec.json.encode(result))
                cache.keep(trial.key, made)
            finally:
                shutil.rmtree(made, ignore_errors=True)
            done(result)


class Processes:
    """Each in a process of its own, `slots` at a time.

    Args:
        slots: one or more.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def run(self, trials: Sequence[Trial], cache: TrialCache, done: Done) -> None:
        """See `Executor`."""
        waiting = list(trials)
        running: list[TrialProcess] = []
        try:
            while waiting or running:
                while waiting and len(running) < self.slots:
                    # Beside the cache's own folders, so that a rename is enough to keep it.
                    running.append(TrialProcess(waiting.pop(0), cache.folder))
                time.sleep(POLL_S)
                for process in list(running):
                    result = process.look()
                    if result is not None:
                        running.remove(process)
                        if process.folder.exists():
                            cache.keep(result.key, process.folder)
                        done(result)
        finally:
            for process in running:
                process.end()


def executor_for(workers: int) -> Executor:
    """The one for so many workers on this machine; 0 is this process."""
    return Processes(workers) if workers else Here()
