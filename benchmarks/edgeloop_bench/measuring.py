"""From the command line to a result: what is read, what is asked, what is refused before anything is measured."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeloop.errors import ConfigError, EdgeloopError
from edgeloop.machine import describe_machine
from edgeloop_bench.compare import PASSES, Pass, compare
from edgeloop_bench.gate import Question, check_same_machine
from edgeloop_bench.passes.accuracy import read_data
from edgeloop_bench.reading import is_result, read_result
from edgeloop_bench.result import BenchResult, Settings, SubjectResult
from edgeloop_bench.subject import Subject, read_subject
from edgeloop_bench.writing import check_new

__all__ = ["measure", "settings_of"]


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> BenchResult:
    """Do what `edgeloop bench ARTIFACT…` was asked for.

    Args:
        args: of the command line.
        progress: is told what is being done.

    Raises:
        OSError, EdgeloopError: a file can't be used, or nothing could be measured.
    """
    settings = settings_of(args)
    if args.out is not None:
        check_new(args.out, may_replace=args.force)
    if args.fail_if_slower is not None and args.against is None:
        raise ConfigError("--fail-if-slower needs what it would be slower than: --against FILE")
    if args.strict and args.fail_if_slower is None:
        raise ConfigError("--strict is about a limit: say --fail-if-slower PERCENT")
    data = None if args.data is None else read_data(args.data, args.labels)
    subjects = [read_subject(path) for path in args.artifacts]
    question: Question | None = None
    notes: tuple[str, ...] = ()
    if args.against is not None:
        limit = None if args.fail_if_slower is None else 1 + args.fail_if_slower / 100
        reference, stored, notes = _reference(args.against, args.artifacts[0], settings)
        subjects = subjects if reference is None else [reference, *subjects]
        question = Question(limit, stored)
    passes: tuple[Pass, ...] = () if args.latency_only or question is not None else PASSES
    if data is not None:
        passes = tuple(dict.fromkeys((*passes, "accuracy")))
    result = compare(
        subjects, settings, passes=passes, question=question, data=data, label=args.label, progress=progress
    )
    progress("")
    verdict = msgspec.structs.replace(result.verdict, reasons=(*result.verdict.reasons, *notes))
    return msgspec.structs.replace(result, verdict=verdict)


def settings_of(args: argparse.Namespace) -> Settings:
    """How it is to be measured. Raises `ConfigError`."""
    if args.deadline is not None and args.rate is None:
        raise ConfigError("--deadline is of inputs that come at a rate: say --rate PER_S")
    deadline_us = None
    if args.deadline is not None:
        from edgeloop_converters.proof import parse_us

        deadline_us = parse_us(args.deadline)
    return Settings(
        seconds=args.seconds,
        min_runs=args.min_runs,
        openings=args.openings,
        threads=args.threads,
        batches=args.batches,
        rate_per_s=args.rate,
        deadline_us=deadline_us,
        seed=args.seed,
        backend=args.backend,
        kernels=args.kernels,
        delegate=args.delegate,
    )


def _reference(
    against: str, artifact: str, settings: Settings
) -> tuple[Subject | None, SubjectResult | None, tuple[str, ...]]:
    """What the artifacts are held against: a file to measure beside them, or else a stored result; and notes."""
    if not is_result(against):
        return read_subject(against), None, ()
    old = read_result(against)
    name = Path(artifact).name
    then = next((its for its in old.results if its.name == name), next(iter(old.results), None))
    if then is None or not then.scenarios or then.scenarios[0].kind != "single-stream":
        raise ConfigError(f"{against} holds no single-stream latency to compare with: it may be of a stopped run")
    found = _still_there(then, (Path(against).parent, Path(artifact).parent, Path()))
    if found is not None:
        return found, None, (f"{then.name}, of which {against} is, was measured again beside it",)
    notes = check_same_machine(old, describe_machine(), settings, against)
    days = (time.time() - old.start_s) / 86400
    weaker = f"{against} is {days:.1f} days old, and its artifact isn't here: a comparison across time is a weaker one"
    return None, then, (weaker, *notes)


def _still_there(then: SubjectResult, folders: tuple[Path, ...]) -> Subject | None:
    """The very file that was measured: a result holds no folder, since that may tell whose machine it was."""
    for folder in folders:
        try:
            found = read_subject(str(folder / then.name))
        except (OSError, EdgeloopError):
            continue
        if found.sha256 == then.sha256:
            return found
    return None
