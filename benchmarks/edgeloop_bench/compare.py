"""One run over several artifacts: every pass, in the order that disturbs the next one least."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from edgeloop.errors import ConfigError, ModelError
from edgeloop.machine import describe_machine
from edgeloop_bench.draft import Draft
from edgeloop_bench.gate import Question, noise_text, settle
from edgeloop_bench.instrument import instrument_us
from edgeloop_bench.meters import find_meter
from edgeloop_bench.passes.accuracy import measure_accuracy
from edgeloop_bench.passes.energy import draw_at_rest, measure_energy
from edgeloop_bench.passes.memory import measure_memory
from edgeloop_bench.passes.multi_stream import measure_multi_stream
from edgeloop_bench.passes.offline import measure_offline
from edgeloop_bench.passes.operators import measure_operators
from edgeloop_bench.passes.single_stream import open_and_time
from edgeloop_bench.passes.stages import measure_stages
from edgeloop_bench.result import SCHEMA, BenchResult, Gate, Settings, Verdict
from edgeloop_bench.subject import Subject, open_subject
from edgeloop_bench.verdict import judge
from edgeloop_bench.vitals import Watch

if TYPE_CHECKING:
    from edgeloop_converters.data import Dataset

__all__ = ["PASSES", "Pass", "compare"]

Pass = Literal["multi-stream", "offline", "stages", "operators", "energy", "memory", "accuracy"]

PASSES: tuple[Pass, ...] = ("multi-stream", "offline", "stages", "operators", "energy", "memory", "accuracy")
"""What follows the single stream, which is always measured."""


def compare(
    subjects: Sequence[Subject],
    settings: Settings,
    *,
    passes: Collection[Pass] = PASSES,
    question: Question | None = None,
    data: Dataset | None = None,
    label: str = "",
    progress: Callable[[str], None] = lambda _: None,
    root: Path = Path("/"),
) -> BenchResult:
    """Measure `subjects` side by side.

    Intervals are over the openings, since where a model comes to lie in memory lasts as long as it is open; see
    `edgeloop_bench.subject`. Ctrl-C ends the run, and what was measured by then is returned, marked as partial.

    Args:
        subjects: the first is what the others are compared with.
        settings: how.
        passes: what is measured after the single stream.
        question: goes on with the single stream until it is answered, if it can be.
        data: labelled, for the accuracy.
        label: the user's, for the history.
        progress: is told what is being done, in a few words.
        root: where /proc and /sys are looked for.

    Raises:
        ConfigError: the interpreter isn't installed, or the settings are impossible.
        ModelError: not one of the models could be measured.
    """
    start_s = time.time()
    _check(settings)
    machine = describe_machine(root)  # before our own load shows in it
    watch = Watch(machine.load_1m, root)
    drafts = [Draft(subject) for subject in subjects]
    notes: list[str] = []
    gates: tuple[Gate, ...] = ()
    is_partial = False
    try:
        gates = _single_streams(drafts, settings, question, watch, progress)
        for name in (name for name in PASSES if name in passes):
            _run_pass(name, drafts, settings, notes, watch, progress, data, root)
    except KeyboardInterrupt:
        is_partial = True
    results = tuple(draft.result(drafts[0]) for draft in drafts)
    if not is_partial and not any(result.scenarios for result in results):
        raise ModelError(drafts[0].error or f"{drafts[0].subject.name}: nothing could be measured")
    notes += [note for draft in drafts for note in draft.notes]
    vitals = watch.vitals()
    unsteady = [draft.subject.name for draft in drafts if not draft.is_steady]
    verdict = judge(machine, vitals, settings, results, unsteady=unsteady, notes=notes, is_partial=is_partial)
    return BenchResult(
        schema=SCHEMA,
        id=secrets.token_hex(8),
        start_s=start_s,
        machine=machine,
        settings=settings,
        results=results,
        vitals=vitals,
        verdict=_with_gates(verdict, gates),
        instrument_us=instrument_us(),
        is_partial=is_partial,
        label=label,
        gates=gates,
    )


def _check(settings: Settings) -> None:
    for name in ("threads", "batches"):
        values = getattr(settings, name)
        if not values or min(values) < 1 or len(set(values)) != len(values):
            raise ConfigError(f"{name} are {list(values)}: give at least one, each from 1 and once")
    if settings.openings < 1 or settings.min_runs < 1:
        raise ConfigError("at least one opening and one counted call are needed")


def _single_streams(
    drafts: list[Draft], settings: Settings, question: Question | None, watch: Watch, progress: Callable[[str], None]
) -> tuple[Gate, ...]:
    gates: tuple[Gate, ...] = ()
    for threads in settings.threads:
        done = 0

        def measure(openings: int, threads: int = threads) -> None:
            nonlocal done
            for _ in range(openings):
                progress(f"single stream, {threads} threads, opening {done + 1}")
                open_and_time(drafts, settings, threads=threads, opening=done)
                watch.look()
                done += 1

        if question is not None and threads == settings.threads[0]:
            gates = settle(drafts, question, measure, settings.openings)
        else:
            measure(settings.openings)
    return gates


def _run_pass(
    name: Pass,
    drafts: list[Draft],
    settings: Settings,
    notes: list[str],
    watch: Watch,
    progress: Callable[[str], None],
    data: Dataset | None,
    root: Path,
) -> None:
    """One pass over all models that haven't failed; one that fails in it keeps what it has."""
    if name == "energy":
        _energy(drafts, settings, notes, progress, root)
        return
    for draft in drafts:
        if draft.error is not None:
            continue
        progress(f"{name}, {draft.subject.name}")
        with draft.failing():
            if name == "multi-stream" and settings.rate_per_s is not None:
                measure_multi_stream(draft, settings, settings.rate_per_s)
            elif name == "offline":
                measure_offline(draft, settings)
            elif name == "stages" and draft.subject.artifact is not None:
                draft.stages = measure_stages(draft.subject.artifact, settings)
            elif name == "operators":
                measure_operators(draft, settings)
            elif name == "memory":
                draft.memory = measure_memory(draft.subject, settings)
            elif name == "accuracy" and data is not None:
                draft.accuracy = measure_accuracy(draft.subject, data, settings)
        if name in ("multi-stream", "offline"):
            watch.look()


def _energy(
    drafts: list[Draft], settings: Settings, notes: list[str], progress: Callable[[str], None], root: Path
) -> None:
    meter, note = find_meter(root)
    if note is not None:
        notes.append(note)
    if meter is None:
        return
    progress("energy, at rest")
    idle_w = draw_at_rest(meter)
    for draft in drafts:
        if draft.error is not None:
            continue
        progress(f"energy, {draft.subject.name}")
        with draft.failing():
            rng = np.random.default_rng(settings.seed)
            opened = open_subject(draft.subject, settings, threads=settings.threads[0], rng=rng)
            draft.energy = measure_energy(opened.invoke, meter, idle_w=idle_w, seconds=settings.seconds)


def _with_gates(verdict: Verdict, gates: tuple[Gate, ...]) -> Verdict:
    """A question that stays open makes the run INVALID: it was run to answer it."""
    undecided = [gate for gate in gates if "can't tell" in (gate.outcome or gate.finding)]
    reasons = [f"{gate.name} against {gate.against}: can't tell: {noise_text(gate.ratio)}" for gate in undecided]
    return msgspec.structs.replace(verdict, valid=verdict.valid and not undecided, reasons=(*reasons, *verdict.reasons))
