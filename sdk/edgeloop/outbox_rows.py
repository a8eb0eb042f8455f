"""The outbox's rows in SQL: put, read and deleted in as few steps of SQLite as may be.

Each step lets other Python threads run and then waits for its turn again: a statement for each row would hand over to
the uplink's thread as often.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Sequence
from contextlib import closing
from typing import NamedTuple

import msgspec

__all__ = ["Found", "NewRow", "Row", "delete_acknowledged", "delete_rows", "insert_rows", "last_id", "read_rows"]

_TOGETHER = 32  # rows in a statement
_COLUMNS = "(epoch, seq, kind, value, payload, crc)"
_VALUES = "(?, ?, ?, ?, ?, ?)"
_ONE = f"INSERT INTO rows {_COLUMNS} VALUES {_VALUES}"  # noqa: S608  # ours
_SOME = f"INSERT INTO rows {_COLUMNS} VALUES {', '.join([_VALUES] * _TOGETHER)}"  # noqa: S608  # ours


class Row(msgspec.Struct, frozen=True, gc=False):
    """A message in the outbox: its place in the queue, its topic's kind, and its bytes."""

    id: int
    epoch: int
    seq: int
    kind: str
    payload: bytes


class NewRow(NamedTuple):
    """A row that has no place yet; `crc` is its payload's CRC-32, `value` what it is worth (see `Outbox.put`)."""

    epoch: int
    seq: int
    kind: str
    value: float | None
    payload: bytes
    crc: int


class Found(NamedTuple):
    """Good rows; and of those whose checksum doesn't hold, the id and the size in bytes."""

    rows: list[Row]
    damaged: list[tuple[int, int]]


def insert_rows(db: sqlite3.Connection, rows: Sequence[NewRow]) -> None:
    """Put rows at the queue's end. Raises `sqlite3.Error`."""
    whole = len(rows) - len(rows) % _TOGETHER
    for i in range(0, whole, _TOGETHER):
        db.execute(_SOME, [field for row in rows[i : i + _TOGETHER] for field in row])
    db.executemany(_ONE, rows[whole:])


def read_rows(
    db: sqlite3.Connection, after: int, limit: int, max_bytes: int, kinds: Collection[str] | None = None
) -> Found:
    """The oldest rows behind the id `after`: see `Outbox.pending`. Raises `sqlite3.Error`."""
    which = "" if kinds is None else f"AND kind IN ({', '.join('?' * len(kinds))})"
    found = Found([], [])
    size_bytes = 0
    cursor = db.execute(
        f"SELECT id, epoch, seq, kind, payload, crc FROM rows WHERE id > ? {which} ORDER BY id LIMIT ?",  # noqa: S608  # ours
        (after, *(kinds or ()), limit),
    )
    with closing(cursor):
        for row_id, epoch, seq, kind, payload, crc in cursor:
            if crc is not None and zlib.crc32(payload) != crc:
                found.damaged.append((row_id, len(payload)))
                continue
            found.rows.append(Row(row_id, epoch, seq, kind, payload))
            size_bytes += len(payload)
            if size_bytes >= max_bytes:
                break
    return found


def delete_acknowledged(db: sqlite3.Connection, epoch: int, ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Delete ranges of sequence numbers, both ends included: how many rows, how many bytes. Raises `sqlite3.Error`."""
    gone = gone_bytes = 0
    for first, last in ranges:
        where = (epoch, first, last)
        size = db.execute(
            "SELECT coalesce(sum(length(payload)), 0) FROM rows WHERE epoch = ? AND seq BETWEEN ? AND ?", where
        ).fetchone()[0]
        gone_bytes += int(size)
        gone += db.execute("DELETE FROM rows WHERE epoch = ? AND seq BETWEEN ? AND ?", where).rowcount
    return gone, gone_bytes


def delete_rows(db: sqlite3.Connection, ids: Collection[int]) -> None:
    """Delete rows by their ids. Raises `sqlite3.Error`."""
    db.executemany("DELETE FROM rows WHERE id = ?", [(row_id,) for row_id in ids])


def last_id(db: sqlite3.Connection) -> int:
    """The id of the row that was put last, there or not; 0 where none was. Raises `sqlite3.Error`."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rows'").fetchone()
    return int(row[0]) if row else 0
