"""Small changes of the input that shouldn't change the answer, by the kind of input.

The kinds of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions" (2019),
at strengths that a person hardly notices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeloop_converters.proof.scores import Array

__all__ = ["PERTURBATIONS", "Kind", "Perturbation", "kind_of"]

Kind = Literal["image", "signal", "table"]


@dataclass(frozen=True)
class Perturbation:
    """One change at one strength.

    Args:
        name: what is changed: "noise", "blur"….
        strength: as a report shows it: "2 % of the range".
        apply: gives the changed (n, …) float64 of a float64 input, its value range (arrays that broadcast
            over it, low and high) and a random generator.
    """

    name: str
    strength: str
    apply: Callable[[Array, tuple[Array, Array], np.random.Generator], Array]


def kind_of(x: Array) -> Kind | None:
    """What an input is by its rank: (n, h, w, c) an image, (n, t, f) a signal, (n, f) a table."""
    kinds: dict[int, Kind] = {2: "table", 3: "signal", 4: "image"}
    return kinds.get(x.ndim)


def noise(share: float) -> Perturbation:
    """Gaussian noise with a deviation of this share of the range."""

    def apply(x: Array, span: tuple[Array, Array], rng: np.random.Generator) -> Array:
        return np.asarray(x + share * (span[1] - span[0]) * rng.standard_normal(x.shape))

    return Perturbation("noise", f"{share:.0%} of the range", apply)


def offset(share: float, name: str) -> Perturbation:
    """Everything higher or lower by this share of the range."""

    def apply(x: Array, span: tuple[Array, Array], _: np.random.Generator) -> Array:
        return np.asarray(x + share * (span[1] - span[0]))

    return Perturbation(name, f"{share:+.0%} of the range", apply)


def gain(factor: float, name: str) -> Perturbation:
    """Every sample stretched around its own mean, channel by channel."""

    def apply(x: Array, _span: tuple[Array, Array], _rng: np.random.Generator) -> Array:
        middle = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
        return np.asarray(middle + factor * (x - middle))

    return Perturbation(name, f"×{factor:g}", apply)


def shift(steps: int, axis: int, strength: str) -> Perturbation:
    """Moved along one axis; what comes in repeats the border."""

    def apply(x: Array, _span: tuple[Array, Array], _rng: np.random.Generator) -> Array:
        index = np.clip(np.arange(x.shape[axis]) - steps, 0, x.shape[axis] - 1)
        return np.take(x, index, axis=axis)

    return Perturbation("shift", strength, apply)


def blur(axes: tuple[int, ...]) -> Perturbation:
    """The binomial filter 1-2-1 along each axis."""

    def apply(x: Array, _span: tuple[Array, Array], _rng: np.random.Generator) -> Array:
        for axis in axes:
            last = x.shape[axis] - 1
            before = np.take(x, np.clip(np.arange(last + 1) - 1, 0, last), axis=axis)
            after = np.take(x, np.clip(np.arange(last + 1) + 1, 0, last), axis=axis)
            x = (before + 2 * x + after) / 4
        return x

    return Perturbation("blur", "1-2-1", apply)


def dropout(share: float) -> Perturbation:
    """A share of the values replaced by their feature's mean, as a lost sensor's are."""

    def apply(x: Array, _span: tuple[Array, Array], rng: np.random.Generator) -> Array:
        return np.where(rng.random(x.shape) < share, x.mean(axis=0), x)

    return Perturbation("dropout", f"{share:.0%} of the values", apply)


def coarse(bits: int) -> Perturbation:
    """Rounded to 2**bits steps over the range, as a cheaper converter gives them."""

    def apply(x: Array, span: tuple[Array, Array], _: np.random.Generator) -> Array:
        step = (span[1] - span[0]) / (2**bits - 1)
        steps = np.where(step > 0, step, 1.0)
        return np.asarray(span[0] + np.round((x - span[0]) / steps) * steps)

    return Perturbation("coarse input", f"{bits} bits", apply)


COMMON = (noise(0.01), noise(0.02), noise(0.05), dropout(0.05), dropout(0.1), coarse(6), coarse(4))
PERTURBATIONS: dict[Kind, tuple[Perturbation, ...]] = {
    "image": (
        *COMMON,
        offset(0.1, "brightness"),
        offset(-0.1, "brightness"),
        gain(0.8, "contrast"),
        gain(1.2, "contrast"),
        shift(1, 1, "1 pixel down"),
        shift(-1, 1, "1 pixel up"),
        shift(1, 2, "1 pixel right"),
        shift(-1, 2, "1 pixel left"),
        blur((1, 2)),
    ),
    "signal": (
        *COMMON,
        offset(0.02, "offset"),
        offset(-0.02, "offset"),
        gain(0.9, "gain"),
        gain(1.1, "gain"),
        shift(1, 1, "1 step later"),
        shift(-1, 1, "1 step earlier"),
        blur((1,)),
    ),
    "table": (*COMMON, offset(0.02, "offset"), offset(-0.02, "offset")),
}
