"""Which identities are committed: for each (device, epoch) the sequence numbers, as disjoint ranges.

A device counts without gaps, so that what is stored is nearly always one range: a high-water mark. Gaps, from rows
that are still under way or came out of order, cost one more range each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["Ranges", "Seen"]


class Ranges:
    """A set of integers as sorted, disjoint, inclusive ranges that don't touch."""

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for value in values:
            self.add(value)

    def __contains__(self, value: int) -> bool:
        i = bisect_right(self._starts, value) - 1
        return i >= 0 and value <= self._ends[i]

    def add(self, value: int) -> None:
        """Add one integer; one that is in already changes nothing."""
        i = bisect_right(self._starts, value)
        if i and value <= self._ends[i - 1]:
            return
        left = i > 0 and self._ends[i - 1] == value - 1
        right = i < len(self._starts) and self._starts[i] == value + 1
        if left and right:
            self._ends[i - 1] = self._ends.pop(i)
            del self._starts[i]
        elif left:
            self._ends[i - 1] = value
        elif right:
            self._starts[i] = value
        else:
            self._starts.insert(i, value)
            self._ends.insert(i, value)

    def as_tuple(self) -> tuple[tuple[int, int], ...]:
        """The ranges, ascending, both ends included."""
        return tuple(zip(self._starts, self._ends, strict=True))


class Seen:
    """The identities (device, epoch, seq) that are committed."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, int], Ranges] = {}

    def __contains__(self, identity: tuple[str, int, int]) -> bool:
        ranges = self._ranges.get(identity[:2])
        return ranges is not None and identity[2] in ranges

    def add(self, identities: Iterable[tuple[str, int, int]]) -> None:
        """Add identities; those that are in already change nothing."""
        for device, epoch, seq in identities:
            self._ranges.setdefault((device, epoch), Ranges()).add(seq)

    def ranges(self) -> dict[tuple[str, int], tuple[tuple[int, int], ...]]:
        """The ranges of each (device, epoch)."""
        return {key: ranges.as_tuple() for key, ranges in self._ranges.items()}
