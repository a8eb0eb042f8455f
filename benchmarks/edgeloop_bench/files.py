"""Results on disk: read with a word on what is wrong, written without overwriting anything."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from edgeloop.errors import ConfigError, DataError
from edgeloop.files import check_writable, write_atomic
from edgeloop_bench.result import SCHEMA, BenchResult

__all__ = ["check_new", "encode_result", "is_result", "read_result", "write_result"]


class _Head(msgspec.Struct):
    schema: int


def is_result(path: str | os.PathLike[str]) -> bool:
    """Whether a file is meant as a result, rather than as an artifact: it begins as JSON does.

    Raises:
        OSError: it can't be read.
    """
    with Path(path).open("rb") as file:
        return file.read(64).lstrip()[:1] == b"{"


def read_result(path: str | os.PathLike[str]) -> BenchResult:
    """Read what `write_result` has written.

    Raises:
        OSError: the file can't be read.
        DataError: it was cut off, is no result, or one of a newer or older schema.
    """
    raw = Path(path).read_bytes()
    try:
        schema = msgspec.json.decode(raw, type=_Head).schema
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: no result of `edgeloop bench`: {error}") from error
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: cut off or no JSON: {error}: take it from where it was written") from error
    if schema > SCHEMA:
        raise DataError(f"{path}: its schema is {schema}, and this edgeloop reads {SCHEMA}: upgrade edgeloop")
    if schema < SCHEMA:
        raise DataError(
            f"{path}: its schema is {schema}, of an older edgeloop, and this one reads {SCHEMA}: measure again"
        )
    try:
        return msgspec.json.decode(raw, type=BenchResult)
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: no result of `edgeloop bench`: {error}") from error


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
