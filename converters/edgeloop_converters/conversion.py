"""From a trained model to a gated artifact: compress and compile, measure, judge, prove, package."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeloop.artifact import Artifact
from edgeloop.errors import DataError, GateError, ModelError
from edgeloop.signing import PrivateKey
from edgeloop.summaries import SummaryKind
from edgeloop_converters.attempts import Attempts, Limits, Tell, Watch
from edgeloop_converters.candidates import Candidate, pareto_front
from edgeloop_converters.data import Dataset
from edgeloop_converters.data import Finding as DataFinding
from edgeloop_converters.elsewhere import Elsewhere, budgets_of, measured_there, prove_at
from edgeloop_converters.explaining import Explanation, explain
from edgeloop_converters.mending import Mended, mend
from edgeloop_converters.packaging import Label, package, remeasured
from edgeloop_converters.places import Place
from edgeloop_converters.ports import Steps
from edgeloop_converters.prepare import Prepared, prepare
from edgeloop_converters.proof import Drop, Gate, Verdict
from edgeloop_converters.proving import Proof, diagnose_on, prove
from edgeloop_converters.recipes import Recipe, find_recipe
from edgeloop_converters.recipes.steps import CompileScheme
from edgeloop_converters.search import search
from edgeloop_converters.targets import Target, check_file, check_ops
from edgeloop_converters.tflite import Diagnosis, Finding, LayerTime, describe, time_layers
from edgeloop_converters.trials import TrialCache

__all__ = ["WORST_LAYERS", "Converted", "Side", "convert", "try_convert"]

WORST_LAYERS = 8  # that a report shows


@dataclass(frozen=True)
class Side:
    """The model before, or the artifact after: what was measured of it, in one run with the other.

    Args:
        value: of the metric.
        size_bytes: of the flatbuffer.
        latency_us: of one call of the interpreter, at the median.
        metric: its name.
    """

    value: float
    size_bytes: int
    latency_us: float
    metric: str = "accuracy"

    @property
    def accuracy(self) -> float:
        """The value, where the metric is accuracy."""
        return self.value


@dataclass(frozen=True, eq=False)
class Converted:
    """An artifact, the two sides that were compared, and all that was found out on the way.

    Args:
        artifact: the result; where the gate is missed, the one that came nearest.
        before: the original.
        after: the artifact.
        verdict: what was asked for against what was measured.
        recipe: how it was made.
        proof: the metric's intervals, slices, calibration, robustness.
        explanations: what both models look at, by input; none where they weren't asked for.
        diagnosis: layer by layer; None where it wasn't asked for, or no layers correspond.
        layer_times: what the worst layers cost in float and quantized; none where they weren't asked for.
        candidates: all that was tried and measured, the result among them.
        front: those that no other beats in drop, size and latency at once.
        skipped: what wasn't tried, and why.
        findings: what is remarkable about the result's file.
        data_findings: what is wrong with the data, if anything.
        mended: the layers that were put back to a higher precision for the drop to hold, each with its scheme.
        result: the candidate that it was made of.
        trials: how many were run, or taken over from an earlier run.
        reused: how many of them were taken over.
        elsewhere: the same artifact at the places where it was to be proved.
    """

    artifact: Artifact
    before: Side
    after: Side
    verdict: Verdict
    recipe: Recipe
    proof: Proof
    explanations: tuple[Explanation, ...]
    diagnosis: Diagnosis | None
    layer_times: tuple[LayerTime, ...]
    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    skipped: tuple[str, ...]
    findings: tuple[Finding, ...]
    data_findings: tuple[DataFinding, ...]
    mended: dict[str, CompileScheme]
    result: Candidate
    trials: int
    reused: int
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def drop(self) -> float:
        """By how much the metric got worse, in its own unit; negative where it got better."""
        return self.proof.comparison.drop


def convert(
    model: Any,
    train: Dataset,
    evaluation: Dataset,
    *,
    name: str,
    version: int = 1,
    recipe: Recipe | str | None = None,
    preprocessing: Steps = (),
    summary: SummaryKind = "columns",
    metric: str | None = None,
    output: str | None = None,
    max_drop: float = 0.01,
    seed: int = 0,
    key: PrivateKey | None = None,
    provenance: dict[str, str] | None = None,
) -> Converted:
    """Convert a model by one recipe, and gate it on held-out data.

    Args:
        model: what `load_model` gave, a built `keras.Model`, or the bytes of a `.tflite` file.
        train: what calibrates the ranges, trains where the recipe does, and makes the baseline; inputs as the sensor
            gives them.
        evaluation: held-out data with labels, not a sample of which is in `train`.
        name: the artifact's name.
        version: its version: higher than that of any artifact of this name that is in the field.
        recipe: what is done: a name (see `edgeloop recipes`), a `.toml` file, or a `Recipe`; None is full-integer int8,
            or, for an integer `.tflite` file, nothing.
        preprocessing: what brings the sensor's values to the model's; it travels in the manifest. Of a model with
            several inputs, by the inputs' names.
        summary: what the devices profile of an input.
        metric: what counts; see `proof.find_metric`. None is accuracy for classes and RMSE for values.
        output: which of several outputs is measured; None takes the only one that fits the metric and the labels.
        max_drop: by how much the metric may get worse, in its own unit: 0.01 of accuracy is one percentage point.
        seed: of everything random.
        key: signs the artifact.
        provenance: more lines for the manifest.

    Raises:
        ConfigError: no such recipe or metric, or the recipe doesn't suit this kind of model.
        DataError: a data set is empty, has no labels, or doesn't fit the model.
        ModelError: the recipe can't be applied to this model.
        GateError: the metric dropped by more than `max_drop`; the message gives both sides.
    """
    prepared = prepare(model, train, evaluation, preprocessing=preprocessing, metric=metric, output=output, seed=seed)
    converted = try_convert(
        prepared,
        Label(name, version, summary=summary, key=key, provenance=provenance),
        max_drop=Drop(max_drop, relative=False),
        recipe=recipe if recipe is not None else default_recipe(prepared.model),
    )
    if not converted.verdict.holds:
        failing = "; ".join(b.sentence for b in converted.verdict.budgets if not b.holds)
        raise GateError(f"{name}: {failing}: nothing was written")
    return converted


def try_convert(
    prepared: Prepared,
    label: Label,
    *,
    max_drop: Drop | None = None,
    max_size_bytes: int | None = None,
    max_latency_us: float | None = None,
    recipe: Recipe | str | None = None,
    target: Target | None = None,
    threads: int = 1,
    limits: Limits | None = None,
    time_limit_s: float = 540.0,
    cache: Path | None = None,
    thorough: bool = False,
    places: Sequence[Place] = (),
    tell: Tell = lambda _: None,
    watch: Watch = lambda _what, _done, _total: None,
) -> Converted:
    """Convert by a recipe, or search for one, and say what was found, whether or not the budgets hold.

    Args:
        prepared: the model and its data; see `prepare`.
        label: the artifact's name, and so on.
        max_drop: by how much the metric may get worse.
        max_size_bytes: of the artifact's file, its manifest included.
        max_latency_us: of one call of the interpreter on this machine, at the median.
        recipe: what is done; None searches for the smallest that holds every budget.
        target: what the device runs; None is any of LiteRT's.
        threads: of the interpreter whose latency is measured.
        limits: of the trials; None does what only compiles in this process, and else one trial at a time.
        time_limit_s: of the search, and of mending after it.
        cache: where finished trials are kept for the next time; None forgets them.
        thorough: prove what a report shows: slices, robustness, the error by layer.
        places: where the metric must hold, too; see `edgeloop_converters.places`.
        tell: is told what is going on, line by line.
        watch: is told how far it is.

    Raises:
        as `convert` does, but for `GateError`.
        PlaceError, BrokerError, MessageError: a place can't be reached, or couldn't run the artifact.
    """
    start = time.monotonic()
    for place in places:
        place.check()
    gate = Gate(prepared.metric.name, max_drop, max_size_bytes, max_latency_us)
    known = find_recipe(recipe) if isinstance(recipe, str) else recipe
    if limits is None:
        limits = Limits(workers=1 if known is None or known.trains else 0)
    with tempfile.TemporaryDirectory(prefix="edgeloop-trials-") as forgotten:
        trials = TrialCache(cache or Path(forgotten))
        with Attempts(prepared, gate, trials, limits, tell=tell, watch=watch, threads=threads) as attempts:
            if max_size_bytes is not None:
                attempts.overhead_bytes = _overhead_bytes(prepared, attempts.original, label)
            skipped: tuple[str, ...] = ()
            if known is None:
                found = search(attempts, target=target, time_limit_s=time_limit_s, tell=tell)
                result, skipped = found.nearest, found.skipped
            else:
                result = _one(attempts, known, target)
            mended = Mended(result, {}, None)
            if [b.name for b in result.verdict.budgets if not b.holds] == ["max_drop"]:
                plain = result.float_model or attempts.original.model
                mended = mend(
                    prepared,
                    result,
                    plain,
                    lambda r: attempts.recompile(result, r),
                    target=target,
                    deadline=start + time_limit_s,
                    tell=tell,
                )
            return _finish(attempts, mended, label, skipped, target, thorough=thorough, places=places, tell=tell)


def default_recipe(model: Any) -> str:
    """What is done to a model when nothing was asked for."""
    if not isinstance(model, bytes):
        return "int8"
    facts = describe(model)
    integer = all("int" in facts.tensors[i].dtype for i in (*facts.inputs, *facts.outputs))
    return "as-is" if integer else "int8-litert"


def _one(attempts: Attempts, recipe: Recipe, target: Target | None) -> Candidate:
    """The candidate of one recipe."""
    if target is not None and (problems := check_ops(target, attempts.original.model)):
        raise ModelError("; ".join(f"{p.message} ({p.cause}): {p.remedy}" for p in problems))
    made = attempts.run([recipe])
    if made:
        return made[0]
    kind, _, message = attempts.failed[-1].error.partition(": ")
    error = DataError if kind == "DataError" else ModelError
    raise error(message if kind.endswith("Error") else attempts.failed[-1].error)


def _finish(
    attempts: Attempts,
    mended: Mended,
    label: Label,
    skipped: tuple[str, ...],
    target: Target | None,
    *,
    thorough: bool,
    places: Sequence[Place],
    tell: Tell,
) -> Converted:
    """Prove the result here and at the places, package it, and judge it once more with the artifact's own size."""
    prepared, result, original = attempts.prepared, mended.candidate, attempts.original
    outputs = original.outputs, result.outputs
    proof = prove(prepared, original.model, result.model, outputs, thorough=thorough)
    before = _side(original, attempts.original_latency.median_us if attempts.original_latency else 0.0)
    after = _side(result, result.latency_us or 0.0)
    artifact = package(
        prepared,
        result.model,
        result.recipe.stored(prepared.seed),
        label,
        metrics=_metrics(before, after),
        temperature=proof.temperature.temperature if proof.temperature is not None and proof.mends_confidence else None,
    )
    elsewhere = prove_at(places, artifact, prepared, original.outputs, threads=attempts.threads, tell=tell)
    if elsewhere:
        artifact = remeasured(artifact, measured_there(elsewhere), label)
    result = replace(result, size_bytes=artifact.size_bytes, comparison=proof.comparison).judged(attempts.gate)
    diagnosis = mended.diagnosis
    if thorough or diagnosis is not None:
        diagnosis = diagnose_on(prepared, result.float_model or original.model, result.model)
    on_target = check_file(target, result.model, result.evaluation) if target is not None else ()
    return Converted(
        artifact=artifact,
        before=before,
        after=after,
        verdict=Verdict((*result.verdict.budgets, *budgets_of(attempts.gate, elsewhere))),
        recipe=result.recipe,
        proof=proof,
        explanations=explain(prepared, (original.model, result.model), outputs) if thorough else (),
        diagnosis=diagnosis,
        layer_times=_layer_times(diagnosis, result.float_model or original.model, result.model) if thorough else (),
        candidates=tuple(attempts.candidates),
        front=pareto_front(attempts.candidates),
        skipped=skipped,
        findings=(*on_target, *result.findings),
        data_findings=prepared.findings,
        mended=mended.layers,
        result=result,
        trials=attempts.done + len(attempts.failed),
        reused=attempts.reused,
        elsewhere=elsewhere,
    )


def _layer_times(diagnosis: Diagnosis | None, float_model: bytes, model: bytes) -> tuple[LayerTime, ...]:
    return () if diagnosis is None else time_layers(float_model, model, diagnosis.layers[:WORST_LAYERS])


def _side(candidate: Candidate, latency_us: float) -> Side:
    found = candidate.measurement
    return Side(found.value, candidate.evaluation.size_bytes, latency_us, found.metric)


def _metrics(before: Side, after: Side) -> dict[str, float]:
    return {
        after.metric: after.value,
        "latency_us": after.latency_us,
        f"original.{before.metric}": before.value,
        "original.latency_us": before.latency_us,
        "original.size_bytes": float(before.size_bytes),
    }


def _overhead_bytes(prepared: Prepared, original: Candidate, label: Label) -> int:
    """What the manifest of an int8 artifact will add to the file: the original's, with golden values of one byte."""
    side = _side(original, 0.0)
    artifact = package(
        prepared,
        original.model,
        original.recipe.stored(prepared.seed),
        label,
        metrics=_metrics(side, side),
        temperature=1.0,
    )
    golden = artifact.manifest.golden
    stored = sum(len(raw) for raw in (*golden.inputs, *golden.outputs)) if golden is not None else 0
    return artifact.size_bytes - len(artifact.model) - stored  # base64 makes 4/3 of them, of which 1/3 stays
