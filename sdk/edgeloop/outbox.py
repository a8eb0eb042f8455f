"""The outbox: the device's queue on disk. A row leaves it only when the centre has committed it to the lake.

SQLite in WAL mode with `synchronous=FULL`: what `put` has returned for survives a power cut. Rows put together are one
transaction, and one sync. Forgetting isn't synced: what comes back after a power cut is sent again, and known there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from edgeloop.errors import StorageError
from edgeloop.fair_lock import FairLock
from edgeloop.held import Held
from edgeloop.messages import MAX_SAMPLE_BYTES, Ack, Up, encode_up, kind_of
from edgeloop.outbox_counters import COUNTED, OutboxCounters
from edgeloop.outbox_file import Reserve, is_damage, is_locked, lock, open_checked, storage_errors, transaction
from edgeloop.outbox_rows import (
    NewRow,
    Row,
    delete_acknowledged,
    delete_rows,
    insert_rows,
    last_id,
    read_rows,
)
from edgeloop.redaction import Redact, redacted
from edgeloop.thinning import drop_samples, merge_profiles

__all__ = ["MEMORY", "Outbox", "OutboxCounters", "Row"]

log = logging.getLogger(__name__)

MEMORY = ":memory:"
"""The path of an outbox that has no file, and goes with the process."""

_MAY_BE_SENT_AHEAD = 1024  # rows, for each write of how far they may have been sent
_ROOM = 0.95  # a full outbox is thinned down to this, so that it isn't at every put

T = TypeVar("T")


class Outbox:
    """The queue of one device.

    Args:
        path: the database file; made with its folder where absent. One that is damaged is set aside as
            `<path>.damaged`, and what can be read of it is taken over. See `MEMORY`, too.
        max_bytes: payload that may wait. Past it, samples go, those of the lowest value first; then profiles that were
            never sent are merged with their neighbours; all else is kept, whatever it takes.
        max_rows: how many messages may wait, likewise.
        redact: is given each message before it is queued, and gives back what may leave the device in its place, or
            None for nothing. Where it raises, the message is kept back too.

    Raises:
        ConfigError: another process holds the file.
        StorageError: it can't be opened, or the disk is full.

    Safe from several threads.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = 64 << 20,
        max_rows: int = 100_000,
        redact: Redact | None = None,
    ) -> None:
        self._path = Path(path)
        self._max_bytes, self._max_rows = max_bytes, max_rows
        self._redact = redact
        self._lock = FairLock()
        self._held = Held()
        self._counts: Counter[str] = Counter()  # of this run alone, until they are written
        self.epoch, self._seq = 0, 0
        self._read_to = 0  # the id of the last row that was read
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        is_file = str(path) != MEMORY
        self._locked = lock(self._path) if is_file else -1
        try:
            self._reserve = Reserve(self._path) if is_file else None
            try:
                self._open()
            except StorageError as error:  # on a full disk what waits can be sent all the same
                if is_locked(error.__cause__) or self._reserve is None or not self._reserve.release():
                    raise
                self._open()
        except BaseException:
            self._unlock()
            raise

    def _open(self, *, is_suspect: bool = False) -> None:
        self._db, set_aside = open_checked(self._path, is_suspect=is_suspect)
        try:
            with storage_errors(self._path):
                self._adopt(set_aside)
        except sqlite3.DatabaseError:  # it was closed in order, and is damaged all the same
            self._db.close()
            if is_suspect:
                raise
            self._open(is_suspect=True)
        except BaseException:
            self._db.close()
            raise

    def _unlock(self) -> None:
        if self._locked >= 0:
            os.close(self._locked)
            self._locked = -1

    def _adopt(self, set_aside: bool) -> None:
        """Read where the file stands; begin an epoch, but for one that this run has begun already."""
        stored = dict(self._db.execute("SELECT name, n FROM counters"))
        if not self.epoch:
            # Above the last epoch, whatever the clock says; and with random bits, should this file ever get lost.
            fresh = (max(0, int(time.time())) << 20) | secrets.randbits(20)
            self.epoch = max(fresh, stored.get("epoch", 0) + 1)
        self._totals: Counter[str] = Counter({name: stored.get(name, 0) for name in COUNTED})
        self._pending, self._pending_bytes = self._db.execute(
            "SELECT count(*), coalesce(sum(length(payload)), 0) FROM rows"
        ).fetchone()
        self._may_be_sent = stored.get("may_be_sent", 0)
        if set_aside:
            last = self._db.execute("SELECT coalesce(max(id), 0) FROM rows").fetchone()[0]
            self._may_be_sent = max(self._may_be_sent, last)
            t = self._totals
            t["damaged"] = max(0, t["put"] - t["acknowledged"] - t["dropped"] - t["merged"] - self._pending)
            t["set_aside"] += 1
        with transaction(self._db):
            self._write(Counter())
            self._store("epoch", self.epoch)
            self._store("may_be_sent", self._may_be_sent)
            for name in COUNTED:
                self._store(name, self._totals[name])

    def put(self, messages: Sequence[Up], values: Sequence[float | None] | None = None) -> list[int]:
        """Queue messages in one transaction, durably; give back their sequence numbers.

        Args:
            messages: their `epoch` and `seq` are set here.
            values: for each message what it is worth keeping when the outbox is full; None is never dropped. Where
                `values` is None, no message may be dropped.

        Raises:
            StorageError: the disk is full or fails; none was queued.
        """
        with self._lock:
            return self._put(self._redacted(list(zip(messages, values or [None] * len(messages), strict=True))))

    def offer(self, messages: Sequence[Up], values: Sequence[float | None] | None = None) -> bool:
        """`put` for who can't do anything about a full disk: what isn't taken is kept in memory and put with the next.

        What is too much for that is lost, and counted; see `Held`.

        Returns:
            Whether all is on disk now.
        """
        with self._lock:
            allowed = self._redacted(list(zip(messages, values or [None] * len(messages), strict=True)))
            try:
                self._put(self._held.messages + allowed)
            except StorageError as error:
                log.log(logging.DEBUG if self._held else logging.WARNING, "%s", error)
                self._counts["lost"] += self._held.keep(allowed)
                return False
            self._held.clear()
            return True

    def pending(
        self, after: int = 0, limit: int = 256, *, max_bytes: int = 1 << 20, kinds: Collection[str] | None = None
    ) -> list[Row]:
        """Rows that wait, oldest first, from behind the row with id `after`; from then on they count as sent.

        Args:
            after: the id of a row, there or not.
            limit: at most this many.
            max_bytes: stop once they have this much payload.
            kinds: only these kinds; None for all.

        Raises:
            StorageError: the disk fails.
        """
        with self._lock:
            return self._guarded(lambda: self._read(after, limit, max_bytes, kinds))

    def row(self, row_id: int) -> Row | None:
        """One row that waits, by its id; None where it was acknowledged, or thinned out."""
        found = self.pending(row_id - 1, 1)
        return found[0] if found and found[0].id == row_id else None

    def acknowledge(self, ack: Ack) -> int:
        """Forget what the centre has committed; give back how many rows that were. What isn't here is no error.

        Raises:
            StorageError: the disk fails; the rows stay, and are sent again.
        """
        with self._lock:
            return self._guarded(lambda: self._forget(ack))

    @property
    def last_id(self) -> int:
        """The id of the row that was put last; 0 where none was."""
        with self._lock:
            return last_id(self._db)

    def counters(self) -> OutboxCounters:
        """What became of all messages that were ever put."""
        with self._lock:
            now = self._totals + self._counts
            return OutboxCounters(
                pending=self._pending,
                pending_bytes=self._pending_bytes,
                held=len(self._held),
                **{name: now[name] for name in COUNTED},
            )

    def close(self) -> None:
        """Close the database; what waits stays in it. A second call does nothing."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._db.close()
            self._unlock()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # All below is called with the lock held.

    def _redacted(self, messages: list[tuple[Up, float | None]]) -> list[tuple[Up, float | None]]:
        if self._redact is None:
            return messages
        allowed = [
            (left, value) for message, value in messages if (left := redacted(self._redact, message)) is not None
        ]
        self._counts["withheld"] += len(messages) - len(allowed)
        return allowed

    def _put(self, messages: list[tuple[Up, float | None]]) -> list[int]:
        return self._guarded(lambda: self._insert(messages)) if messages else []

    def _insert(self, messages: list[tuple[Up, float | None]]) -> list[int]:
        if self._reserve is not None:
            self._reserve.hold()
        rows: list[NewRow] = []
        delta: Counter[str] = Counter()
        for message, value in messages:
            seq = self._seq + len(rows) + 1
            payload = encode_up(msgspec.structs.replace(message, epoch=self.epoch, seq=seq))
            if len(payload) > MAX_SAMPLE_BYTES:
                delta["oversized"] += 1
            else:
                rows.append(NewRow(self.epoch, seq, kind_of(message), value, payload, zlib.crc32(payload)))
        added = sum(len(row.payload) for row in rows)
        may_be_sent = self._may_be_sent
        with transaction(self._db):
            insert_rows(self._db, rows)
            if self._read_to and self._read_to > may_be_sent - _MAY_BE_SENT_AHEAD // 2:  # no sync of its own here
                may_be_sent = self._read_to + _MAY_BE_SENT_AHEAD
                self._store("may_be_sent", may_be_sent)
            delta["put"] += len(rows)
            gone_rows, gone_bytes = self._thin(
                messages[0][0].device, self._pending + len(rows), self._pending_bytes + added, delta
            )
            self._write(delta)
        self._wrote(delta)
        self._may_be_sent = may_be_sent
        self._seq += len(rows)
        self._pending += len(rows) - gone_rows
        self._pending_bytes += added - gone_bytes
        return [row.seq for row in rows]

    def _thin(self, device: str, rows: int, size_bytes: int, delta: Counter[str]) -> tuple[int, int]:
        """Make room where there is too much: how many rows went, and how many bytes."""
        if rows <= self._max_rows and size_bytes <= self._max_bytes:
            return 0, 0
        dropped = drop_samples(self._db, rows - self._max_rows, size_bytes - self._max_bytes)
        rows, size_bytes = rows - dropped.rows, size_bytes - dropped.bytes
        delta["dropped"] += dropped.rows
        if rows <= self._max_rows and size_bytes <= self._max_bytes:
            return dropped.rows, dropped.bytes
        joined = merge_profiles(
            self._db,
            device,
            self._may_be_sent,
            rows - int(_ROOM * self._max_rows) if rows > self._max_rows else 0,
            size_bytes - int(_ROOM * self._max_bytes) if size_bytes > self._max_bytes else 0,
        )
        delta["merged"] += joined.rows
        return dropped.rows + joined.rows, dropped.bytes + joined.bytes

    def _read(self, after: int, limit: int, max_bytes: int, kinds: Collection[str] | None) -> list[Row]:
        found = read_rows(self._db, after, limit, max_bytes, kinds)
        if found.damaged:
            self._discard(found.damaged)
        if found.rows:
            self._read_to = found.rows[-1].id
            if self._read_to > self._may_be_sent:
                ahead = self._read_to + _MAY_BE_SENT_AHEAD
                with transaction(self._db):
                    self._store("may_be_sent", ahead)
                self._may_be_sent = ahead
        return found.rows

    def _discard(self, damaged: list[tuple[int, int]]) -> None:
        log.error("outbox %s: %d rows are damaged, and can't be sent", self._path, len(damaged))
        delta = Counter({"damaged": len(damaged)})
        with transaction(self._db):
            delete_rows(self._db, [row_id for row_id, _ in damaged])
            self._write(delta)
        self._wrote(delta)
        self._pending -= len(damaged)
        self._pending_bytes -= sum(size for _, size in damaged)

    def _forget(self, ack: Ack) -> int:
        self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            with transaction(self._db):
                gone, gone_bytes = delete_acknowledged(self._db, ack.epoch, ack.ranges)
                delta = Counter({"acknowledged": gone})
                self._write(delta)
        finally:
            self._db.execute("PRAGMA synchronous=FULL")
        self._wrote(delta)
        self._pending -= gone
        self._pending_bytes -= gone_bytes
        return gone

    def _guarded(self, work: Callable[[], T]) -> T:
        """Do `work`; once more where a damaged file was replaced, or the disk is full and the reserve helps.

        What puts holds the reserve first (see `_insert`), so that only reading and forgetting get anything from it.
        """
        with storage_errors(self._path):
            try:
                return work()
            except sqlite3.DatabaseError as error:
                damaged = is_damage(error)
                if not damaged and not ("full" in str(error) and self._reserve is not None and self._reserve.release()):
                    raise
                log.error("outbox %s: %s", self._path, error)  # noqa: TRY400  # it is mended right away
        if damaged:
            self._db.close()
            self._open(is_suspect=True)
        with storage_errors(self._path):
            return work()

    def _write(self, delta: Counter[str]) -> None:
        for name in {*delta, *self._counts}:
            self._store(name, self._totals[name] + self._counts[name] + delta[name])

    def _wrote(self, delta: Counter[str]) -> None:
        self._totals += self._counts + delta
        self._counts.clear()

    def _store(self, name: str, n: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, n))
