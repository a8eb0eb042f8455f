"""The observer: turns batches of what the runtime saw into profiles and picked samples. It sends nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.allowance import Allowance, draw
from edgeloop.config import AgentConfig
from edgeloop.manifest import Manifest
from edgeloop.messages import (
    MAX_SAMPLE_BYTES,
    EventMessage,
    ModelRef,
    ProfileMessage,
    SampleMessage,
    Up,
    pack_array,
)
from edgeloop.profile import Profiler, pack_counts
from edgeloop.ring import Seen
from edgeloop.sampler import Budget, Reason, novelty, pick, rarity, uncertainty

__all__ = ["Observer", "ObserverStats"]

_SAMPLE_OVERHEAD_BYTES = 320  # the message's names and numbers, beside its arrays
_REF_CHARACTERS = 1024
_REMEMBERED = 20_000  # predictions that say how rare a class is: older ones fade
_WIDER: dict[str, str] = {"uint16": "int32", "uint32": "int64", "uint64": "float32"}
"""Dtypes that sensors give and messages don't have."""


class ObserverStats(msgspec.Struct, frozen=True):
    """What observing one version of one model has cost.

    Args:
        profiled: inputs that went into profiles.
        left_out: inputs that didn't, since looking at all would have taken more than its share.
        cpu_s: processor time that profiles and samples took, in seconds.
    """

    profiled: int
    left_out: int
    cpu_s: float


class Observer:
    """Observes one version of one model.

    Args:
        config: the window's length, the sampling budget and the device's name come from it.
        manifest: the model's; without a baseline nothing is profiled, and novelty isn't known.
        rng: where the sampler's coins come from.
        shadow: the model that is compared with it, if one is: its agreement is told with each window.
        cpu_time_s: the processor time of the thread that observes, in seconds.

    Inputs that make a message past the limit aren't sampled; `oversized` counts them.
    """

    def __init__(
        self,
        config: AgentConfig,
        manifest: Manifest,
        rng: np.random.Generator,
        shadow: ModelRef | None = None,
        *,
        cpu_time_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self.oversized = 0
        self._config = config
        self._baseline = manifest.baseline
        self._model = ModelRef(manifest.name, manifest.version, manifest.model.sha256)
        self._classifies = manifest.task == "classification"
        self._rng = rng
        self._profiler = Profiler(manifest.baseline) if manifest.baseline else None
        self._profile = self._profiler.empty() if self._profiler else None
        self._is_open = False
        self._opened_s = 0.0
        self._n = 0
        self._budget: Budget | None = None
        self._predicted: NDArray[np.float64] | None = None
        self._shadow = shadow
        self._looked = self._agreed = 0
        self._cpu_time_s = cpu_time_s
        # With a shadow, profiles and samples are made at different times, and neither is to starve the other.
        share = config.observe_cpu_percent / 100 / (1 if shadow is None else 2)
        self._for_profiles, self._for_samples = Allowance(share), Allowance(share)
        self._left_out = 0
        self._stats = ObserverStats(0, 0, 0.0)

    def stats(self) -> ObserverStats:
        """What it has cost until now; from any thread."""
        return self._stats

    def observe(
        self, seen: Seen, *, now_s: float, monotonic_s: float, close_window: bool = False, sample: bool = True
    ) -> tuple[list[Up], list[float | None]]:
        """What to send of a batch, and what each message is worth (see `Outbox.put`).

        Args:
            seen: the batch.
            now_s: the device's clock, for the messages.
            monotonic_s: a clock that never jumps, for the window and the budget.
            close_window: send the profile now, even if the window isn't over.
            sample: pick samples now; where a shadow looks first, `sample` is called afterwards.
        """
        messages: list[Up] = []
        values: list[float | None] = []
        if len(seen):
            if not self._is_open:
                self._is_open, self._opened_s = True, monotonic_s
            self._n += len(seen)
            start_s = self._cpu_time_s()
            rows, probability = draw(len(seen), self._for_profiles.affords(len(seen), monotonic_s), self._rng)
            if len(rows):
                part = seen if len(rows) == len(seen) else seen.part(rows)
                if self._profiler and self._profile:
                    self._profile += self._profiler.profile(part.inputs, part.outputs)
                if sample:
                    messages, values = self.sample(part, now_s=now_s, monotonic_s=monotonic_s, probability=probability)
            self._left_out += len(seen) - len(rows)
            self._count(self._for_profiles, start_s, len(rows), len(seen) - len(rows))
        if self._is_open and (close_window or monotonic_s - self._opened_s >= self._config.window_s):
            # The clock may have been set meanwhile: the window's length is the other clock's.
            messages.extend(self._close(now_s, now_s - (monotonic_s - self._opened_s)))
            values.extend([None] * (len(messages) - len(values)))
        return messages, values

    def compared(
        self, seen: Seen, looked: NDArray[np.bool_], disagrees: NDArray[np.bool_], *, now_s: float, monotonic_s: float
    ) -> tuple[list[Up], list[float | None]]:
        """Count what a shadow said of an observed batch (see `Compared`), and sample it, disagreements first."""
        self._looked += int(looked.sum())
        self._agreed += int((looked & ~disagrees).sum())
        start_s = self._cpu_time_s()
        rows, probability = draw(len(seen), self._for_samples.affords(len(seen), monotonic_s), self._rng)
        found: tuple[list[Up], list[float | None]] = [], []
        if len(rows):
            found = self.sample(
                seen if len(rows) == len(seen) else seen.part(rows),
                now_s=now_s,
                monotonic_s=monotonic_s,
                disagrees=disagrees[rows],
                probability=probability,
            )
        self._count(self._for_samples, start_s, len(rows))
        return found

    def _count(self, allowance: Allowance, start_s: float, rows: int, left_out: int | None = None) -> None:
        """Take what looking at so many rows has cost; of profiles, also how many were left out."""
        cpu_s = self._cpu_time_s() - start_s
        allowance.spend(rows, cpu_s)
        before, profiles = self._stats, left_out is not None
        self._stats = ObserverStats(
            before.profiled + rows * profiles, before.left_out + (left_out or 0), before.cpu_s + cpu_s
        )

    def _close(self, now_s: float, start_s: float) -> list[Up]:
        said: dict[str, Any] = {"device": self._config.device, "time_s": now_s}
        messages: list[Up] = []
        if self._profiler and self._profile and self._profile.n:
            profile = ProfileMessage(
                **said,
                model=self._model,
                start_s=start_s,
                end_s=now_s,
                n=self._profile.n,
                counts=pack_counts(self._profile.counts),
                left_out=self._left_out,
            )
            messages.append(profile)
            self._profile, self._left_out = self._profiler.empty(), 0
        if self._shadow is not None:
            detail: dict[str, str | float | int] = {
                "model": self._model.name,
                "version": self._model.version,
                "shadow": self._shadow.name,
                "shadow_version": self._shadow.version,
                "shadow_sha256": self._shadow.sha256,
                "start_s": start_s,
                "end_s": now_s,
                "n": self._n,
                "looked": self._looked,
                "agreed": self._agreed,
            }
            messages.append(EventMessage(**said, event="shadow-agreement", detail=detail))
        self._is_open = False
        self._n = self._looked = self._agreed = 0
        return messages

    def sample(
        self,
        seen: Seen,
        *,
        now_s: float,
        monotonic_s: float,
        disagrees: NDArray[np.bool_] | None = None,
        probability: float = 1.0,
    ) -> tuple[list[Up], list[float | None]]:
        """Pick samples of a batch.

        Args:
            seen: the batch.
            now_s: as `observe` takes it.
            monotonic_s: likewise.
            disagrees: (n,) which of its inputs a shadow answers otherwise.
            probability: with which each of its rows has come here, of all that were seen.
        """
        if self._config.sample_bytes_per_day <= 0:
            return [], []
        if self._budget is None:
            self._budget = Budget(self._config.sample_bytes_per_day, monotonic_s)
        inputs = _sendable(seen.inputs)
        size = inputs[0].nbytes + seen.outputs[0].nbytes + _SAMPLE_OVERHEAD_BYTES
        if size + _REF_CHARACTERS * 4 > MAX_SAMPLE_BYTES:
            self.oversized += len(seen)
            return [], []
        affordable = self._budget.available(monotonic_s) / size
        scores = self._scores(seen, disagrees)
        # Never more than a quarter of a batch: a whole one would say the same thing many times over.
        picks = pick(scores, min(affordable, len(seen) / 4), self._rng, first=disagrees)
        messages: list[Up] = []
        worth: list[float | None] = []
        for i, picked, reason in zip(picks.indices, picks.probabilities, picks.reasons, strict=True):
            messages.append(
                SampleMessage(
                    device=self._config.device,
                    time_s=now_s,
                    model=self._model,
                    ref=seen.refs[i][:_REF_CHARACTERS],
                    reason=reason,
                    probability=float(picked) * probability,
                    input=pack_array(np.asarray(inputs[i])),
                    output=pack_array(np.asarray(seen.outputs[i])),
                )
            )
            worth.append(float(max(score[i] for score in scores.values())))
        self._budget.spend(size * len(messages))
        return messages, worth

    def _scores(self, seen: Seen, disagrees: NDArray[np.bool_] | None) -> dict[Reason, NDArray[np.float64]]:
        scores: dict[Reason, NDArray[np.float64]] = {}
        if disagrees is not None:
            scores["disagreement"] = disagrees.astype(np.float64)
        if self._classifies:
            scores["uncertain"] = uncertainty(seen.outputs)
            scores["rare"] = self._rarity(seen.outputs)
        if self._baseline is not None:
            scores["novel"] = novelty(self._baseline, seen.inputs)
        return scores or {"audit": np.zeros(len(seen))}

    def _rarity(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        classes = outputs.shape[1]
        predicted = outputs.argmax(axis=1)
        before = np.zeros(classes) if self._predicted is None else self._predicted
        after = before + np.bincount(predicted, minlength=classes)
        self._predicted = after / 2 if after.sum() > _REMEMBERED else after
        return rarity(predicted, before)


def _sendable(inputs: NDArray[np.generic]) -> NDArray[np.generic]:
    wider = _WIDER.get(inputs.dtype.name)
    return inputs if wider is None else inputs.astype(wider)
