"""Where the gate misses its drop: the layers that int8 hurts most go back to a higher precision, one after another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edgeloop.errors import EdgeloopError
from edgeloop_converters.candidates import Candidate
from edgeloop_converters.prepare import Prepared, scores_of
from edgeloop_converters.proving import diagnose_on
from edgeloop_converters.recipes import Recipe
from edgeloop_converters.tflite import Diagnosis, run

__all__ = ["Mended", "mend"]

COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Mended:
    """What mending led to.

    Args:
        candidate: the first that holds, or the one that came nearest.
        layers: those that were put back, the worst first.
        diagnosis: of what was mended.
    """

    candidate: Candidate
    layers: tuple[str, ...]
    diagnosis: Diagnosis | None


def mend(
    prepared: Prepared,
    candidate: Candidate,
    float_model: bytes,
    attempt: Callable[[Recipe], Candidate],
    tell: Callable[[str], None],
) -> Mended:
    """Put back 1, 2, 4, 8 of the worst layers to float32 until the drop holds, if it is rounding that costs it.

    Args:
        prepared: the data.
        candidate: a full-integer int8 one that misses its drop and nothing else.
        float_model: the `.tflite` file of the same model before quantization.
        attempt: makes and judges a recipe.
        tell: is told what was tried.
    """
    diagnosis = diagnose_on(prepared, float_model, candidate.model)
    if diagnosis is None or candidate.recipe.compile.scheme != "int8":
        return Mended(candidate, (), diagnosis)
    before_rounding = _drop_of(prepared, candidate, float_model)
    limit = next(b.limit for b in candidate.verdict.budgets if b.name == "max_drop")
    if before_rounding > limit:
        tell(f"the drop is missed before rounding already ({before_rounding:.4g}): higher precision wouldn't help")
        return Mended(candidate, (), diagnosis)
    ranked = [d.layer for d in diagnosis.layers if d.added_nrmse]
    best = candidate
    put_back: tuple[str, ...] = ()
    for count in COUNTS:
        layers = tuple(ranked[:count])
        if count > len(ranked):
            break
        tell(f"the drop is missed: {count} of {len(ranked)} layers back to float32 ({', '.join(layers[:2])}…)")
        try:
            made = attempt(with_float_layers(candidate.recipe, layers))
        except EdgeloopError as error:
            tell(f"  not possible: {error}")
            continue
        if made.comparison.drop < best.comparison.drop:
            best, put_back = made, layers
        if made.verdict.holds:
            return Mended(made, layers, diagnosis)
    return Mended(best, put_back, diagnosis)


def _drop_of(prepared: Prepared, candidate: Candidate, float_model: bytes) -> float:
    """By how much the float model that was quantized is worse than the original."""
    metric = prepared.metric
    outputs = scores_of(metric, run(float_model, prepared.x_eval)[0], prepared.x_eval)
    value = metric(prepared.y_eval, outputs)
    original = candidate.comparison.original
    return original - value if metric.higher_is_better else value - original


def with_float_layers(recipe: Recipe, layers: tuple[str, ...]) -> Recipe:
    """The recipe that keeps these layers (by the names of their outputs) in float32."""
    overrides = {re.escape(f"{layer};"): "float32" for layer in layers}
    step = msgspec.structs.replace(recipe.compile, tool="litert-quantizer", overrides=overrides)
    return Recipe(f"{recipe.name}+{len(layers)}-float", (*recipe.passes, step))
