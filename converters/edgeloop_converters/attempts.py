"""Attempts: running recipes as trials, and turning what they made into measured candidates."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from edgeloop.errors import DataError, ModelError
from edgeloop.latency import Latency
from edgeloop_converters.candidates import Candidate, pareto_front
from edgeloop_converters.evaluate import Evaluation, evaluate_file, measure_speed
from edgeloop_converters.prepare import Prepared, as_real, scores_of
from edgeloop_converters.proof import Gate, compare, measure
from edgeloop_converters.recipes import Compile, Recipe, RecipeData, compile_tflite
from edgeloop_converters.trials import Bench, Executor, TrialCache, Trialled, executor_for, run_trials

__all__ = ["Attempts", "Limits", "Tell", "Watch"]

RESAMPLES = 300  # of the intervals while searching; the proof of the result takes more

Tell = Callable[[str], None]
Watch = Callable[[str, int, int], None]  # what is done, how many are, of how many


class Limits:
    """What a search may take.

    Args:
        workers: trials at a time; 0 does them in this process, one by one.
        memory_bytes: each trial's resident memory.
        timeout_s: each trial's time.
        executor: where trials are done, in place of `workers` on this machine.
    """

    def __init__(
        self,
        workers: int = 1,
        memory_bytes: int = 4 << 30,
        timeout_s: float = 3600.0,
        executor: Executor | None = None,
    ) -> None:
        self.executor = executor or executor_for(workers)
        self.memory_bytes = memory_bytes
        self.timeout_s = timeout_s


class Attempts:
    """All that was tried in one search; a context manager, whose end removes the workers' copy of the data.

    Args:
        prepared: the model and its data.
        gate: the budgets.
        cache: where finished trials are kept.
        limits: of the trials.
        tell: is told what was found, line by line.
        watch: is told how far it is.
        threads: of the interpreters whose latency is measured.

    Raises:
        ModelError: the original itself can't be compiled to float32.
    """

    def __init__(
        self,
        prepared: Prepared,
        gate: Gate,
        cache: TrialCache,
        limits: Limits,
        *,
        tell: Tell,
        watch: Watch = lambda _what, _done, _total: None,
        threads: int = 1,
    ) -> None:
        self.prepared = prepared
        self.gate = gate
        self.limits = limits
        self.threads = threads
        self.candidates: list[Candidate] = []
        self.failed: list[Trialled] = []
        self.original_latency: Latency | None = None
        self.overhead_bytes = 0
        self.done = 0
        self.reused = 0
        self._cache = cache
        self._tell = tell
        self._watch = watch
        self._folder = Path(tempfile.mkdtemp(prefix="edgeloop-search-"))
        try:
            data = prepared.recipe_data()
            self._bench = Bench(
                self._folder,
                prepared.model,
                calibration=data.calibration,
                x=data.x,
                y=data.y,
                evaluation=prepared.x_eval,
            )
            self.original = self._original()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Attempts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._tell(f"interrupted: {self.done} finished trials are kept; the same command goes on from there")
        self.close()

    def close(self) -> None:
        """Remove the workers' copy of the model and the data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, recipes: Sequence[Recipe], *, are_proxies: bool = False) -> list[Candidate]:
        """Try recipes, measure what they made beside the original, and judge it.

        A recipe that fails is told and kept in `failed`; the result has those that didn't, in their order.

        Args:
            recipes: what to try.
            are_proxies: they aren't trained, and show size and latency only.
        """
        results = self._trials(recipes)
        made = [self._candidate(r, is_proxy=are_proxies) for r in results if not r.error]
        if not made:
            return []
        keys = [str(i) for i in range(len(made))]
        self.original_latency, speeds = measure_speed(
            self.original.model,
            dict(zip(keys, (c.model for c in made), strict=True)),
            self.prepared.x_eval,
            threads=self.threads,
        )
        made = [replace(c, speed=speeds[k]).judged(self.gate) for k, c in zip(keys, made, strict=True)]
        for candidate in made:
            self._tell(line_of(candidate))
            for finding in () if are_proxies else candidate.findings:
                if finding.severity == "error":
                    self._tell(f"  {finding.message} ({finding.cause}); {finding.remedy}")
        self.candidates += made
        self._tell_front()
        return made

    def _tell_front(self) -> None:
        front = pareto_front(self.candidates)
        if len(front) > 1 and len(self.candidates) > len(front):
            self._tell(f"front: {', '.join(c.recipe.name + (' (holds)' if c.verdict.holds else '') for c in front)}")

    def recompile(self, candidate: Candidate, recipe: Recipe) -> Candidate:
        """Compile a candidate's float model in another way, without repeating the passes; here, in this process.

        Args:
            candidate: whose passes are taken as they are.
            recipe: the same passes, and another compile step for `litert-quantizer`.

        Raises:
            ModelError: it can't be quantized so.
        """
        float_model = candidate.float_model or self.original.model
        p = self.prepared
        calibration = as_real(p.preprocessing, p.calibration.x)
        made = compile_tflite(Recipe(recipe.name, (recipe.compile,)), float_model, RecipeData(calibration, calibration))
        evaluation, outputs = evaluate_file(made.model, recipe.compile, p.x_eval)
        found = self._measured(recipe, made.model, evaluation, scores_of(p.metric, outputs[0], p.x_eval))
        _, speeds = measure_speed(self.original.model, {"made": made.model}, p.x_eval, threads=self.threads)
        found = replace(
            found, float_model=candidate.float_model, notes=(*candidate.notes, *made.notes), speed=speeds["made"]
        ).judged(self.gate)
        self._tell(line_of(found))
        self.candidates.append(found)
        return found

    def _trials(self, recipes: Sequence[Recipe]) -> list[Trialled]:
        trials = [
            self._bench.trial(
                recipe,
                seed=self.prepared.seed,
                memory_bytes=self.limits.memory_bytes,
                timeout_s=self.limits.timeout_s,
            )
            for recipe in recipes
        ]

        known = len({t.key for t in trials if self._cache.find(t.key) is not None})
        if known:
            self._tell(f"{known} of {len(trials)} trials are done already, in an earlier run")
        self.reused += known
        counted = 0

        def done(result: Trialled) -> None:
            nonlocal counted
            counted += 1
            self.done += not result.error
            self._watch(what if counted < len(trials) else "measuring", counted, len(trials))
            if result.error:
                self._tell(f"{result.recipe.name}: {result.error}")

        what = "trying " + (
            recipes[0].name if len(recipes) == 1 else f"recipes, {self.limits.executor.slots} at a time"
        )
        self._watch(what, 0, len(trials))

        results = run_trials(trials, self._cache, self.limits.executor, on_done=done)
        self.failed += [r for r in results if r.error]
        return results

    def _candidate(self, result: Trialled, *, is_proxy: bool = False) -> Candidate:
        if result.evaluation is None:
            raise DataError(f"the trial {result.key} has no evaluation: remove the cache at {self._cache.folder}")
        p = self.prepared
        outputs = scores_of(p.metric, self._cache.outputs(result.key)[0], p.x_eval)
        found = self._measured(result.recipe, self._cache.model(result.key), result.evaluation, outputs)
        return replace(
            found,
            float_model=self._cache.float_model(result.key),
            is_proxy=is_proxy,
            seconds=result.seconds,
            notes=result.notes,
        )

    def _measured(self, recipe: Recipe, model: bytes, evaluation: Evaluation, outputs: NDArray[Any]) -> Candidate:
        p = self.prepared
        original = self.original.outputs if hasattr(self, "original") else outputs
        return Candidate(
            recipe=recipe,
            model=model,
            outputs=outputs,
            evaluation=evaluation,
            measurement=measure(p.metric, p.y_eval, outputs, seed=p.seed, n_resamples=RESAMPLES),
            comparison=compare(p.metric, p.y_eval, original, outputs, seed=p.seed, n_resamples=RESAMPLES),
            size_bytes=evaluation.size_bytes + self.overhead_bytes,
        )

    def _original(self) -> Candidate:
        result = self._trials([Recipe("original", (Compile(scheme="float32"),))])[0]
        if result.error:
            raise ModelError(f"the model itself can't be compiled to float32: {result.error}")
        return self._candidate(result)


def line_of(candidate: Candidate) -> str:
    """A candidate in one line."""
    speed = candidate.speed
    fast = f"{speed.latency.median_us:8.1f} µs ({1 / speed.of_original.value:.2f}×)" if speed else ""
    value = "" if candidate.is_proxy else f"{candidate.comparison.metric} {candidate.measurement.value:.4f}"
    return f"{candidate.recipe.name:40} {value:18} {candidate.size_bytes:10,} bytes {fast} {candidate.seconds:6.1f} s"
