"""Where the gate misses its drop: a gentler int8, and then a higher precision for the layers that it hurts most.

First what costs no byte: the same int8 by `litert-quantizer` with a scale for each channel and ranges of the least
error, then equalized too. Then layers, the worst first, in batches of 1, 1, 2 and 4. Each batch is tried in every
precision that the target runs, the cheapest in bytes first, and in the finest together with all batches before it.
The first batch with which everything holds is the last. Where none does, the batch keeps the precision that took away
most of the drop for each byte that it cost, and the next batch is tried on top of that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from edgeloop.errors import EdgeloopError
from edgeloop_converters.candidates import Candidate, is_slower_than_float, nearest_of
from edgeloop_converters.prepare import Prepared, scores_of
from edgeloop_converters.proving import diagnose_on
from edgeloop_converters.recipes import Recipe
from edgeloop_converters.recipes.steps import CompileScheme
from edgeloop_converters.targets import Target, suits
from edgeloop_converters.tflite import Diagnosis, LayerDiagnosis, run
from edgeloop_converters.tflite.check import WEIGHTED

__all__ = ["PRECISIONS", "Mended", "mend"]

BATCHES = (1, 1, 2, 4)
# Ascending by what a weight takes. int16 activations have no XNNPACK kernels: up to 27 times slower than int8's.
PRECISIONS: dict[CompileScheme, str] = {
    "dynamic_int8": "int8 weights, float activations",
    "int16x8": "int8 weights, int16 activations",
    "float16": "float16 weights, float activations",
    "float32": "float32",
}
WEIGHTLESS: tuple[CompileScheme, ...] = ("int16x8", "float32")  # the others differ in how weights are stored
SLOWER = 1.5  # than what is mended: said from here on


@dataclass(frozen=True)
class Mended:
    """What mending led to.

    Args:
        candidate: the one that holds, or the one that came nearest.
        layers: those of it that were put back, each with its scheme.
        diagnosis: of what was mended.
    """

    candidate: Candidate
    layers: dict[str, CompileScheme]
    diagnosis: Diagnosis | None


def mend(
    prepared: Prepared,
    candidate: Candidate,
    float_model: bytes,
    attempt: Callable[[Recipe], Candidate],
    *,
    target: Target | None,
    deadline: float,
    tell: Callable[[str], None],
) -> Mended:
    """Raise the precision until every budget holds, if it is rounding that costs the drop.

    Args:
        prepared: the data.
        candidate: a full-integer int8 one that misses its drop and nothing else.
        float_model: the `.tflite` file of the same model before quantization.
        attempt: makes and judges a recipe.
        target: what the device runs; None is any of LiteRT's.
        deadline: on the monotonic clock; nothing is begun after it.
        tell: is told what was tried.
    """
    diagnosis = diagnose_on(prepared, float_model, candidate.model)
    if diagnosis is None or candidate.recipe.compile.scheme != "int8":
        return Mended(candidate, {}, diagnosis)
    before_rounding = _drop_of(prepared, candidate, float_model)
    limit = next(b.limit for b in candidate.verdict.budgets if b.name == "max_drop")
    if before_rounding > limit:
        tell(f"the drop is missed before rounding already ({before_rounding:.4g}): higher precision wouldn't help")
        return Mended(candidate, {}, diagnosis)
    tell("the drop is missed, and it is rounding that costs it: a gentler int8, then the worst layers back to more")
    ward = _Ward(candidate, [d for d in diagnosis.layers if d.added_nrmse], attempt, target, deadline, tell)
    for recipe in gentler(candidate.recipe):
        made = ward.try_one(recipe, {})
        if made is not None and made.candidate.verdict.holds:
            return Mended(made.candidate, {}, diagnosis)
    best = ward.layer_by_layer()
    return Mended(best.candidate, best.schemes, diagnosis)


class _Tried(NamedTuple):
    candidate: Candidate
    schemes: dict[str, CompileScheme]


class _Ward:
    """What has been tried so far on one candidate."""

    def __init__(
        self,
        candidate: Candidate,
        ranked: Sequence[LayerDiagnosis],
        attempt: Callable[[Recipe], Candidate],
        target: Target | None,
        deadline: float,
        tell: Callable[[str], None],
    ) -> None:
        self.patient = _Tried(candidate, {})
        self.ranked = ranked
        self.tried = [self.patient]
        self._attempt = attempt
        self._target = target
        self._deadline = deadline
        self._tell = tell

    def layer_by_layer(self) -> _Tried:
        """Batch after batch, the worst layers first; the first that holds, or what came nearest."""
        kept, done = self.patient, 0
        for count in BATCHES:
            batch = self.ranked[done : done + count]
            done += len(batch)
            found = [self.with_layers(schemes) for schemes in mixes(kept.schemes, batch, self.ranked[:done])]
            made = [t for t in found if t is not None]
            if holding := [t for t in made if t.candidate.verdict.holds]:
                return min(holding, key=lambda t: (is_slower_than_float(t.candidate), t.candidate.size_bytes))
            if not made:
                break
            best = max(made, key=lambda t: gain_per_byte(kept.candidate, t.candidate))
            if gain_per_byte(kept.candidate, best.candidate) > 0:
                kept = best
        nearest = nearest_of(t.candidate for t in self.tried)
        return next(t for t in self.tried if t.candidate is nearest)

    def with_layers(self, schemes: dict[str, CompileScheme]) -> _Tried | None:
        """The candidate with these layers in these schemes; done once."""
        known = next((t for t in self.tried if schemes and t.schemes == schemes), None)
        if known is not None:
            return known
        return self.try_one(with_schemes(self.patient.candidate.recipe, schemes, self.ranked), schemes)

    def try_one(self, recipe: Recipe, schemes: dict[str, CompileScheme]) -> _Tried | None:
        """Make and measure it; None where that can't be done, or the time is up."""
        if not suits(self._target, recipe) or time.monotonic() > self._deadline:
            return None
        try:
            made = _Tried(self._attempt(recipe), schemes)
        except EdgeloopError as error:
            self._tell(f"{recipe.name}: not possible: {error}")
            return None
        self.tried.append(made)
        before, after = self.patient.candidate.latency_us, made.candidate.latency_us
        if before and after and after > SLOWER * before:
            self._tell(f"  {after / before:.1f} times as long a call as int8 alone, here")
        return made


def gentler(recipe: Recipe) -> Iterator[Recipe]:
    """The same int8 with what rounds less at the same size."""
    for name, equalize in (("least-error", False), ("equalize", True)):
        step = msgspec.structs.replace(
            recipe.compile, tool="litert-quantizer", dense_scales="channel", ranges="least_error", equalize=equalize
        )
        yield Recipe(f"{recipe.name}+{name}", (*recipe.passes, step))


def mixes(
    kept: Mapping[str, CompileScheme], batch: Sequence[LayerDiagnosis], worst: Sequence[LayerDiagnosis]
) -> Iterator[dict[str, CompileScheme]]:
    """What a batch is tried in: each precision on top of what is kept; and all of the worst in the finest ones.

    Layers can lose it together what none of them loses alone, and then no batch shows a gain.
    """
    has_weights = any(d.op in WEIGHTED for d in batch)
    for scheme in PRECISIONS if batch else ():
        if has_weights or scheme in WEIGHTLESS:
            yield {**kept, **dict.fromkeys((d.layer for d in batch), scheme)}
    for scheme in WEIGHTLESS if len(batch) < len(worst) else ():
        yield dict.fromkeys((d.layer for d in worst), scheme)


def gain_per_byte(base: Candidate, made: Candidate) -> float:
    """How much of the drop is gone for each byte that was added; what costs nothing counts as one byte."""
    return (base.comparison.drop - made.comparison.drop) / max(1, made.size_bytes - base.size_bytes)


def with_schemes(recipe: Recipe, schemes: Mapping[str, CompileScheme], ranked: Sequence[LayerDiagnosis]) -> Recipe:
    """The recipe that gives layers (by the names of their outputs) schemes of their own; `@1` is the worst layer."""
    overrides: dict[str, CompileScheme] = {re.escape(f"{layer};"): scheme for layer, scheme in schemes.items()}
    step = msgspec.structs.replace(recipe.compile, tool="litert-quantizer", overrides=overrides)
    name = recipe.name
    for scheme in PRECISIONS:
        ranks = [str(i) for i, d in enumerate(ranked, 1) if schemes.get(d.layer) == scheme]
        name += f"+{scheme.replace('_', '-')}@{','.join(ranks)}" if ranks else ""
    return Recipe(name, (*recipe.passes, step))


def _drop_of(prepared: Prepared, candidate: Candidate, float_model: bytes) -> float:
    """By how much the float model that was quantized is worse than the original."""
    metric = prepared.metric
    outputs = scores_of(metric, run(float_model, prepared.x_eval)[0], prepared.x_eval)
    value = metric(prepared.y_eval, outputs)
    original = candidate.comparison.original
    return original - value if metric.higher_is_better else value - original
