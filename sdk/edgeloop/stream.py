"""The way from a source to a sink: the source on a thread of its own, a bounded queue, the model, the sink.

with Runtime("model.tflite") as runtime, closing(SqliteSink("predictions.db")) as sink:
    report = run_stream(runtime, Images("photos").open(), sink, policy="latest", deadline_ms=100)
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple

from edgeloop.bounded import BoundedQueue, Policy
from edgeloop.errors import EdgeloopError, InputError
from edgeloop.runtime import Runtime
from edgeloop.sinks.base import Sink
from edgeloop.sources.item import Item, SkippedItem, SourceItem

__all__ = ["Arrived", "Progress", "Stream", "StreamReport", "run_stream"]

log = logging.getLogger(__name__)

_POLL_S = 0.1
_FLUSH_S = 0.5
_AT_ONCE = 32
_GOODBYE_S = 1.0
_CHANGES = 16


class Arrived(NamedTuple):
    """An input, and when it came, by `time.monotonic`."""

    item: SourceItem
    at_s: float


class Stream:
    """A source on its own thread, behind a `BoundedQueue`: one that hangs holds up nobody.

    Args:
        source: yields items; a generator is closed on its own thread, anything else with a `close` on ours.
        size: how many inputs may wait.
        policy: what happens to more.

    `skips` counts what the source couldn't read, by reason; `error` is what ended the source, if not its own end.
    """

    def __init__(self, source: Iterator[Item], *, size: int = 64, policy: Policy = "block") -> None:
        self.skips: Counter[str] = Counter()
        self.error: Exception | None = None
        self._source = source
        self._queue: BoundedQueue[Arrived] = BoundedQueue(size, policy)
        # What waits may still be dropped for something newer, so only where nothing is dropped is it taken in bulk.
        self._at_once = _AT_ONCE if policy == "block" else 1
        self._thread = threading.Thread(target=self._pump, name="edgeloop source", daemon=True)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the source; one that hangs for more than a second is left behind with its thread."""
        self._queue.close()
        close = getattr(self._source, "close", None)
        if close is not None and not isinstance(self._source, Generator):
            close()
        self._thread.join(_GOODBYE_S)
        if self._thread.is_alive():
            log.warning("the source hangs: its thread is left behind")

    @property
    def ended(self) -> bool:
        """Whether the source has ended and everything was taken."""
        return self._queue.is_drained

    @property
    def came(self) -> int:
        """How many inputs the source gave."""
        return self._queue.came

    @property
    def dropped(self) -> int:
        """How many of them the policy dropped."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """How many wait for the model now."""
        return len(self._queue)

    def statistics(self) -> dict[str, int]:
        """What the source counts itself; see `edgeloop.sources.plugin`."""
        statistics = getattr(self._source, "statistics", None)
        return dict(statistics()) if statistics is not None else {}

    def take(self, timeout_s: float) -> list[Arrived]:
        """The next inputs, as soon as there is one; none after `timeout_s`, or when the source has ended."""
        return self._queue.take(timeout_s, self._at_once)

    def _pump(self) -> None:
        try:
            for item in self._source:
                if not (self._skip(item) if isinstance(item, SkippedItem) else self._put(item)):
                    break
            if isinstance(self._source, Generator):
                self._source.close()
        except Exception as error:  # noqa: BLE001  # whatever a source raises is reported by the loop's thread
            self.error = error
            log.warning("the source failed: %s: %s", type(error).__name__, error)
        finally:
            self._queue.close()

    def _put(self, item: SourceItem) -> bool:
        if not isinstance(item, SourceItem):
            raise TypeError(f"a source yields SourceItem and SkippedItem, not {type(item).__name__}")
        return self._queue.put(Arrived(item, time.monotonic()))

    def _skip(self, item: SkippedItem) -> bool:
        level = logging.DEBUG if self.skips[item.reason] else logging.WARNING
        self.skips[item.reason] += 1
        log.log(level, "skipped %s: %s%s", item.ref, item.reason, f" ({item.detail})" if item.detail else "")
        return not self._queue.is_closed


@dataclass(frozen=True)
class StreamReport:
    """What a stream did, or has done until now.

    Args:
        came: inputs that the source gave.
        inferences: how many the model has answered.
        refused: how many didn't fit the model.
        failed: how many its backend had no answer to: a board that is away, a delegate that fails.
        skipped: what the source couldn't read, counted by reason.
        dropped: inputs that the policy dropped.
        missed_deadlines: answers that came more than `deadline_ms` after their inputs.
        lost: predictions that the sink couldn't keep.
        waiting: inputs in the queue.
        silences: how often the source gave nothing for `silent_s` seconds.
        silent_s: for how long it has been silent now; 0 where it isn't.
        duration_s: from the first wait to the last answer, in seconds.
        error: what ended the source, if not its own end.
        source: what the source counts itself, where it does.
    """

    came: int
    inferences: int
    refused: int
    skipped: dict[str, int]
    dropped: int
    missed_deadlines: int
    lost: int
    waiting: int
    silences: int
    silent_s: float
    duration_s: float
    error: Exception | None
    source: dict[str, int] = field(default_factory=dict)
    failed: int = 0


class Progress:
    """How far a stream has come. `run_stream` counts in it; `report` may be called from any thread, at any time.

    Args:
        silent_s: how long the source may give nothing before that counts as a silence, in seconds; None is for ever.
            An unplugged camera that only tells of frames it can't read is silent, too.

    `changes` holds the last ones, for who wants to tell of them: (whether it is silent, for how many seconds it was).
    """

    def __init__(self, silent_s: float | None = None) -> None:
        self.inferences = self.refused = self.failed = self.missed = self.silences = 0
        self.is_silent = False
        self.changes: deque[tuple[bool, float]] = deque(maxlen=_CHANGES)
        self._silent_s = silent_s
        self._start_s = self._last_s = time.monotonic()
        self._stream: Stream | None = None
        self._sink: Sink | None = None

    def begin(self, stream: Stream, sink: Sink | None) -> None:
        """Say which stream and sink it is the progress of."""
        self._stream, self._sink = stream, sink

    def heard(self, now_s: float) -> None:
        """An input was dealt with, at `now_s` of `time.monotonic`."""
        if self.is_silent:
            self.is_silent = False
            self.changes.append((False, now_s - self._last_s))
            log.warning("the source gives inputs again, after %.0f s", now_s - self._last_s)
        self._last_s = now_s

    def waited(self, now_s: float) -> None:
        """There was nothing to do, at `now_s`."""
        if self._silent_s is not None and not self.is_silent and now_s - self._last_s > self._silent_s:
            self.is_silent = True
            self.silences += 1
            self.changes.append((True, now_s - self._last_s))
            log.warning("the source has given no input for %.0f s", now_s - self._last_s)

    def report(self) -> StreamReport:
        """What the stream has done until now."""
        stream, sink = self._stream, self._sink
        return StreamReport(
            came=stream.came if stream else 0,
            inferences=self.inferences,
            refused=self.refused,
            skipped=dict(stream.skips) if stream else {},
            dropped=stream.dropped if stream else 0,
            missed_deadlines=self.missed,
            lost=sink.lost if sink else 0,
            waiting=stream.waiting if stream else 0,
            silences=self.silences,
            silent_s=time.monotonic() - self._last_s if self.is_silent else 0.0,
            duration_s=self._last_s - self._start_s,
            error=stream.error if stream else None,
            source=stream.statistics() if stream else {},
            failed=self.failed,
        )


def _log_refused(item: SourceItem, error: InputError) -> None:
    log.debug("%s: %s", item.ref, error)


def _log_failed(item: SourceItem, error: Exception) -> None:
    log.warning("%s: the backend failed: %s: %s", item.ref, type(error).__name__, error)


def _go_on(runtime: Runtime) -> Runtime:
    return runtime


def run_stream(
    runtime: Runtime,
    source: Iterator[Item],
    sink: Sink | None = None,
    *,
    queue_size: int = 64,
    policy: Policy = "block",
    deadline_ms: float | None = None,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
    between: Callable[[Runtime], Runtime] = _go_on,
    on_refused: Callable[[SourceItem, InputError], None] = _log_refused,
    on_failed: Callable[[SourceItem, Exception], None] = _log_failed,
) -> StreamReport:
    """Run what `source` gives and write the predictions to `sink`, until the source ends or `stop` is set.

    Args:
        runtime: the model to start with.
        source: see `edgeloop.sources`.
        sink: see `edgeloop.sinks`; it is flushed twice a second, and not closed.
        queue_size: how many inputs may wait for the model.
        policy: what happens to more; see `BoundedQueue`.
        deadline_ms: from an input's arrival to its answer, in milliseconds; what takes longer is counted.
        stop: ends the stream after the inference that is under way.
        progress: where to count, for who wants to look while it runs.
        between: called after each inference, and ten times a second while the source is silent; gives the runtime
            to go on with.
        on_refused: called with each input that doesn't fit the model.
        on_failed: called with each input to which the backend had no answer; the next one is tried all the same.
    """
    stopping = stop or threading.Event()
    progress = progress or Progress()
    flushed_s = time.monotonic()
    with Stream(source, size=queue_size, policy=policy) as stream:
        progress.begin(stream, sink)
        while not (stream.ended or stopping.is_set()):
            arrived = stream.take(_POLL_S)
            for item, came_s in arrived:
                try:
                    prediction = runtime.run(item.x, ref=item.ref)
                except (EdgeloopError, OSError, RuntimeError) as error:
                    # A runtime's own refusal is that very class; its subclasses, too, are a backend's.
                    if type(error) is InputError:
                        progress.refused += 1
                        on_refused(item, error)
                    else:
                        progress.failed += 1
                        on_failed(item, error)
                else:
                    progress.inferences += 1
                    if sink is not None:
                        sink.write(item.ref, prediction, runtime)
                now_s = time.monotonic()
                progress.heard(now_s)
                progress.missed += deadline_ms is not None and (now_s - came_s) * 1e3 > deadline_ms
                runtime = between(runtime)
                if stopping.is_set():
                    break
            else:
                runtime = between(runtime)
            now_s = time.monotonic()
            if not arrived:
                progress.waited(now_s)
            if sink is not None and now_s - flushed_s >= _FLUSH_S:
                sink.flush()
                flushed_s = now_s
    if sink is not None:
        sink.flush()
    return progress.report()
