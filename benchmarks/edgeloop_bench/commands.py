"""`edgeloop bench`: how fast artifacts run on this device."""

from __future__ import annotations

import argparse
import math

from edgeloop.cli import Command, Result

__all__ = ["BENCH"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifacts", nargs="+", metavar="ARTIFACT", help="a .tflite; others are compared to the first")
    parser.add_argument("--seconds", type=_seconds, default=2.0, help="of counted calls for each (default 2)")
    parser.add_argument("--threads", type=_threads, default=1, help="of the interpreter (default 1)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return value


def _threads(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: at least one thread is needed")
    return value


def _run(args: argparse.Namespace) -> Result:
    import msgspec

    from edgeloop_bench.compare import compare
    from edgeloop_bench.result import Settings, as_table
    from edgeloop_bench.subject import read_subject

    subjects = [read_subject(path) for path in args.artifacts]
    result = compare(subjects, Settings(seconds=args.seconds, threads=args.threads))
    return Result(msgspec.to_builtins(result), as_table(result))


BENCH = Command("measure how fast artifacts run here, several of them in turns", _configure, _run)
