"""The outbox: the device's queue on disk. A row leaves it only when the centre has committed it to the lake.

SQLite in WAL mode with `synchronous=FULL`: what `put` has returned for survives a power cut. Rows put together are one
transaction, and one sync.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.messages import Ack, Up, encode, kind_of

__all__ = ["Outbox", "OutboxCounters", "Row", "open_outbox"]

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value REAL,
    payload BLOB NOT NULL,
    UNIQUE (epoch, seq)
) STRICT;
CREATE INDEX IF NOT EXISTS rows_by_value ON rows (value) WHERE value IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Row:
    """A message in the outbox: its place in the queue, its topic's kind, and its bytes."""

    id: int
    epoch: int
    seq: int
    kind: str
    payload: bytes


@dataclass(frozen=True)
class OutboxCounters:
    """Since the outbox was made: `put` = `acknowledged` + `dropped` + `pending`; `pending_bytes` of payload wait."""

    put: int
    acknowledged: int
    dropped: int
    pending: int
    pending_bytes: int


class Outbox:
    """The queue of one device.

    Args:
        path: the database file; made with its folder where absent.
        max_bytes: payload that may wait. Past it, samples go, those of the lowest value first; events and profiles
            are never dropped.

    Raises:
        ConfigError: the file is no SQLite database, another process holds it, or the disk is full.

    Safe from several threads.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = 64 << 20) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ConfigError(f"outbox {path}: {error}: move the file away, or give another folder") from error

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        with self._transaction():
            # Above the last epoch, whatever the clock says; and with random bits, should this file ever get lost.
            fresh = (int(time.time()) << 20) | secrets.randbits(20)
            self.epoch = max(fresh, self._count("epoch") + 1)
            self._set("epoch", self.epoch)
        self._seq = 0
        self._pending_bytes = int(self._db.execute("SELECT coalesce(sum(length(payload)), 0) FROM rows").fetchone()[0])

    def put(self, messages: Sequence[Up], values: Sequence[float | None] | None = None) -> list[int]:
        """Queue messages in one transaction, durably; give back their sequence numbers.

        Args:
            messages: their `epoch` and `seq` are set here.
            values: for each message what it is worth keeping when the outbox is full; None is never dropped. Where
                `values` is None, no message may be dropped.
        """
        if not messages:
            return []
        with self._lock, self._transaction():
            first = self._seq + 1
            rows = []
            for seq, (message, value) in enumerate(zip(messages, values or [None] * len(messages), strict=True), first):
                payload = encode(msgspec.structs.replace(message, epoch=self.epoch, seq=seq))
                rows.append((self.epoch, seq, kind_of(message), value, payload))
            self._db.executemany("INSERT INTO rows (epoch, seq, kind, value, payload) VALUES (?, ?, ?, ?, ?)", rows)
            added = sum(len(row[4]) for row in rows)
            dropped, dropped_bytes = self._make_room(self._pending_bytes + added)
            self._add("put", len(rows))
            self._add("dropped", dropped)
        self._seq += len(rows)
        self._pending_bytes += added - dropped_bytes
        return list(range(first, first + len(rows)))

    def pending(self, after: int = 0, limit: int = 256) -> list[Row]:
        """Up to `limit` rows that wait, oldest first, from behind the row with id `after`."""
        with self._lock:
            found = self._db.execute(
                "SELECT id, epoch, seq, kind, payload FROM rows WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
            )
            return [Row(*row) for row in found]

    def acknowledge(self, ack: Ack) -> int:
        """Forget what the centre has committed; give back how many rows that were. What isn't here is no error."""
        with self._lock, self._transaction():
            gone = gone_bytes = 0
            for first, last in ack.ranges:
                where = (ack.epoch, first, last)
                size = self._db.execute(
                    "SELECT coalesce(sum(length(payload)), 0) FROM rows WHERE epoch = ? AND seq BETWEEN ? AND ?", where
                ).fetchone()[0]
                cursor = self._db.execute("DELETE FROM rows WHERE epoch = ? AND seq BETWEEN ? AND ?", where)
                gone += cursor.rowcount
                gone_bytes += int(size)
            self._add("acknowledged", gone)
        self._pending_bytes -= gone_bytes
        return gone

    def counters(self) -> OutboxCounters:
        """What became of all messages that were ever put."""
        with self._lock:
            pending = int(self._db.execute("SELECT count(*) FROM rows").fetchone()[0])
            return OutboxCounters(
                self._count("put"), self._count("acknowledged"), self._count("dropped"), pending, self._pending_bytes
            )

    def close(self) -> None:
        """Close the database; what waits stays in it."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_room(self, waiting_bytes: int) -> tuple[int, int]:
        """Drop the samples of the lowest value until at most `max_bytes` wait: how many, and of how many bytes."""
        dropped = dropped_bytes = 0
        if waiting_bytes <= self._max_bytes:
            return 0, 0
        by_value = "SELECT id, length(payload) FROM rows WHERE value IS NOT NULL ORDER BY value, id"
        victims = []
        for row_id, size in self._db.execute(by_value):
            victims.append((row_id,))
            dropped, dropped_bytes = dropped + 1, dropped_bytes + size
            if waiting_bytes - dropped_bytes <= self._max_bytes:
                break
        self._db.executemany("DELETE FROM rows WHERE id = ?", victims)
        return dropped, dropped_bytes

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _count(self, name: str) -> int:
        row = self._db.execute("SELECT n FROM counters WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _set(self, name: str, n: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, n))

    def _add(self, name: str, n: int) -> None:
        self._set(name, self._count(name) + n)


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK on an error: sqlite3's own context manager doesn't begin one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # SQLite ends some by itself, on a full disk for one
                self._db.execute("ROLLBACK")


def open_outbox(path: Path, *, max_bytes: int) -> tuple[Outbox, str]:
    """Open a device's outbox whatever the disk is like, and say where it is: "disk", or "memory".

    A damaged file is set aside, with `.damaged` at the end of its name, and a new one begun. Where none can be opened
    (the disk is full, or read-only), what is to be sent waits in memory, and goes with the process.

    Raises:
        ConfigError: another process holds the file.
    """
    for attempt in range(2):
        try:
            return Outbox(path, max_bytes=max_bytes), "disk"
        except (ConfigError, OSError) as error:
            cause = error.__cause__
            if "locked" in str(cause):
                raise
            log.warning("%s", error)
            if attempt or not isinstance(cause, sqlite3.DatabaseError) or isinstance(cause, sqlite3.OperationalError):
                break
            with contextlib.suppress(OSError):
                _set_aside(path)
    return Outbox(":memory:", max_bytes=max_bytes), "memory"


def _set_aside(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.replace(f"{path}.damaged")
