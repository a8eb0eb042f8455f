"""Several runtimes of one artifact, for several threads: the interpreter frees Python's lock while it computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import Artifact, read_artifact
from edgeloop.errors import ConfigError
from edgeloop.prediction import Prediction
from edgeloop.ring import Seen
from edgeloop.runtime import Inputs, Runtime

__all__ = ["RuntimePool"]


class RuntimePool:
    """`size` runtimes of one artifact behind the calls of one, safe from any number of threads.

    A call takes a runtime that is free, or waits for one. Each runtime has its own interpreter and memory; they share
    the model's bytes. It pays where there is a free core for each and calls take long beside the 20 µs that Python
    needs around them, one thread at a time: see `benchmarks/suites/throughput.py`, "pool".

    Args:
        artifact: as `Runtime` takes it.
        size: how many; one for each core that is to work at once.
        options: as `Runtime` takes them.

    Raises:
        ConfigError: a size below 1.
        OSError, EdgeloopError: as `Runtime` does.
    """

    def __init__(self, artifact: str | os.PathLike[str] | bytes | Artifact, *, size: int = 2, **options: Any) -> None:
        if size < 1:
            raise ConfigError(f"a pool of {size} runtimes: at least one")
        self.artifact = artifact if isinstance(artifact, Artifact) else read_artifact(artifact)
        self._runtimes = [Runtime(self.artifact, **options) for _ in range(size)]
        self._free: SimpleQueue[Runtime] = SimpleQueue()
        for runtime in self._runtimes:
            self._free.put(runtime)

    @contextmanager
    def borrow(self) -> Iterator[Runtime]:
        """A runtime for this thread alone, until the block ends: for several calls, or `run_batch_outputs`."""
        runtime = self._free.get()
        try:
            yield runtime
        finally:
            self._free.put(runtime)

    def run(self, x: Inputs, *, ref: str = "") -> Prediction:
        """As `Runtime.run`."""
        runtime = self._free.get()
        try:
            return runtime.run(x, ref=ref)
        finally:
            self._free.put(runtime)

    def run_stored(self, x: NDArray[Any], *, ref: str = "") -> Prediction:
        """As `Runtime.run_stored`."""
        runtime = self._free.get()
        try:
            return runtime.run_stored(x, ref=ref)
        finally:
            self._free.put(runtime)

    def run_batch(self, x: Inputs) -> NDArray[np.float32]:
        """As `Runtime.run_batch`."""
        with self.borrow() as runtime:
            return runtime.run_batch(x)

    @property
    def is_half_full(self) -> bool:
        """Whether what was seen should be taken soon, before it is overwritten."""
        return any(runtime.is_half_full for runtime in self._runtimes)

    def take_seen(self) -> list[Seen]:
        """What was seen since the last call, by runtime, each oldest first; for one thread, whichever it is."""
        return [seen for seen in (runtime.take_seen() for runtime in self._runtimes) if len(seen)]

    def __enter__(self) -> RuntimePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the calls under way, and let go of the runtimes; nothing can be run any more."""
        for _ in self._runtimes:
            self._free.get().close()
        self._runtimes = []
