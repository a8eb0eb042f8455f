"""The observer: what it sends of a batch, and that estimates from what it sends are right."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from edgeloop.config import AgentConfig
from edgeloop.messages import EventMessage, ModelRef, ProfileMessage, SampleMessage, encode, unpack_array
from edgeloop.observer import Observer
from edgeloop.profile import Profile, unpack_counts
from edgeloop.ring import Seen


def batch(rng: np.random.Generator, n: int = 200, classes: int = 3, dtype: str = "float32", features: int = 4) -> Seen:
    x = rng.normal(size=(n, features)).astype(dtype)
    outputs = rng.dirichlet(np.ones(classes) * 0.3, n).astype(np.float32)
    return Seen(x, outputs, [str(i) for i in range(n)], np.full(n, 10, np.float32), 0)


@pytest.fixture
def observer_of(agent_config: AgentConfig, make_artifact):
    def make(
        seed: int = 0,
        shadow: ModelRef | None = None,
        baseline: object = None,
        cpu_time_s: Callable[[], float] = lambda: 0.0,
        **changes: object,
    ) -> Observer:
        config = msgspec.structs.replace(agent_config, **changes)
        manifest = msgspec.structs.replace(make_artifact().manifest, baseline=baseline)
        return Observer(config, manifest, np.random.default_rng(seed), shadow, cpu_time_s=cpu_time_s)

    return make


def test_horvitz_thompson_means_over_a_fleet_lie_within_their_intervals(observer_of) -> None:
    """Sixty devices, a tight budget, a shadow that disagrees where the value is large: a plain mean is far off."""
    rng = np.random.default_rng(0)
    hits, errors, plain, total, spent_bytes = 0, [], [], 60, 0
    for device in range(total):
        observer = observer_of(seed=device, sample_bytes_per_day=1_000_000)
        values, weights, truth = [], [], []
        for step in range(30):
            seen = batch(rng, 100)
            truth.extend(seen.inputs[:, 0])
            disagrees = (seen.inputs[:, 0] > 1) & (rng.random(100) < 0.5)  # it has looked at half of them
            messages, _ = observer.compared(seen, np.ones(100, np.bool_), disagrees, now_s=0, monotonic_s=60.0 * step)
            for message in messages:
                assert isinstance(message, SampleMessage)
                values.append(float(unpack_array(message.input)[0]))
                weights.append(1 / message.probability)
                spent_bytes += len(message.input.data) + len(message.output.data) + 320
        v, w = np.array(values), np.array(weights)
        estimate = (v * w).sum() / len(truth)
        # Poisson sampling's variance estimator: Σ (1 - p) / p² v².
        error = np.sqrt(((1 - 1 / w) * (w * v) ** 2).sum()) / len(truth)
        errors.append(estimate - np.mean(truth))
        hits += abs(estimate - np.mean(truth)) < 1.96 * error
        plain.append(v.mean())
    assert hits >= 50  # 57 are expected, were the estimates normal
    assert abs(np.mean(errors)) < 1.96 * np.std(errors) / np.sqrt(total)
    assert np.mean(plain) > 0.3
    assert spent_bytes / total < 1_000_000 / 24 * 2.1  # an hour's worth at once, and what trickles in


def test_every_input_has_a_chance_even_when_the_budget_is_spent(observer_of) -> None:
    observer, rng = observer_of(sample_bytes_per_day=86_400), np.random.default_rng(0)
    observer.sample(batch(rng, 2000), now_s=0, monotonic_s=0)
    late = [
        message
        for step in range(1, 1000)
        for message in observer.sample(batch(rng, 20), now_s=0, monotonic_s=step * 1.0)[0]
    ]
    assert late
    assert sum(len(m.input.data) + len(m.output.data) + 320 for m in late) < 1.2 * 1000 + 700


def test_disagreements_come_first_and_say_so(observer_of) -> None:
    observer, rng = observer_of(), np.random.default_rng(0)
    seen = batch(rng, 400)
    disagrees = np.zeros(400, np.bool_)
    disagrees[::50] = True
    messages, values = observer.compared(seen, disagrees, disagrees, now_s=0, monotonic_s=0)
    by_reason = {m.ref: (m.reason, m.probability) for m in messages}
    assert all(by_reason[str(i)] == ("disagreement", 1.0) for i in range(0, 400, 50))
    assert len(messages) < 140
    assert len(values) == len(messages)


def test_a_rare_class_is_picked_more_often(observer_of) -> None:
    observer, rng = observer_of(), np.random.default_rng(0)
    reasons: dict[int, list[str]] = {0: [], 1: []}
    for step in range(60):
        seen = batch(rng, 100)
        outputs = np.tile(np.array([1, 0, 0], np.float32), (100, 1))
        outputs[7] = [0, 1, 0]
        messages, _ = observer.sample(
            Seen(seen.inputs, outputs, seen.refs, seen.latency_us, 0), now_s=0, monotonic_s=step
        )
        for message in messages:
            reasons[int(unpack_array(message.output).argmax())].append(message.reason)
    assert reasons[1].count("rare") > 50
    assert len(reasons[1]) > 3 * len(reasons[0]) / 99


def test_a_window_closes_with_its_profile_and_the_shadow_s_agreement(observer_of, baseline) -> None:
    shadow = ModelRef("tiny", 2, "ab" * 32)
    observer, rng = observer_of(shadow=shadow, baseline=baseline, window_s=60.0), np.random.default_rng(0)
    seen = batch(rng)
    observer.observe(seen, now_s=1000, monotonic_s=0, sample=False)
    looked = rng.random(200) < 0.5
    disagrees = looked & (rng.random(200) < 0.2)
    observer.compared(seen, looked, disagrees, now_s=1001, monotonic_s=1)
    messages, values = observer.observe(batch(rng), now_s=1060, monotonic_s=60, sample=False)
    profile, event = messages
    assert isinstance(profile, ProfileMessage)
    assert isinstance(event, EventMessage)
    assert (event.event, values) == ("shadow-agreement", [None, None])
    assert (event.detail["n"], profile.n) == (400, 400)
    assert (event.detail["looked"], event.detail["agreed"]) == (looked.sum(), looked.sum() - disagrees.sum())
    assert (event.detail["version"], event.detail["shadow_version"]) == (1, 2)


@pytest.mark.parametrize("jump_s", [-1e6, -30.0, 1e6, 1e9])
def test_a_clock_that_jumps_changes_no_window_s_length(observer_of, baseline, jump_s: float) -> None:
    observer, rng = observer_of(baseline=baseline, window_s=60.0), np.random.default_rng(0)
    observer.observe(batch(rng), now_s=1.7e9, monotonic_s=0, sample=False)
    assert observer.observe(batch(rng), now_s=1.7e9 + jump_s, monotonic_s=30, sample=False) == ([], [])
    (profile,), _ = observer.observe(batch(rng), now_s=1.7e9 + jump_s + 30, monotonic_s=60, sample=False)
    assert profile.end_s - profile.start_s == pytest.approx(60)
    assert profile.n == 600


@pytest.mark.parametrize(("dtype", "sent"), [("uint16", "int32"), ("uint32", "int64"), ("uint64", "float32")])
def test_what_messages_don_t_have_is_sent_as_something_wider(observer_of, dtype: str, sent: str) -> None:
    rng = np.random.default_rng(0)
    seen = batch(rng)
    x = rng.integers(0, 2**16, (200, 4)).astype(dtype)
    messages, _ = observer_of().sample(Seen(x, seen.outputs, seen.refs, seen.latency_us, 0), now_s=0, monotonic_s=0)
    assert messages
    assert messages[0].input.dtype == sent
    assert np.array_equal(unpack_array(messages[0].input), x[int(messages[0].ref)])


def test_an_input_past_the_message_s_limit_is_counted_and_not_sent(observer_of) -> None:
    observer = observer_of()
    large = batch(np.random.default_rng(0), 4, features=3_000_000)
    assert observer.sample(large, now_s=0, monotonic_s=0) == ([], [])
    assert observer.oversized == 4


class Costs:
    """A processor's clock on which every look at a batch takes what its rows cost."""

    def __init__(self, row_s: float) -> None:
        self.now_s = 0.0
        self.row_s = row_s

    def __call__(self) -> float:
        return self.now_s

    def charged(self, monkeypatch: pytest.MonkeyPatch) -> Costs:
        def charge(method: Callable[..., object]) -> Callable[..., object]:
            def charged(observer: Observer, seen: Seen, **options: object) -> object:
                self.now_s += len(seen) * self.row_s
                return method(observer, seen, **options)

            return charged

        monkeypatch.setattr(Observer, "sample", charge(Observer.sample))
        return self


@pytest.mark.parametrize("has_shadow", [False, True])
def test_estimates_stay_unbiased_where_only_a_part_is_looked_at(
    observer_of, baseline, monkeypatch: pytest.MonkeyPatch, has_shadow: bool
) -> None:
    """Forty devices that can afford a tenth: totals of values, and of rows, from samples that are drawn twice."""
    rng, clock = np.random.default_rng(0), Costs(row_s=1e-3).charged(monkeypatch)
    shadow = ModelRef("tiny", 2, "ab" * 32) if has_shadow else None
    means, counts, taken_s, rows, steps = [], [], clock.now_s, 400, 50
    for device in range(40):
        # with a shadow the sampler has half of the share
        percent = 8.0 if has_shadow else 4.0
        observer = observer_of(
            seed=device, shadow=shadow, baseline=baseline, cpu_time_s=clock, observe_cpu_percent=percent, window_s=1e9
        )
        values, weights, truth = [], [], []
        for step in range(steps):
            seen = batch(rng, rows)
            truth.extend(seen.inputs[:, 0])
            now = {"now_s": 0.0, "monotonic_s": 1.0 * step}
            messages, _ = observer.observe(seen, **now, sample=not has_shadow)
            if has_shadow:
                messages, _ = observer.compared(seen, np.ones(rows, np.bool_), seen.inputs[:, 0] > 1, **now)
            for message in messages:
                assert isinstance(message, SampleMessage)
                values.append(float(unpack_array(message.input)[0]))
                weights.append(1 / message.probability)
        v, w = np.array(values), np.array(weights)
        means.append((v * w).sum() / len(truth) - np.mean(truth))
        counts.append(w.sum() / len(truth))
    share = (clock.now_s - taken_s) / (40 * steps)
    assert 0.03 < share < 0.055  # of which the first batch, whose cost nobody knows, is 0.008
    assert abs(np.mean(means)) < 2.58 * np.std(means) / np.sqrt(40)
    assert abs(np.mean(counts) - 1) < 2.58 * np.std(counts) / np.sqrt(40)


def test_what_was_not_profiled_is_counted_and_the_profile_is_that_of_a_random_part(
    observer_of, baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, clock = np.random.default_rng(0), Costs(row_s=1e-3).charged(monkeypatch)
    observer = observer_of(baseline=baseline, cpu_time_s=clock, observe_cpu_percent=5.0, window_s=1e9)
    for step in range(200):
        observer.observe(batch(rng, 500), now_s=0, monotonic_s=step)
    messages, _ = observer.observe(batch(rng, 500), now_s=0, monotonic_s=200, close_window=True)
    profile = next(m for m in messages if isinstance(m, ProfileMessage))
    assert profile.n + profile.left_out == 201 * 500
    assert 0.05 * 200 / 1e-3 * 0.8 < profile.n < 0.05 * 200 / 1e-3 * 1.2
    stats = observer.stats()
    assert (stats.profiled, stats.left_out) == (profile.n, profile.left_out)
    assert stats.cpu_s == pytest.approx(profile.n * 1e-3)
    counts = Profile(unpack_counts(profile.counts), profile.n).split(baseline.features)[0]
    expected = np.array(baseline.features[0].counts) / 500 * profile.n
    assert np.abs(counts - expected)[:-1].max() < 0.03 * profile.n


def test_an_older_centre_reads_a_profile_that_says_what_was_left_out(observer_of, baseline) -> None:
    class OldProfile(msgspec.Struct, kw_only=True, tag="profile", tag_field="kind"):
        device: str
        n: int
        counts: bytes

    observer, rng = observer_of(baseline=baseline), np.random.default_rng(0)
    messages, _ = observer.observe(batch(rng), now_s=0, monotonic_s=0, close_window=True, sample=False)
    assert msgspec.msgpack.decode(encode(messages[0]), type=OldProfile).n == 200
