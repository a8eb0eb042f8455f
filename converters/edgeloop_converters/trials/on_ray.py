"""Trials on a Ray cluster: what goes out, what comes back, and what a node does in between.

A node gets the model and the data from Ray's object store and runs the same process as this machine would, with the
same limits, in a temporary folder. What that made comes back as bytes and goes into the cache here, under the same key:
a search that was started here goes on there, and the other way round. Nodes need `edgeloop[convert]` at the versions of
this machine, since the key stands for them; a node that has others refuses.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop_converters.trials.cache import TrialCache
from edgeloop_converters.trials.executor import Done
from edgeloop_converters.trials.process import POLL_S, TrialProcess
from edgeloop_converters.trials.trial import Trial, Trialled, versions

__all__ = ["OnRay"]

CONNECT_S = 10.0
Files = dict[str, Any]  # name to uint8 array, which Ray hands over without a copy


class OnRay:
    """An `Executor` on a Ray cluster; a context manager that lets go of it.

    Args:
        address: of the cluster: "auto" for the one that runs on this machine or in RAY_ADDRESS, "local" to start one
            for as long as this lasts, `HOST:PORT`, or `ray://HOST:PORT`. A connection that this process already has is
            used as it is.

    Raises:
        MissingExtraError: ray isn't installed.
        ConfigError: there is no cluster at this address.
    """

    def __init__(self, address: str = "auto") -> None:
        try:
            import ray  # type: ignore[import-not-found, unused-ignore]  # an extra
        except ImportError as error:
            raise MissingExtraError("cluster", "ray") from error
        self._ray: Any = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                check_listens(address)
                ray.init(address=address, log_to_driver=False, include_dashboard=False if address == "local" else None)
            except (OSError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"no Ray cluster at {address!r}: start one (`ray start --head`), or name its address: {error}"
                ) from error
        self.slots = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __enter__(self) -> OnRay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def run(self, trials: Sequence[Trial], cache: TrialCache, done: Done) -> None:
        """See `Executor`."""
        ray = self._ray
        benches: dict[str, Any] = {}
        task = ray.remote(num_cpus=1, max_retries=1)(do_on_node)
        waiting: dict[Any, Trial] = {}
        try:
            for trial in trials:
                if trial.bench not in benches:
                    benches[trial.bench] = ray.put(read_files(Path(trial.bench)))
                job = msgspec.json.encode(trial)
                waiting[task.remote(job, benches[trial.bench], versions())] = trial
            while waiting:
                ready, _ = ray.wait(list(waiting), timeout=1.0)  # an endless wait would hold Ctrl-C back
                for reference in ready:
                    trial = waiting.pop(reference)
                    try:
                        raw, files = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        lines = str(error).strip().splitlines()
                        message = f"on Ray: {type(error).__name__}: {lines[-1] if lines else ''}"
                        done(Trialled(trial.recipe, trial.seed, trial.key, error=message))
                        continue
                    if files:
                        keep(cache, trial.key, files)
                    done(msgspec.json.decode(raw, type=Trialled))
        finally:
            for reference in waiting:
                ray.cancel(reference, force=True)


def check_listens(address: str) -> None:
    """Raise `OSError` where nothing listens at an address with a port: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_S).close()


def do_on_node(job: bytes, bench: Files, wanted: tuple[str, ...]) -> tuple[bytes, Files]:
    """What a node does: the result as JSON, and the files to keep; none where the trial broke down."""
    trial = msgspec.json.decode(job, type=Trial)
    if versions() != wanted:
        other = ", ".join(sorted(set(versions()[1:]) - set(wanted))) or "another edgeloop"
        error = f"the node {os.uname().nodename} has {other}: install there what this machine has"
        return msgspec.json.encode(Trialled(trial.recipe, trial.seed, trial.key, error=error)), {}
    with tempfile.TemporaryDirectory(prefix="edgeloop-node-") as name:
        here = Path(name)
        (here / "bench").mkdir()
        write_files(here / "bench", bench)
        process = TrialProcess(msgspec.structs.replace(trial, bench=str(here / "bench")), here)
        try:
            while (result := process.look()) is None:
                time.sleep(POLL_S)
            made = read_files(process.folder) if process.folder.exists() else {}
        finally:
            process.end()
    return msgspec.json.encode(result), made


def read_files(folder: Path) -> Files:
    """A folder's files as arrays of bytes."""
    return {path.name: np.fromfile(path, np.uint8) for path in sorted(folder.iterdir())}


def write_files(folder: Path, files: Files) -> None:
    """Write what `read_files` gave."""
    for name, content in files.items():
        (folder / name).write_bytes(memoryview(content))


def keep(cache: TrialCache, key: str, files: Files) -> None:
    """Put a trial's files into the cache, whole or not at all."""
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=cache.folder))
    try:
        write_files(made, files)
        cache.keep(key, made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
