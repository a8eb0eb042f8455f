"""Running trials: so many processes at a time, each with its limits of time and memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from edgeloop_converters.trials.cache import TrialCache
from edgeloop_converters.trials.trial import Trial, Trialled
from edgeloop_converters.trials.worker import do_trial

__all__ = ["run_trials"]

POLL_S = 0.05
TAIL_BYTES = 600


class _Running(NamedTuple):
    trial: Trial
    process: subprocess.Popen[bytes]
    folder: Path
    errors: IO[bytes]
    start: float


def run_trials(
    trials: Sequence[Trial],
    cache: TrialCache,
    *,
    workers: int,
    on_done: Callable[[Trialled], None] = lambda _: None,
) -> list[Trialled]:
    """Run what the cache doesn't hold yet.

    A trial that crashes, or goes over its limits, gives a result with an `error` and isn't cached. On Ctrl-C the
    workers end and what is finished stays in the cache.

    Args:
        trials: in the order in which they are started.
        cache: where finished ones are looked for, and kept.
        workers: processes at a time; 0 does the trials in this process, without limits: for those that only compile.
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
    if workers == 0:
        for trial in waiting:
            done(_do_here(trial, cache))
        waiting = []
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_start(waiting.pop(0), cache.folder))
            time.sleep(POLL_S)
            for job in list(running):
                result = _look(job, cache)
                if result is not None:
                    running.remove(job)
                    done(result)
    finally:
        for job in running:
            _end(job)
    return [results[t.key] for t in trials]


def _do_here(trial: Trial, cache: TrialCache) -> Trialled:
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=cache.folder))
    try:
        result = do_trial(trial, made)
        (made / "result.json").write_bytes(msgspec.json.encode(result))
        cache.keep(trial.key, made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return result


def _start(trial: Trial, folder: Path) -> _Running:
    # Beside the cache's own folders, so that a rename is enough to keep it.
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
    (made / "job.json").write_bytes(msgspec.json.encode(trial))
    errors = (made / "stderr.txt").open("w+b")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "1",  # trains 1.7 times as fast, and on one thread to the same bits every time
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeloop_converters.trials.worker", str(made / "job.json"), str(made)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=environment,
        start_new_session=True,  # Ctrl-C goes to us, and we end it
    )
    return _Running(trial, process, made, errors, time.monotonic())


def _look(job: _Running, cache: TrialCache) -> Trialled | None:
    """The result of a job that has ended, or that is ended here for going over a limit; else None."""
    seconds = time.monotonic() - job.start
    code = job.process.poll()
    if code is None:
        taken = _resident_bytes(job.process.pid)
        if seconds <= job.trial.timeout_s and taken <= job.trial.memory_bytes:
            return None
        over = (
            f"over its time limit of {job.trial.timeout_s:g} s"
            if seconds > job.trial.timeout_s
            else f"over its memory limit: {taken >> 20} MiB of {job.trial.memory_bytes >> 20} MiB"
        )
        _end(job)
        return Trialled(job.trial.recipe, job.trial.seed, job.trial.key, error=over, seconds=seconds)
    tail = _tail(job.errors)
    _close(job)
    if code == 0:
        for name in ("job.json", "stderr.txt"):
            (job.folder / name).unlink()
        cache.keep(job.trial.key, job.folder)
        found = cache.find(job.trial.key)
        if found is not None:
            return msgspec.structs.replace(found, cached=False)
    shutil.rmtree(job.folder, ignore_errors=True)
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    error = f"its process ended with {how}: {tail or 'nothing on standard error'}"
    return Trialled(job.trial.recipe, job.trial.seed, job.trial.key, error=error, seconds=seconds)


def _end(job: _Running) -> None:
    job.process.kill()
    job.process.wait()
    _close(job)
    shutil.rmtree(job.folder, ignore_errors=True)


def _close(job: _Running) -> None:
    job.errors.close()
    if job.process.stdin is not None:
        job.process.stdin.close()


def _tail(errors: IO[bytes]) -> str:
    """The last lines of what a process wrote, as one."""
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - TAIL_BYTES))
    return " ".join(errors.read().decode(errors="replace").split())


def _resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 when it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
