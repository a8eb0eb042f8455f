"""The bounded queue, a source on its own thread, and the loop between source and sink."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.bounded import BoundedQueue
from edgeloop.errors import ConfigError, InputError
from edgeloop.runtime import Runtime
from edgeloop.sinks import CallbackSink
from edgeloop.sources import Item, SkippedItem, SourceItem
from edgeloop.sources.payload import from_json
from edgeloop.stream import Progress, Stream, run_stream

X = np.array([0, 1, 0, 0], np.float32)


def items(n: int) -> Iterator[SourceItem]:
    return (SourceItem(X, str(i)) for i in range(n))


class TestBoundedQueue:
    @pytest.mark.parametrize(
        ("policy", "left", "dropped"),
        [("drop-oldest", [7, 8, 9], 7), ("drop-newest", [0, 1, 2], 7), ("latest", [9], 9)],
    )
    def test_a_full_queue_drops_as_its_policy_says(self, policy: str, left: list[int], dropped: int) -> None:
        queue: BoundedQueue[int] = BoundedQueue(3, policy)  # type: ignore[arg-type]
        assert all(queue.put(i) for i in range(10))
        assert (queue.take(0, 99), queue.came, queue.dropped) == (left, 10, dropped)

    def test_block_makes_the_producer_wait_and_loses_nothing(self) -> None:
        queue: BoundedQueue[int] = BoundedQueue(2)
        producer = threading.Thread(target=lambda: [queue.put(i) for i in range(100)] and queue.close())
        producer.start()
        taken: list[int] = []
        while not queue.is_drained:
            assert len(queue) <= 2
            taken += queue.take(10)
        producer.join()
        assert (taken, queue.dropped) == (list(range(100)), 0)

    def test_closing_wakes_a_waiting_producer_and_keeps_what_is_there(self) -> None:
        queue: BoundedQueue[int] = BoundedQueue(1)
        queue.put(1)
        answers: list[bool] = []
        producer = threading.Thread(target=lambda: answers.append(queue.put(2)))
        producer.start()
        queue.close()
        producer.join(10)
        assert answers == [False]
        assert queue.take(0) == [1]
        assert queue.is_drained

    def test_taking_from_a_silent_queue_comes_back(self) -> None:
        assert BoundedQueue(1).take(0.01) == []

    def test_a_queue_that_holds_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="at least one"):
            BoundedQueue(0)

    @given(
        st.sampled_from(["drop-oldest", "drop-newest", "latest"]),
        st.integers(1, 5),
        st.lists(st.sampled_from(["put", "take"]), max_size=60),
    )
    def test_everything_put_is_taken_dropped_or_there(self, policy: str, size: int, steps: list[str]) -> None:
        queue: BoundedQueue[int] = BoundedQueue(size, policy)  # type: ignore[arg-type]
        taken: list[int] = []
        for number, step in enumerate(steps):
            if step == "put":
                queue.put(number)
            else:
                taken += queue.take(0)
            assert queue.came == len(taken) + queue.dropped + len(queue)
            assert len(queue) <= size
        assert taken == sorted(taken)


class TestStream:
    def test_a_source_that_hangs_holds_up_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        gate = threading.Event()

        def hanging() -> Iterator[SourceItem]:
            yield SourceItem(X)
            gate.wait()

        with Stream(hanging()) as stream:
            assert len(stream.take(10)) == 1
            assert stream.take(0.01) == []
            assert not stream.ended
        assert "hangs" in caplog.text
        gate.set()

    def test_a_generator_is_closed_on_its_own_thread(self) -> None:
        closed_by: list[str] = []

        def endless() -> Iterator[SourceItem]:
            try:
                while True:
                    yield SourceItem(X)
            finally:
                closed_by.append(threading.current_thread().name)

        with Stream(endless(), size=2) as stream:
            stream.take(10)
        assert closed_by == ["edgeloop source"]

    def test_anything_else_is_closed_to_end_its_wait(self) -> None:
        class Device:
            def __init__(self) -> None:
                self.gone = threading.Event()

            def __iter__(self) -> Iterator[Item]:
                return self

            def __next__(self) -> Item:
                self.gone.wait()
                raise StopIteration

            close = property(lambda self: self.gone.set)

        start_s = time.monotonic()
        with Stream(Device()) as stream:
            pass
        assert stream.ended
        assert time.monotonic() - start_s < 30


class TestRunStream:
    @pytest.fixture
    def runtime(self, make_artifact) -> Iterator[Runtime]:
        runtime = Runtime(make_artifact())
        yield runtime
        runtime.close()

    def test_all_that_came_is_answered_in_order(self, runtime: Runtime) -> None:
        refs: list[str] = []
        report = run_stream(runtime, items(300), CallbackSink(lambda ref, _: refs.append(ref)))
        assert refs == [str(i) for i in range(300)]
        assert (report.came, report.inferences, report.error) == (300, 300, None)

    def test_bad_inputs_and_skips_are_counted_and_stop_nothing(self, runtime: Runtime) -> None:
        def mixed() -> Iterator[Item]:
            for i in range(60):
                yield [SourceItem(X), SourceItem(np.zeros(5), "bad"), SkippedItem("torn")][i % 3]

        refused: list[InputError] = []
        report = run_stream(runtime, mixed(), on_refused=lambda _, error: refused.append(error))
        assert (report.inferences, report.refused, report.skipped) == (20, 20, {"torn": 20})
        assert "takes (4,)" in str(refused[0])

    @pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # 1e39 is refused as infinity
    def test_a_hundred_thousand_mutilated_inputs_stop_nothing(self, runtime: Runtime) -> None:
        rng = random.Random(0)
        seeds = [
            b"[1,2,3,4]",
            b'{"x":[1,0,0,0],"ref":"a"}',
            b"[[1,2],[3,4]]",
            b'["a",null,1,2]',
            b"[1e999,2,3,4]",
            b"[{}]",
        ]

        def mutilated() -> bytes:
            data = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(4)):
                at = rng.randrange(len(data))
                data[at : at + rng.randrange(2)] = bytes([rng.choice(b'[]{},:"0123456789.eE-\\nu\xff')])
            return bytes(data)

        report = run_stream(runtime, (from_json(mutilated(), str(i)) for i in range(100_000)))
        assert report.error is None
        assert report.inferences + report.refused + sum(report.skipped.values()) == 100_000
        assert min(report.inferences, report.refused, *report.skipped.values()) > 100

    def test_a_source_that_raises_ends_the_stream_with_its_error(self, runtime: Runtime) -> None:
        def failing() -> Iterator[Item]:
            yield from items(5)
            raise OSError("unplugged")

        report = run_stream(runtime, failing())
        assert report.inferences == 5
        assert str(report.error) == "unplugged"

    def test_a_source_that_yields_something_else_is_an_error_of_its_own(self, runtime: Runtime) -> None:
        report = run_stream(runtime, iter([X]))  # type: ignore[list-item]
        assert isinstance(report.error, TypeError)

    def test_missed_deadlines_are_counted(self, runtime: Runtime) -> None:
        slow = CallbackSink(lambda *_: time.sleep(0.02))
        assert run_stream(runtime, items(5), slow, deadline_ms=5).missed_deadlines == 5
        assert run_stream(runtime, items(5), slow, deadline_ms=60_000).missed_deadlines == 0

    def test_latest_runs_the_newest_and_counts_the_rest(self, runtime: Runtime) -> None:
        refs: list[str] = []

        def slow(ref: str, _: object) -> None:
            refs.append(ref)
            time.sleep(0.05)

        report = run_stream(runtime, items(1000), CallbackSink(slow), policy="latest")
        assert report.inferences + report.dropped == report.came == 1000
        assert report.dropped > 0
        assert refs[-1] == "999"

    def test_while_the_source_is_silent_the_hook_is_called_and_stop_is_heard(self, runtime: Runtime) -> None:
        gate, stop, calls = threading.Event(), threading.Event(), []

        def silent() -> Iterator[Item]:
            gate.wait()
            yield from items(1)

        def between(runtime: Runtime) -> Runtime:
            calls.append(1)
            if len(calls) == 3:
                stop.set()
            return runtime

        report = run_stream(runtime, silent(), stop=stop, between=between)
        gate.set()
        assert report.inferences == 0
        assert len(calls) == 3

    def test_a_silence_is_counted_once_and_its_end_is_noticed(self, runtime: Runtime) -> None:
        gate, progress = threading.Event(), Progress(silent_s=0.2)

        def falls_silent() -> Iterator[Item]:
            yield from items(1)
            gate.wait(60)
            yield from items(1)

        def between(runtime: Runtime) -> Runtime:
            if progress.is_silent:
                silent.append(progress.report().silent_s)
            if len(silent) == 4:
                gate.set()
            return runtime

        silent: list[float] = []
        report = run_stream(runtime, falls_silent(), progress=progress, between=between)
        assert (report.inferences, report.silences, report.silent_s) == (2, 1, 0)
        assert silent == sorted(silent)
        assert silent[0] > 0.2
        assert [is_silent for is_silent, _ in progress.changes] == [True, False]

    def test_progress_tells_of_the_queue_while_it_runs(self, runtime: Runtime) -> None:
        progress, seen = Progress(), []

        def look(*_: object) -> None:
            time.sleep(0.002)
            seen.append(progress.report())

        run_stream(runtime, items(200), CallbackSink(look), queue_size=8, progress=progress)
        assert max(report.waiting for report in seen) == 8
        assert [report.inferences for report in seen] == list(range(1, 201))
        assert progress.report().waiting == 0

    def test_the_hook_may_give_another_runtime(self, runtime: Runtime, make_artifact) -> None:
        versions: list[int] = []

        class Versions(CallbackSink):
            def write(self, _ref, _prediction, runtime: Runtime) -> None:
                versions.append(runtime.manifest.version)

        newer = Runtime(make_artifact(version=2))
        run_stream(runtime, items(3), Versions(lambda *_: None), between=lambda _: newer)
        assert versions == [1, 2, 2]
