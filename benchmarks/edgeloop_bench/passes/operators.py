"""What each operator takes: cut out of the graph and run alone, since the interpreter's Python face has no profile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeloop.errors import ModelError
from edgeloop.latency import sample_rounds, summarize
from edgeloop_bench.draft import Draft
from edgeloop_bench.passes.single_stream import LEAST_WARMUP
from edgeloop_bench.result import Operator, Settings
from edgeloop_bench.subject import Subject, open_subject

__all__ = ["measure_operators"]

MIN_TIME_S, MIN_RUNS = 0.02, 30


def measure_operators(draft: Draft, settings: Settings) -> None:
    """Time the operators of the main subgraph in turns, each as a model of its own, with the first number of threads.

    An operator alone pays for a whole call, and misses what runs of them gain together (XNNPACK keeps a value in its
    own layout from one to the next): their sum is not the model's time. Operators that keep state, call others or are
    custom can't be cut out: a note says how many.

    Raises:
        ModelError: the file can't be read.
    """
    try:
        from edgeloop_converters.tflite.facts import describe
        from edgeloop_converters.tflite.flatbuffer import parse
        from edgeloop_converters.tflite.isolate import isolate
    except ModuleNotFoundError as error:  # a device with another interpreter
        draft.notes.append(f"operators weren't timed: {error.name} isn't installed, which knows the file's schema")
        return

    model = draft.subject.model
    facts, tree = describe(model), parse(model)
    calls: dict[str, Callable[[], object]] = {}
    for op in facts.ops:
        cut = isolate(tree, op.index)
        if cut is None:
            continue
        alone = Subject(f"{draft.subject.name}: {op.name} alone", cut.model, len(cut.model))
        try:
            rng = np.random.default_rng(settings.seed)
            opened = open_subject(alone, settings, threads=settings.threads[0], rng=rng)
        except ModelError:  # random values that it doesn't take
            continue
        calls[str(op.index)] = opened.invoke
    if left_out := len(facts.ops) - len(calls):
        draft.notes.append(f"{draft.subject.name}: {left_out} of {len(facts.ops)} operators can't run alone")
    if not calls:
        return
    rounds = sample_rounds(calls, min_time_s=MIN_TIME_S, min_runs=MIN_RUNS, warmup=LEAST_WARMUP)
    draft.operators = tuple(
        Operator(op.name, facts.name(op.outputs[0]), summarize(rounds[str(op.index)]).median_us)
        for op in facts.ops
        if str(op.index) in rounds
    )
