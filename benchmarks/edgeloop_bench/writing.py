"""Results to disk: whole or not at all, and never over a file that is there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.files import check_writable, write_atomic
from edgeloop_bench.result import BenchResult

__all__ = ["check_new", "encode_result", "write_result"]


def check_new(path: str | os.PathLike[str], *, may_replace: bool) -> None:
    """Refuse, before the work, a file that can't be written, or that is there and must stay.

    Raises:
        OSError: it can't be written.
        ConfigError: it is there.
    """
    check_writable(path)
    if Path(path).exists() and not may_replace:
        raise ConfigError(f"{path} is there: choose another name, or say --force to replace it")


def encode_result(result: BenchResult) -> bytes:
    """As JSON, to be read by people too."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"


def write_result(path: str | os.PathLike[str], result: BenchResult, *, may_replace: bool = False) -> Path:
    """Write a result: whole, or not at all.

    Returns:
        Where it is: beside `path`, with the run's id in its name, where a file has appeared there during the run.

    Raises:
        OSError: it can't be written.
    """
    where = Path(path)
    if where.exists() and not may_replace:
        where = where.with_name(f"{where.stem}-{result.id}{where.suffix}")
    write_atomic(where, encode_result(result))
    return where
