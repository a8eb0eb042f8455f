"""`edgeloop job`: do what another machine asks; the device's side of `--prove-on` and `--on`."""

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
    import msgspec

    from edgeloop.job import Job, answer, encode_answer, mark_answer
    from edgeloop.jobkinds import handler_of, read_job

    job = read_job(sys.stdin.buffer.read())
    if isinstance(job, Job):
        found = answer(job)
        data, sent = _data(found) if args.json else {}, encode_answer(found)
    else:
        done = handler_of(job.kind)(job)
        data, sent = msgspec.to_builtins(done), mark_answer(msgspec.msgpack.encode(done))
    if args.json:
        return Result(data)
    sys.stdout.buffer.write(sent)
    return Result()


def _data(found: Answer) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(found)
    return {**data, "outputs": {name: array.tolist() for name, array in found.arrays().items()}}


COMMAND = Command(
    help="answer a job of another machine: standard input to standard output", configure=configure, run=run
)
