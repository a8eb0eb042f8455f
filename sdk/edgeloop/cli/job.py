"""`edgeloop job`: run an artifact on inputs that another machine sends; the device's side of `--prove-on`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from edgeloop.cli import Command, Result

if TYPE_CHECKING:
    from edgeloop.job import Answer

__all__ = ["COMMAND"]


def configure(_parser: argparse.ArgumentParser) -> None:
    """No arguments: all stands in the job."""


def run(args: argparse.Namespace) -> Result:
    """Read a job from standard input; its answer goes to standard output."""
    from edgeloop.job import answer, decode_job, encode_answer

    found = answer(decode_job(sys.stdin.buffer.read()))
    if args.json:
        return Result(data=_data(found))
    sys.stdout.buffer.write(encode_answer(found))
    return Result()


def _data(found: Answer) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(found)
    return {**data, "outputs": {name: array.tolist() for name, array in found.arrays().items()}}


COMMAND = Command(
    help="answer a job of another machine: standard input to standard output", configure=configure, run=run
)
