"""Predictions in a SQLite table."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from edgeloop.errors import DataError
from edgeloop.runtime import Prediction, Runtime
from edgeloop.sinks.base import record

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Sqlite", "SqliteSink"]

log = logging.getLogger(__name__)

_HELD_ROWS = 256

_CREATE = """
CREATE TABLE IF NOT EXISTS predictions (
    id INTEGER PRIMARY KEY,
    time_s REAL NOT NULL,
    ref TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    class INTEGER,
    label TEXT,
    confidence REAL,
    output TEXT,
    latency_us REAL NOT NULL
)"""
_INSERT = """
INSERT INTO predictions (time_s, ref, model, version, class, label, confidence, output, latency_us)
VALUES (:time_s, :ref, :model, :version, :index, :label, :confidence, :output, :latency_us)"""

_COLUMNS = ("time_s", "ref", "model", "version", "index", "label", "confidence", "output", "latency_us")


class Sqlite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sqlite"):
    """The table `predictions` of a SQLite file."""

    path: str

    def open(self, _device: str) -> SqliteSink:
        """Open or create the file; see `SqliteSink`."""
        return SqliteSink(self.path)


class SqliteSink:
    """Inserts predictions into the table `predictions`, some hundred in a transaction and at `flush`.

    `output` is JSON, and there where there is no class. Rows for which there is no room are lost and counted.

    Args:
        path: the file; created with its table where it isn't there.

    Raises:
        DataError: it can't be opened (but for a full disk), is no SQLite file, or has another table of that name.
    """

    def __init__(self, path: str) -> None:
        import sqlite3  # 1 MB, for who writes into one

        self.lost = 0
        self._path = path
        self._held: list[dict[str, Any]] = []
        self._db: sqlite3.Connection | None = None
        try:
            self._open()
        except sqlite3.Error as error:
            if "full" not in str(error):
                raise DataError(f"{path}: {error}") from error
            log.warning("%s: %s", path, error)  # there may be room later

    def _open(self) -> sqlite3.Connection:
        """The database; opened here if it isn't. Raises `sqlite3.Error`."""
        import sqlite3

        if self._db is None:
            # Rows of the last transactions may go with the power; they are copies of what the outbox sends.
            db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                db.execute(_CREATE)
                db.execute(f"EXPLAIN {_INSERT}", dict.fromkeys(_COLUMNS))
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def write(self, ref: str, prediction: Prediction, runtime: Runtime) -> None:
        """Add one row."""
        row = record(ref, prediction, runtime)
        output = row.get("output")
        row["output"] = None if output is None else json.dumps(output)
        row["model"] = runtime.manifest.name
        self._held.append(row)
        if len(self._held) >= _HELD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Insert what is held, in one transaction."""
        if not self._held:
            return
        import sqlite3

        rows, self._held = self._held, []
        try:
            with self._open() as db:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_INSERT, rows)
        except sqlite3.Error as error:
            log.log(logging.DEBUG if self.lost else logging.WARNING, "%s: %s", self._path, error)
            self.lost += len(rows)

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        if self._db is not None:
            self._db.close()
