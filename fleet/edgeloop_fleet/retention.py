"""Keeping the lake small: files are joined on a schedule, and raw samples are deleted by device or by age.

What is deleted leaves its identity behind, in `forgotten`: a device that sends it once more doesn't bring it back.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import date, datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from edgeloop.errors import ConfigError
from edgeloop.topics import check_device_name
from edgeloop_fleet.dedupe import runs
from edgeloop_fleet.errors import LakeError
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.schemas import PARTITIONED, SCHEMAS

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Caretaker", "forget"]

log = logging.getLogger(__name__)

_RAW = ("samples", "quarantine")
# Whoever opens a table holds the list of its files, some 100 kB each, and goes through it at each commit, which takes
# three times the processor time with 400 of them as with 50.
_MANY_FILES = 100
_LOOK_S = 30.0


def forget(
    lake: Lake, *, device: str | None = None, before: date | None = None, erase: bool = True, why: str = ""
) -> dict[str, int]:
    """Delete raw samples, and the messages that were kept aside, which may be samples too.

    Args:
        lake: the lake.
        device: whose; None for all devices'.
        before: those that came before this UTC day; None for all days.
        erase: whether the files go at once. A reader that is at work fails then, and without it the rows can still be
            read in older versions of the table, until the retention of `Lake.compact` is over.
        why: is written down beside the identities.

    Returns:
        How many rows were deleted, by table.

    Raises:
        ConfigError: neither a device nor a day, or a name that no device has.
        LakeError: the storage failed; it can be called again.
    """
    if device is None and before is None:
        raise ConfigError("say whose samples are to be forgotten, or those before which day")
    parts = [] if device is None else [f"device = '{check_device_name(device)}'"]
    parts += [] if before is None else [f"day < DATE '{before.isoformat()}'"]
    where = " AND ".join(parts)
    deleted = {}
    for table in _RAW:
        _remember(lake, table, where, why)
        deleted[table] = lake.delete(table, where)
        if erase and deleted[table]:
            lake.compact(table, retention_hours=0)
    return deleted


def _remember(lake: Lake, table: str, where: str, why: str) -> None:
    """Write the identities down first: what a crash leaves both there and forgotten does no harm."""
    now = datetime.now(timezone.utc)
    found: list[dict[str, Any]] = []
    for batch in lake.scan(table, ("device", "epoch", "seq"), f"{where} AND device IS NOT NULL"):
        names, epochs, seqs = batch.columns
        found += [
            {"device": name, "epoch": epoch, "first": first, "last": last, "why": why, "time": now}
            for name, epoch, first, last in runs(names.cast(pa.string()).dictionary_encode(), epochs, seqs)
        ]
    if found:
        lake.append("forgotten", pa.Table.from_pylist(found, schema=SCHEMAS["forgotten"]))


class Caretaker:
    """Joins the lake's small files every now and then, and deletes old samples, for as long as the context lasts.

    Several at once do no harm: of two that join the same files one fails, and tries again the next time.

    Args:
        lake: its own connection to the storage is opened, so that no commit waits.
        every_s: how often, give or take a quarter; a table of more than `many` files is joined within half a minute.
        keep_days: for how many days samples are kept; None for ever.
        many: files.
    """

    def __init__(
        self, lake: Lake, *, every_s: float = 3600.0, keep_days: int | None = None, many: int = _MANY_FILES
    ) -> None:
        self._lake = lake.again()
        self._every_s, self._keep_days, self._many = every_s, keep_days, many
        self._closing = threading.Event()
        self._rng = random.Random()  # noqa: S311  # so that many don't come at once
        self._thread = threading.Thread(target=self._run, name="caretaker", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, after the table that is under way."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        next_s = self._next_s()
        while not self._closing.wait(min(_LOOK_S, max(0.0, next_s - time.monotonic()))):
            if time.monotonic() < next_s:
                self.join(self._many)
            else:
                self.tidy()
                next_s = self._next_s()

    def _next_s(self) -> float:
        return time.monotonic() + self._every_s * self._rng.uniform(0.75, 1.25)

    def join(self, more_than: int = 1) -> None:
        """Join the files of each table that has more than so many; what can't be joined now waits for the next time."""
        for table in sorted(PARTITIONED | {"devices", "runs"}):
            if self._closing.is_set():
                return
            try:
                if self._lake.files(table) > more_than:
                    self._lake.compact(table)
            except LakeError as error:
                log.warning("caretaker: %s", error)

    def tidy(self) -> None:
        """Do it all once, now."""
        started = time.monotonic()
        self.join()
        if self._keep_days is not None:
            today = datetime.now(timezone.utc).date()
            try:
                forget(self._lake, before=date.fromordinal(today.toordinal() - self._keep_days), why="age", erase=False)
            except LakeError as error:
                log.warning("caretaker: %s", error)
        log.info("caretaker: done in %.1f s", time.monotonic() - started)
