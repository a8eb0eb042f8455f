"""The shadow: a second artifact that sees what the first one saw, and whose answers only are compared.

It runs off the hot path, on a thread of the lowest priority, one inference at a time, and sleeps in between for so long
that it takes no more than its share of a processor. The interpreter frees Python's lock while it computes, so the first
model never waits for the shadow's inference, only for the Python around it: some ten microseconds for a vector.

It also measures what it does to the first model. Of every four batches it lets one pass and rests; where the first
model's mean latency while the shadow worked is more than `max_slowdown` above that while it rested, the share is
halved, down to nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeloop.bounded import BoundedQueue
from edgeloop.errors import ConfigError, InputError
from edgeloop.inputs import from_row, sample_shapes
from edgeloop.manifest import InputPreparation, Manifest
from edgeloop.messages import ModelRef
from edgeloop.preprocessing import Vocabulary
from edgeloop.ring import Seen
from edgeloop.runtime import Runtime

__all__ = ["Clock", "Compared", "Pace", "Shadow", "ShadowStats", "check_comparable"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_NICE = 19
_BATCH_S = 0.5  # how long a batch may be looked at: after that, what was seen is old
_WAITING_BATCHES = 2
_LEAST_PAUSE_S = 50e-6
_ROUND = 4  # batches; the last of them is a rest
_KEPT = 8  # batches' latencies on each side of the comparison
_ENOUGH = 4
_GROWTH = 1.2
_LEAST = 1 / 64  # of the share: below it the shadow pauses
_PAUSED_BATCHES = 120


@dataclass(frozen=True)
class Compared(Generic[T]):
    """A batch after the shadow has had its turn.

    Args:
        seen: the batch.
        owner: what was given along with it.
        looked: (n,) bool: a random part of the batch, as large as the time allowed.
        disagrees: (n,) bool: the two said something else; False where the shadow didn't look.
    """

    seen: Seen
    owner: T
    looked: NDArray[np.bool_]
    disagrees: NDArray[np.bool_]


@dataclass(frozen=True)
class Clock:
    """What a shadow measures by.

    Args:
        monotonic_s: a clock that never jumps, in seconds.
        cpu_s: the processor time of the thread that asks, in seconds.
        wait: waits for an event, for up to so many seconds; gives whether it has happened.
    """

    monotonic_s: Callable[[], float] = time.monotonic
    cpu_s: Callable[[], float] = time.thread_time
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait


@dataclass(frozen=True)
class ShadowStats:
    """What a shadow has done since it was started.

    Args:
        model: its name.
        version: its version.
        looked: inputs that both have answered.
        agreed: of them, those on which they agree.
        refused: inputs that the shadow didn't take.
        passed: inputs that it had no time for.
        cpu_s: processor time that it took, in seconds.
        share: of one processor that it may take now.
        slowdown: of the first model's mean latency beside a working shadow over that beside a resting one, minus 1;
            None before there is enough of both.
        ended: why it does no more, if it doesn't.
    """

    model: str
    version: int
    looked: int
    agreed: int
    refused: int
    passed: int
    cpu_s: float
    share: float
    slowdown: float | None
    ended: str


class Pace:
    """How much the shadow may do: its share of a processor, less where it slows the first model down. Pure.

    Args:
        share: at most, of one processor, in (0, 1].
        max_slowdown: of the first model's mean latency, 0.05 is 5 %.
    """

    def __init__(self, share: float, max_slowdown: float) -> None:
        self.share = share
        self.slowdown: float | None = None
        self._most, self._max_slowdown = share, max_slowdown
        self._beside: dict[bool, deque[float]] = {works: deque(maxlen=_KEPT) for works in (True, False)}
        self._batches = 0
        self._paused_until = 0

    def next_works(self, latency_us: float, *, worked: bool) -> bool:
        """Take the first model's mean latency of a batch, and whether the shadow worked then; whether it now may."""
        self._batches += 1
        self._beside[worked].append(latency_us)
        rests = self._batches % _ROUND == 0
        if rests:
            self._adapt()
        return not rests and self._batches >= self._paused_until

    def _adapt(self) -> None:
        working, resting = self._beside[True], self._beside[False]
        if min(len(working), len(resting)) < _ENOUGH:
            return
        self.slowdown = float(np.median(working) / np.median(resting)) - 1
        if self.slowdown <= self._max_slowdown:
            self.share = min(self._most, self.share * _GROWTH)
            return
        self.share /= 2
        working.clear()
        if self.share < self._most * _LEAST:
            self.share = self._most * _LEAST
            self._paused_until = self._batches + _PAUSED_BATCHES


class Shadow(Generic[T]):
    """Compares a second model with the first, from what the first one's ring has seen.

    Args:
        runtime: the second model's; it belongs to the shadow from now on.
        share: of one processor, at most, in (0, 1].
        max_slowdown: see `Pace`.
        tolerance: up to which outputs agree that are no classifier's, in real units.
        rng: chooses what is looked at.
        clock: what it measures by.

    `offer` and `finished` are for one thread.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        share: float,
        max_slowdown: float,
        tolerance: float,
        rng: np.random.Generator,
        clock: Clock = Clock(),
    ) -> None:
        self.manifest = manifest = runtime.manifest
        self.ref = ModelRef(manifest.name, manifest.version, manifest.model.sha256)
        self._runtime = runtime
        self._classifies = manifest.task == "classification"
        self._tolerance = tolerance
        self._rng = rng
        self._clock = clock
        self._pace = Pace(share, max_slowdown)
        self._inbox: BoundedQueue[tuple[Seen, T, Shapes]] = BoundedQueue(_WAITING_BATCHES, "drop-newest")
        self._done: deque[Compared[T]] = deque()
        self._looked = self._agreed = self._refused = self._passed = 0
        self._cpu_s = self._cpu_s_before = 0.0
        self._ended = ""
        self._busy = False
        self._free_s = 0.0  # when it may take the next input
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeloop shadow", daemon=True)
        self._thread.start()

    def offer(self, seen: Seen, owner: T, shapes: Shapes | None = None) -> None:
        """Give it a batch. Never blocks; the batch comes out of `finished`, looked at or not.

        Args:
            seen: the batch.
            owner: what comes out with it.
            shapes: of the first model's inputs (`sample_shapes`), where it has several; `seen` has them as one row.
        """
        worked = self._busy or self._cpu_s > self._cpu_s_before
        self._cpu_s_before = self._cpu_s
        works = self._pace.next_works(float(seen.latency_us.mean()), worked=worked)
        dropped = self._inbox.dropped
        if not (works and self._inbox.put((seen, owner, shapes or {})) and self._inbox.dropped == dropped):
            self._done.append(_unseen(seen, owner))
            self._passed += len(seen)

    def finished(self) -> list[Compared[T]]:
        """The batches that have had their turn since the last call."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def stats(self) -> ShadowStats:
        """What it has done; from any thread."""
        return ShadowStats(
            model=self.ref.name,
            version=self.ref.version,
            looked=self._looked,
            agreed=self._agreed,
            refused=self._refused,
            passed=self._passed,
            cpu_s=self._cpu_s,
            share=self._pace.share,
            slowdown=self._pace.slowdown,
            ended=self._ended,
        )

    def close(self) -> None:
        """End after the inference that is under way; all that was offered comes out of `finished`."""
        self._inbox.close()
        self._closing.set()
        self._thread.join()
        self._done.extend(_unseen(seen, owner) for seen, owner, _ in self._inbox.take(0, _WAITING_BATCHES))
        with contextlib.suppress(AttributeError):  # closed before
            self._runtime.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # not allowed, or no such system
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._inbox.is_closed:
            for seen, owner, shapes in self._inbox.take(1.0):
                compared = _unseen(seen, owner)
                self._busy = True
                try:
                    self._compare(compared, shapes)
                except Exception as error:  # noqa: BLE001  # whatever a candidate does, the device goes on
                    self._ended = f"{type(error).__name__}: {error}"[:500]
                    log.warning("the shadow failed: %s", self._ended)
                    self._inbox.close()
                self._busy = False
                self._done.append(compared)

    def _compare(self, batch: Compared[T], shapes: Shapes) -> None:
        clock, seen = self._clock, batch.seen
        end_s = clock.monotonic_s() + _BATCH_S
        for n, i in enumerate(self._rng.permutation(len(seen)).tolist()):
            now_s = clock.monotonic_s()
            is_over = max(self._free_s, now_s) > end_s or len(self._inbox) > 0
            if is_over or clock.wait(self._closing, self._free_s - now_s):
                self._passed += len(seen) - n
                return
            start_s, cpu_s = clock.monotonic_s(), clock.cpu_s()
            x = seen.inputs[i]
            try:
                said = self._runtime.run(from_row(shapes, x) if len(shapes) > 1 else x).output
            except InputError:
                self._refused += 1
            else:
                batch.looked[i] = True
                batch.disagrees[i] = not self._agrees(seen.outputs[i], said)
                self._looked += 1
                self._agreed += not batch.disagrees[i]
            cpu_s = clock.cpu_s() - cpu_s
            self._cpu_s += cpu_s
            self._free_s = max(start_s + cpu_s / self._pace.share, clock.monotonic_s() + _LEAST_PAUSE_S)

    def _agrees(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
        if self._classifies:
            return bool(first.argmax() == second.argmax())
        return bool(np.abs(first - second).max(initial=0) <= self._tolerance)


def check_comparable(first: Manifest, second: Manifest) -> None:
    """Raise `ConfigError` where the two can't be given the same inputs, or their answers not be compared.

    Several inputs must have the same names, in whatever order; a single one may be called anything.
    """
    a, b = first, second
    takes = [_takes(manifest) for manifest in (a, b)]
    outputs = [manifest.outputs[0].shape[1:] for manifest in (a, b)]
    if takes[0] != takes[1] or outputs[0] != outputs[1] or a.task != b.task:
        raise ConfigError(
            f"shadow {b.name!r}: takes {_words(takes[1])} and gives {outputs[1]} ({b.task}); the model that runs takes "
            f"{_words(takes[0])} and gives {outputs[0]} ({a.task}): they can't be compared"
        )
    if _vocabularies(a) != _vocabularies(b):
        raise ConfigError(
            f"shadow {b.name!r}: its categories aren't those of the model that runs, whose numbers it would be given: "
            "they can't be compared"
        )


def _takes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    shapes = sample_shapes(manifest)
    return shapes if len(shapes) > 1 else dict(zip([""], shapes.values(), strict=True))


def _words(takes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}".strip() for name, shape in takes.items())


def _vocabularies(manifest: Manifest) -> dict[str, Vocabulary]:
    """By input, the one that makes numbers of its categories, which is what is seen of them."""
    several = len(manifest.inputs) > 1
    found = {}
    for spec in manifest.inputs:
        own = manifest.input_preparation.get(spec.name, InputPreparation()).preprocessing or manifest.preprocessing
        if own and isinstance(own[0], Vocabulary):
            found[spec.name if several else ""] = own[0]
    return found


def _unseen(seen: Seen, owner: T) -> Compared[T]:
    return Compared(seen, owner, np.zeros(len(seen), dtype=np.bool_), np.zeros(len(seen), dtype=np.bool_))
