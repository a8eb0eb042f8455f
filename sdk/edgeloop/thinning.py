"""What leaves a full outbox: samples of the lowest value are dropped, then profiles are merged. The rest always stays.

Profiles merge by adding their counts, exactly, so that only resolution in time is lost. A row that may have been sent
is never merged: the centre may have it, and would count it twice.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from edgeloop.errors import MessageError
from edgeloop.messages import ProfileMessage, decode_up, encode_up
from edgeloop.profile import pack_counts, unpack_counts

__all__ = ["Thinned", "drop_samples", "merge_profiles", "merged"]

_MAX_PASSES = 64  # of which each at least doubles the longest window


@dataclass
class Thinned:
    """How many rows went, and how many bytes of payload less there are."""

    rows: int = 0
    bytes: int = 0


def drop_samples(db: sqlite3.Connection, rows: int, size_bytes: int) -> Thinned:
    """Delete the rows of the lowest value, the oldest of equals first, until `rows` and `size_bytes` are freed."""
    gone = Thinned()
    victims = []
    for row_id, size in db.execute("SELECT id, length(payload) FROM rows WHERE value IS NOT NULL ORDER BY value, id"):
        if gone.rows >= rows and gone.bytes >= size_bytes:
            break
        victims.append((row_id,))
        gone.rows, gone.bytes = gone.rows + 1, gone.bytes + size
    db.executemany("DELETE FROM rows WHERE id = ?", victims)
    return gone


def merge_profiles(db: sqlite3.Connection, device: str, after: int, rows: int, size_bytes: int) -> Thinned:
    """Merge neighbouring profiles behind the row with id `after`, the shortest first, until enough is freed.

    Pass by pass the longest window that may come out doubles, so that resolution is lost evenly.
    """
    gone = Thinned()

    def enough() -> bool:
        return gone.rows >= rows and gone.bytes >= size_bytes

    span_s: float | None = 0.0
    for _ in range(_MAX_PASSES):
        if span_s is None or enough():
            break
        longer_s = _merge_pass(db, device, after, span_s, gone, enough)
        span_s = None if longer_s is None else max(2 * span_s, longer_s)
    return gone


def _merge_pass(
    db: sqlite3.Connection, device: str, after: int, span_s: float, gone: Thinned, enough: Callable[[], bool]
) -> float | None:
    """Merge pairs whose joint window is at most `span_s`; give the shortest of the longer ones, None for none."""
    longer_s: float | None = None
    last: tuple[int, int, ProfileMessage] | None = None
    position = after
    while not enough():
        row = db.execute(
            "SELECT id, length(payload), payload FROM rows WHERE id > ? AND kind = 'profile' ORDER BY id LIMIT 1",
            (position,),
        ).fetchone()
        if row is None:
            break
        position, size, payload = row
        try:
            profile = decode_up("profile", device, payload)
        except MessageError:  # the centre will say what is wrong with it
            last = None
            continue
        assert isinstance(profile, ProfileMessage)  # noqa: S101  # for the type checker: its kind says so
        if last is not None and (joint := merged(last[2], profile)) is not None:
            joint_s = joint.end_s - joint.start_s
            if joint_s <= span_s:
                data = encode_up(joint)
                db.execute("DELETE FROM rows WHERE id = ?", (last[0],))
                db.execute("UPDATE rows SET payload = ?, crc = ? WHERE id = ?", (data, zlib.crc32(data), position))
                gone.rows, gone.bytes = gone.rows + 1, gone.bytes + last[1] + size - len(data)
                last = None
                continue
            longer_s = joint_s if longer_s is None else min(longer_s, joint_s)
        last = (position, size, profile)
    return longer_s


def merged(a: ProfileMessage, b: ProfileMessage) -> ProfileMessage | None:
    """The profile of both windows, with the identity of `b`; None where they aren't of one model and its bins."""
    if a.model != b.model:
        return None
    try:
        counts = unpack_counts(a.counts), unpack_counts(b.counts)
    except MessageError:
        return None
    if len(counts[0]) != len(counts[1]):
        return None
    return msgspec.structs.replace(
        b,
        start_s=min(a.start_s, b.start_s),
        end_s=max(a.end_s, b.end_s),
        n=a.n + b.n,
        left_out=a.left_out + b.left_out,
        counts=pack_counts(counts[0] + counts[1]),
    )
