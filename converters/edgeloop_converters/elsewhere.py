"""Accuracy proved on the target: what an artifact answers on other kernels, beside what it answers here."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from edgeloop.artifact import Artifact
from edgeloop.errors import MessageError
from edgeloop.job import Inputs, answer, make_job
from edgeloop.latency import Latency
from edgeloop.machine import Machine
from edgeloop_converters.attempts import Tell
from edgeloop_converters.places import Place, run_at
from edgeloop_converters.places.difference import Difference, difference
from edgeloop_converters.places.place import as_sent
from edgeloop_converters.prepare import Prepared, scores_of
from edgeloop_converters.proof import Budget, Comparison, Gate, Measurement, compare, judge, measure
from edgeloop_converters.quiet import silenced

__all__ = ["Elsewhere", "budgets_of", "line_of", "measured_there", "prove_at"]


@dataclass(frozen=True)
class Elsewhere:
    """An artifact at a place.

    Args:
        place: as the user wrote it.
        label: what the manifest calls it: it travels, and says nothing of hosts and devices.
        is_emulator: whether it is one.
        backend: the interpreter there.
        machine: the device; in an emulator, what the emulator shows.
        measurement: the metric there.
        comparison: against the original, which ran here.
        difference: the artifact's answers there against its answers here.
        latency: of a call there; None in an emulator.
    """

    place: str
    label: str
    is_emulator: bool
    backend: str
    machine: Machine
    measurement: Measurement
    comparison: Comparison
    difference: Difference
    latency: Latency | None


def prove_at(
    places: Sequence[Place],
    artifact: Artifact,
    prepared: Prepared,
    original: NDArray[Any],
    *,
    threads: int = 1,
    tell: Tell = lambda _: None,
) -> tuple[Elsewhere, ...]:
    """Run an artifact over the evaluation data here and at each place.

    Args:
        places: where.
        artifact: what; signed, where a place wants that.
        prepared: the data and the metric.
        original: what the metric is computed of, of the original.
        threads: of the interpreters.
        tell: is told what is going on.

    Raises:
        PlaceError, BrokerError, MessageError: a place can't be reached, or couldn't do it.
        DataError: the metric isn't defined on what came back.
    """
    if not places:
        return ()
    x: Inputs = prepared.evaluation.x
    with silenced():  # the first interpreter of a process announces itself
        here = answer(make_job(artifact.to_bytes(), as_sent(artifact, x), threads=threads)).arrays()
    found: list[Elsewhere] = []
    for place in places:
        tell(f"{place.name}: {len(prepared.y_eval)} samples")
        there = run_at(place, artifact, x, threads=threads)
        if set(there.outputs) != set(here):
            raise MessageError(f"{place.name}: it answers {sorted(there.outputs)}, not {sorted(here)}")
        outputs = scores_of(prepared.metric, next(iter(there.outputs.values())), prepared.x_eval)
        metric, y, seed = prepared.metric, prepared.y_eval, prepared.seed
        one = Elsewhere(
            place=place.name,
            label=_label(place, there.machine, [e.label for e in found]),
            is_emulator=place.is_emulator,
            backend=there.backend,
            machine=there.machine,
            measurement=measure(metric, y, outputs, seed=seed),
            comparison=compare(metric, y, original, outputs, seed=seed),
            difference=difference(artifact.manifest.outputs, here, there.outputs),
            latency=there.latency,
        )
        tell(line_of(one))
        found.append(one)
    return tuple(found)


def budgets_of(gate: Gate, proved: Sequence[Elsewhere]) -> tuple[Budget, ...]:
    """The budgets on the metric, which must hold at every place, too."""
    there = replace(gate, max_size_bytes=None, max_latency_us=None)
    return tuple(
        replace(b, name=f"{b.name} on {e.place}", sentence=f"on {e.place}: {b.sentence}")
        for e in proved
        for b in judge(there, comparison=e.comparison, measurement=e.measurement).budgets
    )


def measured_there(proved: Sequence[Elsewhere]) -> dict[str, float]:
    """What the manifest keeps of it."""
    metrics: dict[str, float] = {}
    for e in proved:
        metrics[f"{e.label}.{e.measurement.metric}"] = e.measurement.value
        metrics[f"{e.label}.agreement"] = e.difference.agreement
        if e.difference.max_steps is not None:
            metrics[f"{e.label}.max_steps"] = float(e.difference.max_steps)
        if e.latency is not None:
            metrics[f"{e.label}.latency_us"] = e.latency.median_us
    return metrics


def line_of(e: Elsewhere) -> str:
    """A place in one line."""
    d = e.difference
    apart = f"up to {d.max_steps} steps" if d.max_steps is not None else f"up to {d.max_abs:.3g}"
    fast = "" if e.latency is None else f", {e.latency.median_us:.1f} µs a call"
    return (
        f"{e.place} ({e.machine.arch}, {e.backend}): {e.measurement.metric} {e.measurement.value:.4f}; the same top "
        f"answer as here ({platform.machine()}) on {d.agreement:.2%} of {d.n}, {apart} apart{fast}"
    )


def _label(place: Place, machine: Machine, taken: Sequence[str]) -> str:
    plain = place.name if place.is_emulator else f"device-{machine.arch}"
    return next(name for name in (plain, *(f"{plain}-{i}" for i in range(2, len(taken) + 3))) if name not in taken)
