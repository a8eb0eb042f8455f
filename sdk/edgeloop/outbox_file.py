"""The outbox's file: opened by one process at a time, checked, and set aside where it is damaged, its rows saved."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from edgeloop.errors import ConfigError, StorageError

__all__ = ["Reserve", "is_damage", "is_locked", "lock", "open_checked", "storage_errors", "transaction"]

log = logging.getLogger(__name__)

_RESERVE_BYTES = 256 << 10
_ELSEWHERE = "stop that, or give another folder"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value REAL,
    payload BLOB NOT NULL,
    crc INTEGER NOT NULL,
    UNIQUE (epoch, seq)
) STRICT;
CREATE INDEX IF NOT EXISTS rows_by_value ON rows (value) WHERE value IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT;
"""


def lock(path: Path) -> int:
    """Hold `path` for this process until the descriptor is closed.

    Raises:
        ConfigError: another process has it.
        StorageError: the disk is full or fails.
    """
    with storage_errors(path):
        held = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(held)
            raise ConfigError(f"outbox {path}: another process has it open: {_ELSEWHERE}") from error
        except OSError:
            os.close(held)
            raise
    return held


def _connect(path: Path) -> sqlite3.Connection:
    """Open the database as the outbox needs it, and make its tables. Raises `sqlite3.Error`."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-512")
        db.executescript(_SCHEMA)
        with suppress(sqlite3.OperationalError):  # it has the column already, but for files of before 0.1
            db.execute("ALTER TABLE rows ADD COLUMN crc INTEGER")
    except BaseException:
        db.close()
        raise
    return db


def open_checked(path: Path, *, is_suspect: bool = False) -> tuple[sqlite3.Connection, bool]:
    """Open the outbox; one that is damaged is set aside, and a fresh one takes over what can be read of it.

    After a power cut or a kill (a WAL is left), or where it `is_suspect`, the whole file is checked first. The damaged
    file stays beside the new one as `<name>.damaged`, until the next one takes its place.

    Returns:
        The connection, and whether a file was set aside.

    Raises:
        StorageError: the disk is full or fails.
    """
    with storage_errors(path):
        wal = Path(f"{path}-wal")
        unclean = wal.exists() and wal.stat().st_size > 0
        try:
            db = _connect(path)
            try:
                problem = db.execute("PRAGMA quick_check(1)").fetchone()[0] if unclean or is_suspect else "ok"
                if problem == "ok":
                    return db, False
            except sqlite3.Error:
                db.close()
                raise
            db.close()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            problem = str(error)
        log.error("outbox %s is damaged (%s): set aside as %s.damaged", path, problem, path.name)
        aside = Path(f"{path}.damaged")
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
        Path(f"{path}-shm").unlink(missing_ok=True)
        db = _connect(path)
        try:
            _save_rows(aside, db)
        except BaseException:
            db.close()
            raise
        return db, True


def _save_rows(aside: Path, db: sqlite3.Connection) -> None:
    """Copy counters and rows out of a damaged file, as far as it can be read; rows only if their checksum holds."""
    saved = 0
    with closing(sqlite3.connect(aside, isolation_level=None)) as old, transaction(db):
        with suppress(sqlite3.Error):
            db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", old.execute("SELECT * FROM counters"))
        for order in ("ASC", "DESC"):  # from both ends, since reading stops at the damage
            with suppress(sqlite3.Error):
                for row in old.execute(
                    f"SELECT id, epoch, seq, kind, value, payload, crc FROM rows ORDER BY id {order}"  # noqa: S608  # ours
                ):
                    if isinstance(row[5], bytes) and zlib.crc32(row[5]) == row[6]:
                        with suppress(sqlite3.IntegrityError):
                            db.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        saved = db.execute("SELECT count(*) FROM rows").fetchone()[0]
    log.warning("outbox: %d rows were saved from the damaged file", saved)


class Reserve:
    """Room on the disk, held for sending and forgetting: a full outbox couldn't even say what may go without it.

    Nothing may be put while it isn't held, since that would fill it again.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}.reserve")
        self._held = False
        with suppress(OSError):
            self.hold()

    def hold(self) -> None:
        """Take the room, where it isn't held. Raises `OSError`."""
        if self._held:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, _RESERVE_BYTES)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)
        self._held = True

    def release(self) -> bool:
        """Give the room free; whether it was held."""
        held, self._held = self._held, False
        if held:
            self._path.unlink(missing_ok=True)
        return held


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is damaged: SQLite says so with the base class itself, and says nothing else with it."""
    return type(error) is sqlite3.DatabaseError


def is_locked(error: BaseException | None) -> bool:
    """Whether another program holds the file."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into `StorageError`; nothing was changed then."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        advice = (
            f"another program has it open: {_ELSEWHERE}"
            if is_locked(error)
            else "make room on the disk, or give another folder"
        )
        raise StorageError(f"outbox {path}: {error}: {advice}") from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK on an error: sqlite3's own context manager doesn't begin one."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk may have rolled it back by itself
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise
