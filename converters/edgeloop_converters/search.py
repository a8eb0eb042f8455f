"""The search for the smallest artifact that holds every budget: a ladder, plain and cheap steps first.

1. What compilation alone gives. 2. Where only the drop is missed: what makes rounding hurt less. 3. Where size or
latency is missed: channels are pruned. A pruned model's size and latency don't depend on its weights, so untrained ones
show within seconds which share of channels must go; only the smallest share that is enough is trained, briefly in
several ways, and then the best ways for as long as the time allows (successive halving: Jamieson and Talwalkar, 2016).
4. Where that didn't reach it and time is left: other shares, rates and numbers of epochs, chosen by Optuna's TPE.

The first rung on which something holds every budget is the last, and the smallest on it is the result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeloop.errors import ModelError
from edgeloop_converters.attempts import Attempts, Tell
from edgeloop_converters.candidates import Candidate, best_of, nearest_of, pareto_front
from edgeloop_converters.recipes import CATALOGUE, Distil, Prune, Recipe
from edgeloop_converters.recipes.steps import Augmentation
from edgeloop_converters.rungs import MOST_EPOCHS, ROUND_TO, START_S, qat_recipe, shape_only, trained, ways_to_train
from edgeloop_converters.sampling import sample
from edgeloop_converters.targets import Target, check_ops, suits

__all__ = ["Found", "search"]

COMPILE_ONLY = ("int8", "int8-litert", "int8-litert-compact", "dynamic-int8", "float16")
GENTLER = ("int8-litert-compensated", "int8-litert-least-error", "int8-equalize-correct-bias", "int16x8")
RATIOS = (0.25, 0.5, 0.75)
FINER = (0.125, 0.0625)
BITS = {"float32": 32, "float16": 16, "weight_only_int4": 4, "dynamic_int4": 4}
SHORT_EPOCHS = 2
SHARE_OF_TIME = 0.85


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Args:
        best: the smallest that holds every budget; None when there is none.
        nearest: what comes nearest then; the same as `best` otherwise.
        front: the candidates that no other beats in drop, size and latency at once.
        skipped: recipes that weren't tried, each with its reason.
        seconds: how long it took.
    """

    best: Candidate | None
    nearest: Candidate
    front: tuple[Candidate, ...]
    skipped: tuple[str, ...]
    seconds: float

    @property
    def missed(self) -> tuple[str, ...]:
        """The sentences of the budgets that the nearest candidate misses."""
        return tuple(b.sentence for b in self.nearest.verdict.budgets if not b.holds)


def search(attempts: Attempts, *, target: Target | None, time_limit_s: float, tell: Tell) -> Found:
    """Climb the ladder.

    Args:
        attempts: the model, its data and its budgets.
        target: what the device runs; None is any of LiteRT's.
        time_limit_s: when to stop training; what runs is finished, so it is aimed at, not kept to the second.
        tell: is told what is tried, and why.

    Raises:
        ModelError: the target lacks an operator of the model, or nothing could be compiled at all.
    """
    start = time.monotonic()
    skipped: list[str] = []
    if target is not None and (problems := check_ops(target, attempts.original.model)):
        raise ModelError("; ".join(f"{p.message} ({p.cause}): {p.remedy}" for p in problems))
    tell("rung 1: compilation alone")
    recipes = [CATALOGUE[name].recipe for name in COMPILE_ONLY]
    attempts.run(affordable(attempts, recipes, target, skipped))
    failing = least_missed(attempts)
    if best_of(attempts.candidates) is None and failing <= {"max_drop"}:
        tell("rung 2: size and latency hold, the drop doesn't: gentler rounding")
        gentler = [CATALOGUE[name].recipe for name in GENTLER]
        if attempts.prepared.train.y is not None:
            gentler.append(qat_recipe())
        attempts.run(affordable(attempts, gentler, target, skipped))
    if best_of(attempts.candidates) is None and least_missed(attempts) & {"max_size_bytes", "max_latency_us"}:
        if isinstance(attempts.prepared.model, bytes):
            skipped.append("pruning and distillation: they take a Keras model, and this is a .tflite file")
        else:
            prune_rung(attempts, start + SHARE_OF_TIME * time_limit_s, tell, skipped)
    best = best_of(attempts.candidates)
    nearest = best or nearest_of(attempts.candidates)
    if nearest is None:
        reasons = "; ".join(f"{r.recipe.name}: {r.error}" for r in attempts.failed) or "; ".join(skipped)
        raise ModelError(f"no recipe made anything of this model: {reasons}")
    return Found(best, nearest, pareto_front(attempts.candidates), tuple(skipped), time.monotonic() - start)


def affordable(
    attempts: Attempts, recipes: Sequence[Recipe], target: Target | None, skipped: list[str]
) -> list[Recipe]:
    """Those that the target runs, that this kind of model can take, and whose weights alone aren't over the limit."""
    kept = []
    limit = attempts.gate.max_size_bytes
    for recipe in recipes:
        weights = attempts.original.evaluation.parameters * BITS.get(recipe.compile.scheme, 8) // 8
        needs_keras = bool(recipe.passes) or recipe.compile.tool == "tensorflow"
        if not suits(target, recipe):
            skipped.append(f"{recipe.name}: not a form that {target.name if target else 'it'} runs")
        elif needs_keras and isinstance(attempts.prepared.model, bytes):
            skipped.append(f"{recipe.name}: takes a Keras model, and this is a .tflite file")
        elif limit is not None and weights > limit and recipe.compile.scheme != "int8":
            skipped.append(f"{recipe.name}: its weights alone take {weights:,} bytes of {limit:,}")
        else:
            kept.append(recipe)
    return kept


def least_missed(attempts: Attempts) -> set[str]:
    """The budgets that are missed by the candidate that misses the fewest; of equals the one that keeps the drop."""
    missed = [{b.name for b in c.verdict.budgets if not b.holds} for c in attempts.candidates if not c.is_proxy]
    return min(missed, key=lambda names: (len(names), "max_drop" in names)) if missed else set()


def prune_rung(attempts: Attempts, deadline: float, tell: Tell, skipped: list[str]) -> None:
    """Find the smallest share of channels that must go, and train what is left."""
    tell("rung 3: pruning; untrained models show which share of the channels must go")
    prune = least_pruning(attempts)
    if prune is None:
        skipped.append(
            f"training of pruned models: even without {max(RATIOS):.0%} of the channels size or latency is over"
        )
        return
    x = attempts.prepared.x_eval
    image = isinstance(x, np.ndarray) and x.ndim == 4  # (n, h, w, c)
    augment: Augmentation = "flip_shift" if image else "none"
    ways = ways_to_train(augment)
    tell(
        f"rung 3: {prune.ratio:.1%} of the channels go; {len(ways)} ways to train the rest, {SHORT_EPOCHS} epochs each"
    )
    short = attempts.run([trained(prune, way, SHORT_EPOCHS) for way in ways])
    if not short or best_of(short) is not None:
        return
    ranked = sorted(short, key=lambda c: c.comparison.drop)
    epoch_s = max(0.05, (max(c.seconds for c in short) - START_S) / SHORT_EPOCHS)
    epochs = min(MOST_EPOCHS, int((deadline - time.monotonic() - START_S) / epoch_s))
    if epochs <= SHORT_EPOCHS:
        skipped.append(f"longer training: the time is up (an epoch takes {epoch_s:.0f} s)")
        return
    chosen = [s for c in ranked[: attempts.limits.executor.slots] for s in c.recipe.steps if isinstance(s, Distil)]
    tell(f"rung 3: the best {len(chosen)} for {epochs} epochs, as the time allows")
    if best_of(attempts.run([trained(prune, way, epochs) for way in chosen])) is None:
        tell("rung 4: other shares, rates and numbers of epochs")
        sample(attempts, augment=augment, epoch_s=epoch_s, deadline=deadline, skipped=skipped)


def least_pruning(attempts: Attempts) -> Prune | None:
    """The smallest share of channels without which size and latency hold; None when there is none."""

    def first_that_holds(shapes: Sequence[Prune]) -> Prune | None:
        """Of the pruned models that keep size and latency, the first."""
        for candidate in attempts.run([shape_only(p) for p in shapes], are_proxies=True):
            limits = [b for b in candidate.verdict.budgets if b.name in ("max_size_bytes", "max_latency_us")]
            step = candidate.recipe.steps[0]
            if isinstance(step, Prune) and all(b.holds for b in limits):
                return step
        return None

    least = first_that_holds([Prune(ratio=r, round_to=ROUND_TO[0]) for r in RATIOS])
    for step in FINER if least is not None else ():
        assert least is not None  # noqa: S101  # there are no steps otherwise
        assert isinstance(least.ratio, float)  # noqa: S101  # one for all layers
        finer = [Prune(ratio=least.ratio - step, round_to=n) for n in ROUND_TO]
        least = first_that_holds(finer) or least
    return least
