"""How many threads a model runs fastest with on this device: measured once, and remembered.

More are often slower: a small model's operators end before a second thread has woken up. Which it is depends on the
model, the processor and the interpreter, so nothing but measuring tells.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.backends import BACKENDS, Backend, BackendName, Kernels, available_backends, open_backend
from edgeloop.files import write_atomic
from edgeloop.latency import ratio, sample_rounds, summarize

__all__ = ["ThreadChoice", "choose_threads", "remembered_threads", "threads_file"]

log = logging.getLogger(__name__)

_MIN_TIME_S = 0.25
_MIN_RUNS = 30
_LEAST_RUNS = 6  # below it there is no 95 % interval
_MAX_TIME_S = 5.0  # for all numbers together: an agent's watchdog waits meanwhile


class ThreadChoice(msgspec.Struct, frozen=True):
    """How many threads were chosen, and the median call in microseconds with each number that was tried."""

    threads: int
    median_us: dict[int, float]


def threads_file() -> Path:
    """Where choices are remembered: `edgeloop/threads.json` in the user's cache folder (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop" / "threads.json"


def remembered_threads(
    artifact: Artifact,
    backend: BackendName | None = None,
    *,
    kernels: Kernels = "default",
    delegate: str | None = None,
    path: Path | None = None,
) -> int:
    """The number of threads for an artifact on this device: as it was measured before, else measured now.

    It is measured anew for another model, interpreter, version of it, kernels, delegate or number of cores.

    Args:
        artifact: the artifact.
        backend: the interpreter; None takes the first that is installed.
        kernels: as `open_backend` takes them.
        delegate: likewise.
        path: the file of choices; None is `threads_file()`. One that can't be read or written costs a measurement.

    Raises:
        ModelError, MissingExtraError, ConfigError: as `open_backend` does.
    """
    path = path or threads_file()
    name: BackendName = backend or (available_backends() or ["litert"])[0]
    cores = _cores()
    key = f"{artifact.manifest.model.sha256} {name} {_version(name)} {kernels} {delegate or 'cpu'} {cores} cores"
    known = _read(path)
    if key not in known:
        opened = {
            n: open_backend(artifact.model, backend, threads=n, kernels=kernels, delegate=delegate)
            for n in _candidates(cores)
        }
        known[key] = choose_threads(opened)
        log.info("%s: %d threads, by medians of %s µs", artifact.source, known[key].threads, known[key].median_us)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, msgspec.json.format(msgspec.json.encode(known)))
        except OSError as error:
            log.warning("the number of threads isn't remembered: %s", error)
    return known[key].threads


def choose_threads(opened: dict[int, Backend], *, clock: Callable[[], int] = time.perf_counter_ns) -> ThreadChoice:
    """Measure one model with several numbers of threads, in turns, on an input of zeros.

    Args:
        opened: the loaded model by its number of threads; the smallest is what the others are held against. Slow ones
            are called fewer times, 6 at least, so that it takes some 5 s where that can be.
        clock: monotonic nanoseconds.

    Returns:
        The fastest of those that beat the smallest with the whole 95 % interval of their ratio to it; else that.
    """
    calls = {str(n): _call(backend) for n, backend in opened.items()}
    call_s = _slowest_s(calls.values(), clock)
    affordable = int(_MAX_TIME_S / (2 * len(calls) * call_s))  # each turn has a call that isn't counted
    rounds = sample_rounds(
        calls,
        min_time_s=_MIN_TIME_S,
        min_runs=min(_MIN_RUNS, max(_LEAST_RUNS, affordable)),
        warmup=5 if affordable >= _MIN_RUNS else 1,
        clock=clock,
    )
    medians = {n: round(summarize(rounds[str(n)]).median_us, 2) for n in opened}
    least = min(opened)
    against = {n: ratio(rounds[str(n)], rounds[str(least)]) for n in opened}
    faster = [n for n in opened if (ci := against[n].ci) is not None and ci[1] < 1]
    return ThreadChoice(min(faster, key=medians.__getitem__, default=least), medians)


def _slowest_s(calls: Iterable[Callable[[], object]], clock: Callable[[], int]) -> float:
    times = []
    for call in calls:
        call()
        start = clock()
        call()
        times.append(max(1, clock() - start))
    return max(times) / 1e9


def _call(backend: Backend) -> Callable[[], object]:
    inputs = [np.zeros([abs(n) for n in spec.shape], spec.dtype) for spec in backend.inputs]
    return lambda: backend.invoke(inputs)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _candidates(cores: int) -> list[int]:
    """1, 2, 4 … and all cores."""
    return sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores})


def _version(name: BackendName) -> str:
    try:
        return version(BACKENDS[name][0].replace("_", "-"))
    except PackageNotFoundError:
        return "unknown"


def _read(path: Path) -> dict[str, ThreadChoice]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ThreadChoice])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s: %s: the number of threads is measured anew", path, error)
        return {}
