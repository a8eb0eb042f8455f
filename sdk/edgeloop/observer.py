"""The observer: turns batches of what the runtime saw into profiles and picked samples. It sends nothing itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeloop.config import AgentConfig
from edgeloop.manifest import Manifest
from edgeloop.messages import ModelRef, ProfileMessage, SampleMessage, Up, pack_array
from edgeloop.profile import Profiler, pack_counts
from edgeloop.ring import Seen
from edgeloop.sampler import Budget, Reason, novelty, pick, uncertainty

__all__ = ["Observer"]

_SAMPLE_OVERHEAD_BYTES = 320  # the message's names and numbers, beside its arrays


class Observer:
    """Observes one version of one model.

    Args:
        config: the window's length, the sampling budget and the device's name come from it.
        manifest: the model's; without a baseline nothing is profiled, and inputs are picked by uncertainty alone.
        rng: where the sampler's coins come from.
    """

    def __init__(self, config: AgentConfig, manifest: Manifest, rng: np.random.Generator) -> None:
        self._config = config
        self._baseline = manifest.baseline
        self._model = ModelRef(manifest.name, manifest.version, manifest.model.sha256)
        self._classifies = manifest.task == "classification"
        self._rng = rng
        self._profiler = Profiler(manifest.baseline) if manifest.baseline else None
        self._profile = self._profiler.empty() if self._profiler else None
        self._start_s: float | None = None
        self._opened_s = 0.0
        self._budget: Budget | None = None

    def observe(
        self, seen: Seen, *, now_s: float, monotonic_s: float, close_window: bool = False
    ) -> tuple[list[Up], list[float | None]]:
        """What to send of a batch, and what each message is worth (see `Outbox.put`).

        Args:
            seen: the batch.
            now_s: the device's clock, for the messages.
            monotonic_s: a clock that never jumps, for the window and the budget.
            close_window: send the profile now, even if the window isn't over.
        """
        messages: list[Up] = []
        values: list[float | None] = []
        if len(seen):
            if self._start_s is None:
                self._start_s, self._opened_s = now_s, monotonic_s
            if self._profiler and self._profile:
                self._profile += self._profiler.profile(seen.inputs, seen.outputs)
            samples, worth = self._samples(seen, now_s, monotonic_s)
            messages.extend(samples)
            values.extend(worth)
        if close_window or (self._start_s is not None and monotonic_s - self._opened_s >= self._config.window_s):
            messages.extend(self._close(now_s))
            values.extend([None] * (len(messages) - len(values)))
        return messages, values

    def _close(self, now_s: float) -> list[Up]:
        profile, start_s = self._profile, self._start_s
        self._start_s = None
        if self._profiler is None or profile is None or start_s is None:
            return []
        self._profile = self._profiler.empty()
        return [
            ProfileMessage(
                device=self._config.device,
                time_s=now_s,
                model=self._model,
                start_s=start_s,
                end_s=now_s,
                n=profile.n,
                counts=pack_counts(profile.counts),
            )
        ]

    def _samples(self, seen: Seen, now_s: float, monotonic_s: float) -> tuple[list[Up], list[float]]:
        if self._config.sample_bytes_per_day <= 0:
            return [], []
        if self._budget is None:
            self._budget = Budget(self._config.sample_bytes_per_day, monotonic_s)
        size = seen.inputs[0].nbytes + seen.outputs[0].nbytes + _SAMPLE_OVERHEAD_BYTES
        affordable = self._budget.available(monotonic_s) / size
        scores = self._scores(seen)
        # Never more than a quarter of a batch: a whole one would say the same thing many times over.
        picks = pick(scores, min(affordable, len(seen) / 4), self._rng)
        messages: list[Up] = []
        worth: list[float] = []
        for i, probability, reason in zip(picks.indices, picks.probabilities, picks.reasons, strict=True):
            messages.append(
                SampleMessage(
                    device=self._config.device,
                    time_s=now_s,
                    model=self._model,
                    ref=seen.refs[i][:1024],
                    reason=reason,
                    probability=float(probability),
                    input=pack_array(np.asarray(seen.inputs[i])),
                    output=pack_array(np.asarray(seen.outputs[i])),
                )
            )
            worth.append(float(max(score[i] for score in scores.values())))
        self._budget.spend(size * len(messages))
        return messages, worth

    def _scores(self, seen: Seen) -> dict[Reason, NDArray[np.float64]]:
        scores: dict[Reason, NDArray[np.float64]] = {}
        if self._classifies:
            scores["uncertain"] = uncertainty(seen.outputs)
        if self._baseline is not None:
            scores["novel"] = novelty(self._baseline, seen.inputs)
        return scores or {"audit": np.zeros(len(seen))}
