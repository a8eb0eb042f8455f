"""Incidents: one alarm for all devices that drift in the same way, from the first of them to the recovery of the last.

The false-alarm rate: the k-th window of the whole fleet is tested at a level α_k, and all α_k sum to α. Within a window
the features are taken together by Benjamini and Hochberg, whose procedure finds anything at all, where there is
nothing, with a probability of α_k. So over the life of one deployed version the probability that a healthy fleet
raises any alarm is at most α, however many devices there are and however long it runs.

A difference must also be large to count: the lower bound of its PSI is above `psi_floor`. Statistics alone would wake
people for other handwriting than the training data's, given enough of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import Baseline, Feature
from edgeloop_fleet.diagnose import ADVICE, Evidence, Kind, describe, diagnose, is_missing
from edgeloop_fleet.drift import Floats, GNull, benjamini_hochberg, psi, psi_lower_bound, spending
from edgeloop_fleet.windows import Window

__all__ = ["Alarm", "Incidents", "Judged", "Rules"]


@dataclass(frozen=True)
class Rules:
    """When to raise an alarm and when to close it.

    Args:
        alpha: the probability of any false alarm over the life of one deployed version, for the whole fleet.
        psi_floor: a difference whose PSI may be (95 %) at or below this wakes nobody.
        recover_windows: a device has recovered after this many windows in a row below the floor.
        window_n: how many samples a window has at least.
        own_reference_n: a device's first windows, until they hold this many samples, are not judged but become what
            its later ones are judged against; 0 judges all against the training data. For a model that was retrained
            on a mixture of conditions: it fits every device, and no device looks like the mixture. The price: a device
            that goes bad in just these first windows is not noticed.
        seed: of the calibration.
    """

    alpha: float = 0.01
    psi_floor: float = 0.2
    recover_windows: int = 3
    window_n: int = 50
    own_reference_n: int = 0
    seed: int = 0


class Alarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One incident. Times are ISO 8601 in UTC; `closed` is None while it is open, `closed_because` then empty.

    `devices` are all that drifted in it; `evidence` is that of each one's last drifting window: inputs before outputs,
    then the strongest first.
    """

    id: str
    kind: Kind
    opened: str
    updated: str
    devices: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    advice: str
    closed: str | None = None
    closed_because: str = ""


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One window as it was judged, for plots: the PSI and the p-value of each feature, by name."""

    device: str
    index: int
    ended: str
    n: int
    psi: dict[str, float]
    p_value: dict[str, float]
    drifted: bool


@dataclass(frozen=True, eq=False)
class _Reference:
    """What windows are judged against: features with their counts, the tests against them, and a name for people."""

    features: tuple[Feature, ...]
    counts: list[NDArray[np.int64]]
    nulls: list[GNull]
    name: str

    @classmethod
    def of(cls, features: Sequence[Feature], counts: Sequence[NDArray[np.int64]], seed: int, name: str) -> _Reference:
        pairs = zip(features, counts, strict=True)
        counted = tuple(msgspec.structs.replace(feature, counts=tuple(c.tolist())) for feature, c in pairs)
        return cls(counted, list(counts), [GNull(c, seed=seed + i) for i, c in enumerate(counts)], name)

    @property
    def n(self) -> int:
        return int(self.counts[0].sum())


@dataclass
class _Open:
    """An open alarm, and of each device that hasn't recovered how many windows in a row were quiet."""

    alarm: Alarm
    quiet: dict[str, int] = field(default_factory=dict)


class Incidents:
    """Judges windows one by one. The same windows in the same order give the same alarms with the same ids.

    Args:
        baseline: the artifact's.
        scope: what the ids are made of beside the first window: the artifact's name and version.
        rules: when to raise and close.
    """

    def __init__(self, baseline: Baseline, scope: str, rules: Rules) -> None:
        self._baseline, self._scope, self._rules = baseline, scope, rules
        self._features = baseline.features
        training = [np.asarray(feature.counts, dtype=np.int64) for feature in self._features]
        self._training = _Reference.of(self._features, training, rules.seed, "training")
        self._own: dict[str, _Reference] = {}
        self._windows = 0
        self._open: dict[Kind, _Open] = {}
        self.alarms: dict[str, Alarm] = {}

    def judge(self, window: Window) -> Judged:
        """Test a window, and open, extend or close alarms by it."""
        if self._becomes_reference(window):
            return self._judged(window, self._training, np.ones(len(self._features)), drifted=False)
        self._windows += 1
        reference = self._own.get(window.device, self._training)
        p_values = np.array([null.p_value(w) for null, w in zip(reference.nulls, window.counts, strict=True)])
        rejected = benjamini_hochberg(p_values, spending(self._windows, self._rules.alpha))
        findings = [
            self._evidence(window, i, reference, float(p_values[i]), bound)
            for i in np.flatnonzero(rejected).tolist()
            if (bound := self._lower_bound(window, i)) > self._rules.psi_floor
        ]
        if findings:
            self._drifted(window, findings)
        else:
            self._quiet(window)
        return self._judged(window, reference, p_values, drifted=bool(findings))

    def _becomes_reference(self, window: Window) -> bool:
        """Whether the window goes into its device's own reference, which it then has."""
        own = self._own.get(window.device)
        if self._rules.own_reference_n == 0 or (own is not None and own.n >= self._rules.own_reference_n):
            return False
        counts = list(window.counts)
        if own is not None:
            counts = [a + b for a, b in zip(own.counts, counts, strict=True)]
        name = "its first windows with this model"
        self._own[window.device] = _Reference.of(self._features, counts, self._rules.seed, name)
        return True

    def _judged(self, window: Window, reference: _Reference, p_values: Floats, *, drifted: bool) -> Judged:
        names = [feature.name for feature in self._features]
        distances = [float(psi(w, b)) for w, b in zip(window.counts, reference.counts, strict=True)]
        return Judged(
            device=window.device,
            index=window.index,
            ended=window.ended.isoformat(),
            n=window.n,
            psi=dict(zip(names, distances, strict=True)),
            p_value=dict(zip(names, p_values.tolist(), strict=True)),
            drifted=drifted,
        )

    def leave(self, device: str, when: str) -> None:
        """A device runs another version now: it has left the incident, which closes when it was the last."""
        for kind in [kind for kind, o in self._open.items() if device in o.quiet]:
            self._release(kind, device, when, "a new version was deployed")

    def _lower_bound(self, window: Window, i: int) -> float:
        rng = np.random.default_rng((self._rules.seed, self._windows, i))
        reference = self._own.get(window.device, self._training)
        return psi_lower_bound(window.counts[i], reference.counts[i], rng)

    def _evidence(self, window: Window, i: int, reference: _Reference, p_value: float, bound: float) -> Evidence:
        feature = self._features[i]
        return Evidence(
            device=window.device,
            feature=feature.name,
            psi=float(psi(window.counts[i], reference.counts[i])),
            psi_lower=bound,
            p_value=p_value,
            n=window.n,
            baseline_mean=feature.mean,
            description=describe(reference.features[i], window.counts[i], reference.name),
        )

    def _drifted(self, window: Window, findings: list[Evidence]) -> None:
        device, when = window.device, window.ended.isoformat()
        kind = next((kind for kind, o in self._open.items() if device in o.quiet), None)
        if kind is None:
            pairs = zip(self._own.get(device, self._training).features, window.counts, strict=True)
            missing = frozenset(feature.name for feature, counts in pairs if is_missing(feature, counts))
            kind = diagnose(self._baseline, findings, missing)
        if kind not in self._open:
            seed = f"{self._scope}/{kind}/{device}/{window.index}"
            self._open[kind] = _Open(
                Alarm(
                    id=hashlib.sha256(seed.encode()).hexdigest()[:12],
                    kind=kind,
                    opened=when,
                    updated=when,
                    devices=(),
                    evidence=(),
                    advice=ADVICE[kind],
                )
            )
        open_alarm = self._open[kind]
        open_alarm.quiet[device] = 0
        others = [e for e in open_alarm.alarm.evidence if e.device != device]
        self._keep(
            kind,
            msgspec.structs.replace(
                open_alarm.alarm,
                updated=when,
                devices=tuple(sorted({*open_alarm.alarm.devices, device})),
                evidence=tuple(sorted([*others, *findings], key=self._most_telling)),
            ),
        )

    def _most_telling(self, evidence: Evidence) -> tuple[bool, float, str, str]:
        """Inputs before outputs, which only follow them; then by size."""
        is_output = evidence.feature in {feature.name for feature in self._baseline.outputs}
        return is_output, -evidence.psi_lower, evidence.device, evidence.feature

    def _quiet(self, window: Window) -> None:
        for kind in [kind for kind, o in self._open.items() if window.device in o.quiet]:
            # By its size, not by the test, whose level falls as time goes on: a device doesn't recover by waiting.
            named = {e.feature for e in self._open[kind].alarm.evidence if e.device == window.device}
            bounds = [self._lower_bound(window, i) for i, f in enumerate(self._features) if f.name in named]
            if max(bounds) > self._rules.psi_floor:
                self._open[kind].quiet[window.device] = 0
                continue
            self._open[kind].quiet[window.device] += 1
            if self._open[kind].quiet[window.device] >= self._rules.recover_windows:
                self._release(kind, window.device, window.ended.isoformat(), "recovered")

    def _release(self, kind: Kind, device: str, when: str, because: str) -> None:
        del self._open[kind].quiet[device]
        if not self._open[kind].quiet:
            alarm = self._open[kind].alarm
            self._keep(kind, msgspec.structs.replace(alarm, updated=when, closed=when, closed_because=because))
            del self._open[kind]

    def _keep(self, kind: Kind, alarm: Alarm) -> None:
        self._open[kind].alarm = alarm
        self.alarms[alarm.id] = alarm
