"""`edgeloop bench`: how fast artifacts run on this device, and whether that may be believed."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable

from edgeloop.cli import BAD_INPUT, INTERRUPTED, Command, Result

__all__ = ["BENCH"]


def _configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("artifacts", nargs="+", metavar="ARTIFACT", help="a .tflite; others are compared to the first")
    add("--seconds", type=_positive, default=2.0, help="of counted calls for each scenario (default 2)")
    add("--min-runs", type=_count, default=100, help="counted calls for each scenario, at least (default 100)")
    add("--openings", type=_count, default=12, help="how often each is opened; intervals are over them (default 12)")
    add("--threads", type=_counts, default=(1,), help="of the interpreter: 1,2,4 or all (default 1)")
    add("--batches", type=_counts, default=(1,), help="sizes of a batch in the offline scenario: 1,8 (default 1)")
    add("--rate", type=_positive, metavar="PER_S", help="measure the multi-stream scenario: so many inputs a second")
    add("--deadline", metavar="TIME", help="an answer's there: 5ms (default: the time between two inputs)")
    add("--latency-only", action="store_true", help="the single-stream scenario, and nothing else")
    add("--backend", choices=("litert", "tflite-runtime", "tensorflow"), default="litert", help="what runs it")
    add("--kernels", choices=("default", "reference"), default="default", help="which kernels run it")
    add("--delegate", metavar="NAME", help="edgetpu, gpu, or a delegate's library")
    add("--seed", type=int, default=0, help="of the inputs (default 0)")
    add("--data", metavar="FILE", help="labelled data, for the accuracy: .npz, .csv, .parquet, a folder of images")
    add("--labels", metavar="COLUMN", help="the data's column or key of labels")
    add("--against", metavar="FILE", help="an artifact, or a result of before: is it slower than that? (implies "
        "--latency-only)")  # fmt: skip
    add("--on", action="append", metavar="PLACE", help="measure there, not here; repeatable: ssh://HOST, "
        "mqtt://BROKER/DEVICE, emulated-arm64")  # fmt: skip
    add("--fail-if-slower", type=_percent, metavar="PERCENT", help="exit with 1 when it is, by more than this")
    add("--strict", action="store_true", help="exit with 1 when that can't be told for the noise, too")
    add("-o", "--out", metavar="FILE", help="write the result there, as JSON")
    add("--force", action="store_true", help="replace that file")
    add("--label", default="", help="a name for this run: a commit, a release")
    add("--history", metavar="FILE", help="add the result to this file of JSON lines")
    parser.epilog = "also: bench report, bench view"


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: at least 1 is needed")
    return value


def _counts(text: str) -> tuple[int, ...]:
    if text == "all":
        return tuple(range(1, len(os.sched_getaffinity(0)) + 1))
    values = tuple(_count(word) for word in text.split(","))
    if len(set(values)) != len(values):
        raise argparse.ArgumentTypeError(f"{text!r}: each once")
    return values


def _percent(text: str) -> float:
    value = float(text.removesuffix("%"))
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0")
    return value


def _run(args: argparse.Namespace) -> Result:
    if args.on:
        return _elsewhere(args)
    import msgspec

    from edgeloop_bench.measuring import measure
    from edgeloop_bench.table import as_table
    from edgeloop_bench.writing import write_result

    if args.history is not None:
        from edgeloop_bench.history import append, check_appendable

        check_appendable(args.history)  # before the work, not after it
    result = measure(args, _progress())
    text = as_table(result)
    if args.out is not None:
        where = write_result(args.out, result, may_replace=args.force)
        text += f"\nwritten to {where}"
    if args.history is not None:
        append(args.history, result)
    code = INTERRUPTED if result.is_partial else BAD_INPUT if any(its.error for its in result.results) else None
    wrong = ("slower", "can't tell") if args.strict else ("slower",)
    if any(gate.outcome == "can't tell" for gate in result.gates) and not args.strict:
        sys.stderr.write("edgeloop bench: warning: the noise hides whether it is slower: this run has gated nothing\n")
    return Result(msgspec.to_builtins(result), text, all(gate.outcome not in wrong for gate in result.gates), code)


def _elsewhere(args: argparse.Namespace) -> Result:
    from edgeloop.errors import ConfigError
    from edgeloop_bench.compare import PASSES
    from edgeloop_bench.farm import as_result, run_on
    from edgeloop_bench.measuring import settings_of

    given = {
        "--against": args.against,
        "--fail-if-slower": args.fail_if_slower,
        "--data": args.data,
        "--out": args.out,
        "--history": args.history,
    }
    if here := [name for name, value in given.items() if value is not None]:
        raise ConfigError(f"{here[0]} is of this machine's measuring: without it, --on PLACE --json gives the results")
    passes = () if args.latency_only else PASSES
    found = run_on(args.on, args.artifacts, settings_of(args), passes=passes, label=args.label, progress=_progress())
    return as_result(found)


def _progress() -> Callable[[str], None]:
    if not sys.stderr.isatty():
        return lambda _: None

    def show(text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    return show


BENCH = Command("measure how fast artifacts run here, several of them in turns", _configure, _run)
