"""The way from a source to a sink: the source on a thread of its own, a bounded queue, the model, the sink.

with Runtime("model.tflite") as runtime, closing(SqliteSink("predictions.db")) as sink:
    report = run_stream(runtime, Images("photos").open(), sink, policy="latest", deadline_ms=100)
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

from edgeloop.bounded import BoundedQueue, Policy
from edgeloop.errors import InputError
from edgeloop.runtime import Runtime
from edgeloop.sinks.base import Sink
from edgeloop.sources.item import Item, SkippedItem, SourceItem

__all__ = ["Arrived", "Stream", "StreamReport", "run_stream"]

log = logging.getLogger(__name__)

_POLL_S = 0.1
_FLUSH_S = 0.5
_AT_ONCE = 32
_GOODBYE_S = 1.0


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
    """What a stream did.

    Args:
        came: inputs that the source gave.
        inferences: how many the model has answered.
        refused: how many didn't fit the model.
        skipped: what the source couldn't read, counted by reason.
        dropped: inputs that the policy dropped.
        missed_deadlines: answers that came more than `deadline_ms` after their inputs.
        lost: predictions that the sink couldn't keep.
        duration_s: from the first wait to the last answer, in seconds.
        error: what ended the source, if not its own end.
    """

    came: int
    inferences: int
    refused: int
    skipped: dict[str, int]
    dropped: int
    missed_deadlines: int
    lost: int
    duration_s: float
    error: Exception | None


def _log_refused(item: SourceItem, error: InputError) -> None:
    log.debug("%s: %s", item.ref, error)


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
    between: Callable[[Runtime], Runtime] = _go_on,
    on_refused: Callable[[SourceItem, InputError], None] = _log_refused,
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
        between: called after each inference, and ten times a second while the source is silent; gives the runtime
            to go on with.
        on_refused: called with each input that doesn't fit the model.
    """
    stopping = stop or threading.Event()
    inferences = refused = missed = 0
    start_s = last_s = flushed_s = time.monotonic()
    with Stream(source, size=queue_size, policy=policy) as stream:
        while not (stream.ended or stopping.is_set()):
            for item, came_s in stream.take(_POLL_S):
                try:
                    prediction = runtime.run(item.x, ref=item.ref)
                except InputError as error:
                    refused += 1
                    on_refused(item, error)
                else:
                    inferences += 1
                    if sink is not None:
                        sink.write(item.ref, prediction, runtime)
                last_s = time.monotonic()
                missed += deadline_ms is not None and (last_s - came_s) * 1e3 > deadline_ms
                runtime = between(runtime)
                if stopping.is_set():
                    break
            else:
                runtime = between(runtime)
            if sink is not None and time.monotonic() - flushed_s >= _FLUSH_S:
                sink.flush()
                flushed_s = time.monotonic()
    if sink is not None:
        sink.flush()
    return StreamReport(
        came=stream.came,
        inferences=inferences,
        refused=refused,
        skipped=dict(stream.skips),
        dropped=stream.dropped,
        missed_deadlines=missed,
        lost=0 if sink is None else sink.lost,
        duration_s=last_s - start_s,
        error=stream.error,
    )
