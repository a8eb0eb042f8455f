"""Shares, rates and numbers of epochs by Optuna's TPE, with the cheap proxy first: what is too large isn't trained.

TPE: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011. How it compares
with the ladder that it follows: docs/decisions.md, with the figures of `benchmarks/suites/converters/strategies.py`.
"""

from __future__ import annotations

import time
from typing import Any

from edgeloop_converters.attempts import Attempts
from edgeloop_converters.candidates import Candidate, best_of, excess
from edgeloop_converters.recipes import Distil, Prune, Recipe
from edgeloop_converters.recipes.steps import Augmentation
from edgeloop_converters.rungs import MOST_EPOCHS, ROUND_TO, START_S, shape_only, trained

__all__ = ["sample"]

SHARES = 16  # a share of the channels is a multiple of one in so many
FEWEST_EPOCHS = 2
UNTRAINED = 1.0  # added where the drop isn't known, since nothing was trained
MOST_IN_VAIN = 20  # rounds in a row without anything to train


def sample(
    attempts: Attempts, *, augment: Augmentation, epoch_s: float, deadline: float, skipped: list[str]
) -> Candidate | None:
    """Try pruned and distilled recipes until one holds every budget, or the time is up.

    Args:
        attempts: the model, its data and its budgets; what was made is among its candidates afterwards.
        augment: of the training batches.
        epoch_s: what an epoch takes, at most.
        deadline: on the monotonic clock.
        skipped: is told why nothing was tried, where Optuna isn't installed.
    """
    try:
        import optuna  # type: ignore[import-not-found, unused-ignore]  # an extra
    except ImportError:
        skipped.append("other shares and rates: Optuna would choose them: pip install 'edgeloop[search]'")
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=attempts.prepared.seed))
    in_vain = 0
    while (
        most := int((deadline - time.monotonic() - 2 * START_S) / epoch_s)
    ) >= FEWEST_EPOCHS and in_vain < MOST_IN_VAIN:
        asked = [study.ask() for _ in range(attempts.limits.executor.slots)]
        wanted = [suggested(trial, augment, most) for trial in asked]
        shapes = {c.recipe.steps[0]: c for c in attempts.candidates if c.is_proxy}
        new = {recipe.steps[0] for recipe in wanted} - set(shapes)
        proxies = [shape_only(step) for step in new if isinstance(step, Prune)]
        shapes |= {c.recipe.steps[0]: c for c in attempts.run(proxies, are_proxies=True)}
        missed = [missed_by_shape(shapes.get(recipe.steps[0])) for recipe in wanted]
        made = attempts.run([recipe for recipe, over in zip(wanted, missed, strict=True) if not over])
        values = {c.recipe.name: excess(c) for c in made}
        for trial, recipe, over in zip(asked, wanted, missed, strict=True):
            study.tell(trial, values.get(recipe.name, over + UNTRAINED))
        if (best := best_of(made)) is not None:
            return best
        in_vain = 0 if made else in_vain + 1
    return None


def suggested(trial: Any, augment: Augmentation, most_epochs: int) -> Recipe:
    """The recipe of one of Optuna's trials."""
    prune = Prune(
        ratio=trial.suggest_int("share", 1, SHARES - 1) / SHARES,
        round_to=trial.suggest_categorical("round_to", ROUND_TO),
    )
    rate = float(f"{trial.suggest_float('learning_rate', 1e-3, 2e-2, log=True):.2g}")
    epochs = min(most_epochs, trial.suggest_int("epochs", FEWEST_EPOCHS, MOST_EPOCHS, log=True))
    return trained(prune, Distil(epochs=1, learning_rate=rate, augment=augment), epochs)


def missed_by_shape(proxy: Candidate | None) -> float:
    """By how much size and latency are missed, each as a share of its limit; 1 where the shape couldn't be made."""
    if proxy is None:
        return 1.0
    over = [b for b in proxy.verdict.budgets if b.name in ("max_size_bytes", "max_latency_us") and not b.holds]
    return sum((b.measured or 0.0) / b.limit - 1 for b in over if b.limit)
