"""What a drifting window means: its evidence in words, what kind of drift it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import PREDICTED_CLASS, Baseline, Feature

__all__ = ["ADVICE", "Evidence", "Kind", "describe", "diagnose", "is_missing"]

Kind = Literal["covariate shift", "label shift", "prediction shift", "missing data"]

ADVICE: dict[Kind, str] = {
    "covariate shift": "The inputs differ from the training data's: look at recent samples and at the sensor (lens, "
    "light, mounting). Mend it, or label such samples and train again.",
    "label shift": "The classes come in other proportions, on inputs that look as before: check whether that is so in "
    "the field. Label a random sample before you train again.",
    "prediction shift": "The outputs differ on inputs that look as before. Without labels it can't be told whether the "
    "relation of input and label has changed (concept drift): label a random sample of these devices.",
    "missing data": "Values are missing that weren't in training: check the sensor, its cable and its driver.",
}
"""What to do, by kind."""


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature of one device that drifted, in its last drifting window.

    `psi_lower` is the 95 % lower confidence bound of `psi`; `n` the window's samples; `baseline_mean` the mean of the
    training data; `description` says in words what changed.
    """

    device: str
    feature: str
    psi: float
    psi_lower: float
    p_value: float
    n: int
    baseline_mean: float
    description: str


def describe(feature: Feature, window: NDArray[np.int64], reference: str = "training") -> str:
    """What changed, for people: "sharpness fell: 83 % of values are in the lowest tenth of training".

    `reference` names whose counts stand in `feature`.
    """
    now, then = _shares(window), _shares(np.asarray(feature.counts))
    if is_missing(feature, window):
        return f"{feature.name}: {now[-1]:.0%} of values are missing, {then[-1]:.0%} in {reference}"
    if feature.name == PREDICTED_CLASS:
        k = int(np.argmax(np.abs(now - then)[:-1]))
        return f"{feature.name}: {now[k]:.0%} are class {k}, {then[k]:.0%} in {reference}"
    # The cut at which the two distributions differ most (Kolmogorov-Smirnov) splits what moved from what did not.
    below_now, below_then = np.cumsum(now[:-1]), np.cumsum(then[:-1])
    cut = int(np.argmax(np.abs(below_now - below_then)))
    if below_now[cut] >= below_then[cut]:
        part = _part(below_then[cut])
        return f"{feature.name} fell: {below_now[cut]:.0%} of values are in the lowest {part} of {reference}"
    above_now, above_then = 1 - below_now[cut], 1 - below_then[cut]
    return f"{feature.name} rose: {above_now:.0%} of values are in the highest {_part(above_then)} of {reference}"


def diagnose(baseline: Baseline, findings: Sequence[Evidence], missing: frozenset[str]) -> Kind:
    """The kind of drift that one device's findings show.

    Args:
        baseline: tells inputs from outputs.
        findings: of one window, at least one.
        missing: the names of those features whose missing values are what changed.
    """
    inputs = {feature.name for feature in baseline.inputs}
    drifted = {finding.feature for finding in findings}
    if drifted & missing:
        return "missing data"
    if drifted & inputs:
        return "covariate shift"
    return "label shift" if drifted == {PREDICTED_CLASS} else "prediction shift"


def is_missing(feature: Feature, window: NDArray[np.int64]) -> bool:
    """Whether most of what the feature gained over the baseline is missing values."""
    gained = np.maximum(_shares(window) - _shares(np.asarray(feature.counts)), 0)
    return bool(gained[-1] > gained.sum() / 2)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(counts / counts.sum())


def _part(share: float) -> str:
    return "tenth" if 0.095 <= share <= 0.105 else f"{share:.0%}"
