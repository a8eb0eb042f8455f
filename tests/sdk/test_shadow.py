"""The shadow: what it compares, what it may take, and that nothing that it does reaches the first model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgeloop.errors import ConfigError
from edgeloop.ring import Seen
from edgeloop.runtime import Runtime
from edgeloop.shadow import Compared, Pace, Shadow, check_comparable


def seen_by(runtime: Runtime, n: int, seed: int = 0) -> Seen:
    for x in np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32):
        runtime.run(x)
    return runtime.take_seen()


@pytest.fixture
def first(make_artifact) -> Iterator[Runtime]:
    with Runtime(make_artifact()) as runtime:
        yield runtime


@pytest.fixture
def shadow_of(make_artifact) -> Iterator[Callable[..., Shadow[str]]]:
    started: list[Shadow[str]] = []

    def start(share: float = 1.0, tolerance: float = 0.1, **fields: object) -> Shadow[str]:
        runtime = Runtime(make_artifact(version=2, **fields))
        rng = np.random.default_rng(0)
        started.append(Shadow(runtime, share=share, max_slowdown=1e9, tolerance=tolerance, rng=rng))
        return started[-1]

    yield start
    for shadow in started:
        shadow.close()


def wait_for(shadow: Shadow[str], batches: int) -> list[Compared[str]]:
    found: list[Compared[str]] = []
    end = time.monotonic() + 60
    while len(found) < batches:
        assert time.monotonic() < end
        found += shadow.finished()
        time.sleep(0.01)
    return found


def test_the_same_model_agrees_with_itself(first: Runtime, shadow_of) -> None:
    shadow = shadow_of()
    shadow.offer(seen_by(first, 50), "mine")
    (batch,) = wait_for(shadow, 1)
    assert batch.owner == "mine"
    assert batch.looked.all()
    assert not batch.disagrees.any()
    stats = shadow.stats()
    assert (stats.looked, stats.agreed, stats.passed) == (50, 50, 0)


def test_what_another_model_says_otherwise_is_marked(first: Runtime, shadow_of, make_artifact) -> None:
    shadow, seen = shadow_of(sign=0), seen_by(first, 60)
    shadow.offer(seen, "")
    (batch,) = wait_for(shadow, 1)
    with Runtime(make_artifact(sign=0)) as other:
        expected = other.run_batch(seen.inputs).argmax(axis=1) != seen.outputs.argmax(axis=1)
    assert 0 < expected.sum() < 60
    assert np.array_equal(batch.disagrees, expected)
    assert shadow.stats().agreed == (~expected).sum()


def test_outputs_of_no_classifier_agree_up_to_the_tolerance(make_artifact, shadow_of) -> None:
    plain = {"task": "regression", "labels": ()}
    with Runtime(make_artifact(**plain)) as first:
        strict, loose = shadow_of(tolerance=1e-3, sign=-1, **plain), shadow_of(tolerance=1.0, sign=-1, **plain)
        seen = seen_by(first, 20)
        for shadow in (strict, loose):
            shadow.offer(seen, "")
        assert wait_for(strict, 1)[0].disagrees.all()
        assert not wait_for(loose, 1)[0].disagrees.any()


def test_it_takes_no_more_than_its_share_of_a_processor(first: Runtime, shadow_of) -> None:
    shadow, start_s = shadow_of(share=0.02), time.monotonic()
    for _ in range(6):
        shadow.offer(seen_by(first, 500), "")
        time.sleep(0.1)
    stats, span_s = shadow.stats(), time.monotonic() - start_s
    assert stats.looked > 0
    # One inference may be under way when the clock is read; it is paid for with the pause after it.
    assert stats.cpu_s <= 0.02 * span_s + 2 * stats.cpu_s / stats.looked + 5e-3


def test_a_batch_that_comes_too_soon_passes_it_by_and_nothing_waits(first: Runtime, shadow_of) -> None:
    shadow = shadow_of(share=0.01)
    for _ in range(40):
        shadow.offer(seen_by(first, 100), "")
    shadow.close()
    batches = shadow.finished()
    assert sum(len(batch.seen) for batch in batches) == 4000
    stats = shadow.stats()
    assert stats.looked + stats.passed + sum(not batch.looked.any() for batch in batches) > 0
    assert stats.looked == sum(int(batch.looked.sum()) for batch in batches) < 4000


def test_what_it_looks_at_is_a_random_part(first: Runtime, shadow_of) -> None:
    shadow = shadow_of(share=0.005)  # of half a second: too little for all, whatever the machine
    shadow.offer(seen_by(first, 1000), "")
    (batch,) = wait_for(shadow, 1)
    where = np.flatnonzero(batch.looked)
    assert 3 < len(where) < 1000
    assert not np.array_equal(where, np.arange(len(where)))


def test_one_that_fails_ends_alone(first: Runtime, shadow_of, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> object:
        raise RuntimeError("a kernel of the candidate's")

    shadow = shadow_of()
    monkeypatch.setattr(shadow._runtime, "run", breaks)
    for _ in range(3):
        shadow.offer(seen_by(first, 10), "")
    assert sum(len(batch.seen) for batch in wait_for(shadow, 3)) == 30
    assert "a kernel of the candidate's" in shadow.stats().ended


def test_what_can_t_be_compared_is_said(first: Runtime, make_artifact) -> None:
    with (
        Runtime(make_artifact(version=2, task="regression", labels=())) as other,
        pytest.raises(ConfigError, match="can't be compared"),
    ):
        check_comparable(first, other)


def test_a_shadow_that_slows_the_first_model_down_does_less_and_then_pauses() -> None:
    pace, share, worked, paused = Pace(0.4, 0.05), 0.4, False, 0
    for _ in range(400):
        works = pace.next_works(110.0 if worked else 100.0, worked=worked)
        assert pace.share <= share * 1.2
        share, worked = pace.share, works
        paused += not works
    assert pace.share < 0.4 / 16
    assert pace.slowdown == pytest.approx(0.1)
    assert paused > 200


def test_a_shadow_that_slows_nothing_down_keeps_its_share_and_rests_every_fourth_batch() -> None:
    pace, worked, rests = Pace(0.4, 0.05), False, 0
    rng = np.random.default_rng(0)
    for _ in range(400):
        worked = pace.next_works(100 + rng.normal(), worked=worked)
        rests += not worked
    assert (pace.share, rests) == (0.4, 100)
    assert abs(pace.slowdown) < 0.05


def test_a_share_comes_back_when_the_slowdown_is_over() -> None:
    pace, worked = Pace(0.4, 0.05), False
    for i in range(800):
        slow = worked and i < 60
        worked = pace.next_works(110.0 if slow else 100.0, worked=worked)
        if i == 59:
            assert pace.share < 0.4
    assert pace.share == 0.4
