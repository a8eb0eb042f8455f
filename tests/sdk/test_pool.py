"""A pool: any number of threads get their own answers."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from edgeloop.errors import ConfigError, InputError
from edgeloop.pool import RuntimePool
from edgeloop.runtime import Runtime


@pytest.fixture
def switching_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_every_thread_gets_the_answers_to_its_own_inputs(make_artifact, switching_often) -> None:
    x = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    expected = Runtime(make_artifact()).run_batch(x)
    with RuntimePool(make_artifact(), size=3) as pool, ThreadPoolExecutor(8) as executor:
        calls = {"run": lambda i: pool.run(x[i], ref=str(i)), "run_stored": lambda i: pool.run_stored(x[i : i + 1])}
        for call in calls.values():
            answers = list(executor.map(lambda i, call=call: call(i).output, range(len(x))))
            assert np.array_equal(answers, expected)
        halves = list(executor.map(pool.run_batch, [x[:300], x[300:]] * 4))
        assert np.array_equal(np.concatenate(halves), np.tile(expected, (4, 1)))
        seen = pool.take_seen()
    assert sum(len(each) for each in seen) == 1200
    for each in seen:
        rows = [int(ref) for ref in each.refs if ref]
        assert np.array_equal(each.inputs[[bool(ref) for ref in each.refs]], x[rows])


def test_a_refused_input_gives_its_runtime_back(make_artifact) -> None:
    with RuntimePool(make_artifact(), size=1) as pool:
        for _ in range(3):
            with pytest.raises(InputError, match="shape"):
                pool.run(np.zeros(5))
        assert pool.run(np.array([0, 1, 0, 0], np.float32)).index == 1


def test_a_pool_of_none_is_refused(make_artifact) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        RuntimePool(make_artifact(), size=0)


def test_what_was_seen_may_be_taken_by_another_thread_while_it_runs(make_artifact, switching_often) -> None:
    runtime, done = Runtime(make_artifact()), threading.Event()
    taken = []

    def take() -> None:
        while not done.is_set():
            taken.append(runtime.take_seen())
        taken.append(runtime.take_seen())

    observer = threading.Thread(target=take)
    observer.start()
    for i in range(5000):
        runtime.run(np.array([i, 1, 0, 0], np.float32), ref=str(i))
    done.set()
    observer.join()
    refs = [int(ref) for seen in taken for ref in seen.refs]
    assert refs == sorted(set(refs))
    assert len(refs) + sum(seen.overwritten for seen in taken) == 5000
    assert all(np.array_equal(seen.inputs[:, 0], [int(r) for r in seen.refs]) for seen in taken if len(seen))
