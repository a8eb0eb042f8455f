"""The observer: turns batches of what the runtime saw into profiles and picked samples. It sends nothing itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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

__all__ = ["Observer"]

_SAMPLE_OVERHEAD_BYTES = 320  # the message's names and numbers, beside its arrays
_REF_CHARACTERS = 1024
_REMEMBERED = 20_000  # predictions that say how rare a class is: older ones fade
_WIDER: dict[str, str] = {"uint16": "int32", "uint32": "int64", "uint64": "float32"}
"""Dtypes that sensors give and messages don't have."""


class Observer:
    """Observes one version of one model.

    Args:
        config: the window's length, the sampling budget and the device's name come from it.
        manifest: the model's; without a baseline nothing is profiled, and novelty isn't known.
        rng: where the sampler's coins come from.
        shadow: the model that is compared with it, if one is: its agreement is told with each window.

    Inputs that make a message past the limit aren't sampled; `oversized` counts them.
    """

    def __init__(
        self, config: AgentConfig, manifest: Manifest, rng: np.random.Generator, shadow: ModelRef | None = None
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
            if self._profiler and self._profile:
                self._profile += self._profiler.profile(seen.inputs, seen.outputs)
            if sample:
                samples, worth = self.sample(seen, now_s=now_s, monotonic_s=monotonic_s)
                messages.extend(samples)
                values.extend(worth)
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
        return self.sample(seen, now_s=now_s, monotonic_s=monotonic_s, disagrees=disagrees)

    def _close(self, now_s: float, start_s: float) -> list[Up]:
        said: dict[str, Any] = {"device": self._config.device, "time_s": now_s}
        messages: list[Up] = []
        if self._profiler and self._profile:
            counts = pack_counts(self._profile.counts)
            profile = ProfileMessage(
                **said, model=self._model, start_s=start_s, end_s=now_s, n=self._profile.n, counts=counts
            )
            messages.append(profile)
            self._profile = self._profiler.empty()
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
        self, seen: Seen, *, now_s: float, monotonic_s: float, disagrees: NDArray[np.bool_] | None = None
    ) -> tuple[list[Up], list[float | None]]:
        """Pick samples of a batch; `disagrees` (n,) says which of its inputs a shadow answers otherwise."""
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
        for i, probability, reason in zip(picks.indices, picks.probabilities, picks.reasons, strict=True):
            messages.append(
                SampleMessage(
                    device=self._config.device,
                    time_s=now_s,
                    model=self._model,
                    ref=seen.refs[i][:_REF_CHARACTERS],
                    reason=reason,
                    probability=float(probability),
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
