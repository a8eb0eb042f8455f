"""What became of the messages that were put into an outbox."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["COUNTED", "OutboxCounters"]


@dataclass(frozen=True)
class OutboxCounters:
    """Since the outbox was made: `put` = `acknowledged` + `dropped` + `merged` + `damaged` + `pending`.

    Args:
        put: messages that were queued.
        acknowledged: that the centre has committed.
        dropped: samples that a full outbox had no room for.
        pending: that wait.
        pending_bytes: their payload.
        held: that wait in memory, since the disk is full or fails; not among those that were put.
        merged: profiles that went into others in a full outbox.
        damaged: rows that the disk has damaged.
        set_aside: how often the whole file was damaged, and set aside.
        lost: messages that never came in: the disk was full or failing for too long.
        withheld: messages that the redaction hook has kept back, or failed on.
        oversized: samples longer than a message may be.
    """

    put: int
    acknowledged: int
    dropped: int
    pending: int
    pending_bytes: int
    held: int = 0
    merged: int = 0
    damaged: int = 0
    set_aside: int = 0
    lost: int = 0
    withheld: int = 0
    oversized: int = 0


COUNTED = tuple(
    field.name for field in fields(OutboxCounters) if field.name not in {"pending", "pending_bytes", "held"}
)
"""The counters that only grow: they are kept in the outbox's file."""
