"""The shadow: what it compares, what it may take, and that nothing that it does reaches the first model."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.errors import ConfigError
from edgeloop.inputs import from_row, sample_shapes
from edgeloop.manifest import Manifest, ModelFile, TensorSpec, utc_now
from edgeloop.preprocessing import Category, Vocabulary
from edgeloop.ring import Seen
from edgeloop.runtime import Runtime
from edgeloop.shadow import Clock, Compared, Pace, Shadow, check_comparable
from two_ports import two_ports


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

    def start(
        share: float = 1.0,
        tolerance: float = 0.1,
        max_slowdown: float = 1e9,
        clock: Clock = Clock(),  # noqa: B008  # it holds no state
        artifact: Artifact | None = None,
        **fields: object,
    ) -> Shadow[str]:
        runtime = Runtime(artifact or make_artifact(version=2, **fields))
        rng, limits = np.random.default_rng(0), {"share": share, "max_slowdown": max_slowdown}
        started.append(Shadow(runtime, **limits, tolerance=tolerance, rng=rng, clock=clock))
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
        check_comparable(first.manifest, other.manifest)


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


class Heavy:
    """A shadow of 5 ms an inference, on a clock that its work moves on; beside it the first model gets slower.

    By 40 % where it works all the time, and in proportion where it works less.
    """

    CALL_S, PERIOD_S, ALONE_US = 5e-3, 0.5, 100.0

    def __init__(self, shadow_of: Callable[..., Shadow[str]], first: Runtime, max_slowdown: float) -> None:
        self.mono_s = self.cpu_s = 0.0
        clock = Clock(lambda: self.mono_s, lambda: self.cpu_s, self._wait)
        self.shadow = shadow_of(share=0.5, max_slowdown=max_slowdown, clock=clock)
        self._run = self.shadow._runtime.run
        self.shadow._runtime.run = self._slow_run
        self.seen = seen_by(first, 200)
        self.worked_s = 0.0

    def _wait(self, closing: threading.Event, wait_s: float) -> bool:
        self.mono_s += max(0.0, wait_s)
        return closing.is_set()

    def _slow_run(self, x: np.ndarray, ref: str = "") -> object:
        self.mono_s += self.CALL_S
        self.cpu_s += self.CALL_S
        return self._run(x, ref=ref)

    def turn(self) -> tuple[float, int]:
        """One batch: by how much the first model was slowed down meanwhile, and how many inputs were looked at."""
        slowdown = 0.4 * self.worked_s / self.PERIOD_S
        latency_us = np.full(len(self.seen), self.ALONE_US * (1 + slowdown), np.float32)
        before_s = self.cpu_s
        self.shadow.offer(dataclasses.replace(self.seen, latency_us=latency_us), "")
        (batch,) = wait_for(self.shadow, 1)
        self.worked_s = self.cpu_s - before_s
        self.mono_s += self.PERIOD_S
        return slowdown, int(batch.looked.sum())


def test_a_heavy_shadow_looks_at_less_until_the_first_model_is_within_its_bound(first: Runtime, shadow_of) -> None:
    def run(max_slowdown: float) -> tuple[float, float, float]:
        heavy = Heavy(shadow_of, first, max_slowdown)
        turns = [heavy.turn() for _ in range(120)]
        beside = [slowdown for slowdown, _ in turns[60:] if slowdown]
        looked = [n for _, n in turns]
        return float(np.mean(beside)), float(np.mean(looked[:8])), float(np.mean(looked[60:]))

    slowdown, at_first, at_last = run(1e9)
    assert slowdown == pytest.approx(0.2, rel=0.1)  # half of a processor, all of the time
    assert at_last == pytest.approx(at_first, rel=0.1)
    slowdown, at_first, at_last = run(0.05)
    assert 0.02 < slowdown <= 0.05
    assert at_last < at_first / 3


def test_a_model_of_several_inputs_is_shadowed(shadow_of) -> None:
    rng = np.random.default_rng(0)
    with Runtime(two_ports()) as first:
        for _ in range(30):
            first.run({"my_a": rng.normal(size=4), "my_b": rng.integers(0, 9, 4)})
        seen = first.take_seen()
        same = shadow_of(artifact=two_ports(version=2))
        other = shadow_of(artifact=two_ports(bias=1.0, version=2))
        for shadow, agrees in ((same, 30), (other, 0)):
            check_comparable(first.manifest, shadow.manifest)
            shadow.offer(seen, "", sample_shapes(first.manifest))
            (batch,) = wait_for(shadow, 1)
            assert batch.looked.all()
            assert (shadow.stats().agreed, shadow.stats().refused) == (agrees, 0)


def test_the_order_of_several_inputs_is_no_matter_and_their_names_are() -> None:
    shape = sample_shapes(two_ports().manifest)
    row = np.arange(8, dtype=np.float32)
    assert {name: x.tolist() for name, x in from_row(shape, row).items()} == {
        "my_a": [0, 1, 2, 3],
        "my_b": [4, 5, 6, 7],
    }
    first, turned, other = (two_ports(names).manifest for names in (("a", "b"), ("b", "a"), ("a", "c")))
    check_comparable(first, turned)
    with pytest.raises(ConfigError, match=r"takes a \(4,\), c \(4,\)"):
        check_comparable(first, other)


def test_other_categories_can_t_be_compared_since_their_numbers_differ() -> None:
    def of(*values: str) -> Manifest:
        step = Vocabulary((Category(0, values),))
        spec, out = TensorSpec("x", (1, 4), "float32"), TensorSpec("y", (1, 3), "float32")
        model = ModelFile("0" * 64, 8)
        return Manifest("m", 1, utc_now(), model, (spec,), (out,), "regression", preprocessing=(step,))

    check_comparable(of("red", "green"), of("red", "green"))
    with pytest.raises(ConfigError, match="categories"):
        check_comparable(of("red", "green"), of("green", "red"))
