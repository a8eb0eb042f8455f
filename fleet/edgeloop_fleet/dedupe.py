"""Which identities are committed: for each (device, epoch) the sequence numbers, as disjoint ranges.

A device counts without gaps, so that what is stored is nearly always one range: a high-water mark. Gaps, from rows
that are still under way or came out of order, cost one more range each. What is held in memory is bounded; the rest is
read from the lake when its device is heard of.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np

__all__ = ["Ranges", "Seen", "runs"]


class Ranges:
    """A set of integers as sorted, disjoint, inclusive ranges that don't touch."""

    def __init__(self, values: Iterable[int] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.update(values)

    def __contains__(self, value: int) -> bool:
        i = bisect_right(self._starts, value) - 1
        return i >= 0 and value <= self._ends[i]

    def update(self, values: Iterable[int]) -> None:
        """Add integers; those that are in already change nothing. Cheap where many follow one another."""
        first = last = None
        for value in sorted(values):
            if first is None or last is None:
                first = last = value
            elif value <= last + 1:
                last = value
            else:
                self.add_range(first, last)
                first = last = value
        if first is not None and last is not None:
            self.add_range(first, last)

    def add_range(self, first: int, last: int) -> None:
        """Add all integers from `first` to `last`."""
        i = bisect_left(self._ends, first - 1)  # the first range that touches it, or lies behind
        j = bisect_right(self._starts, last + 1)  # behind the last one that does
        if i < j:
            first, last = min(first, self._starts[i]), max(last, self._ends[j - 1])
        self._starts[i:j] = [first]
        self._ends[i:j] = [last]

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._starts)

    def as_tuple(self) -> tuple[tuple[int, int], ...]:
        """The ranges, ascending, both ends included."""
        return tuple(zip(self._starts, self._ends, strict=True))


class Seen:
    """The identities (device, epoch, seq) that are committed: those of the devices that were heard of last.

    Args:
        read: gives the ranges (device, epoch, first, last) that are committed of some devices, in any order; they may
            overlap and repeat.
        max_ranges: how many ranges are held at once, of some 100 bytes each. A device that was evicted is read again.
    """

    def __init__(
        self, read: Callable[[Collection[str]], Iterable[tuple[str, int, int, int]]], max_ranges: int = 250_000
    ) -> None:
        self._read = read
        self._max_ranges = max_ranges
        self._devices: OrderedDict[str, dict[int, Ranges]] = OrderedDict()
        self._held = 0

    @property
    def held(self) -> int:
        """How many ranges are held."""
        return self._held

    def load(self, devices: Collection[str]) -> None:
        """Have these devices at hand, and evict others where there are too many."""
        unknown = [device for device in devices if device not in self._devices]
        if unknown:
            found: dict[str, dict[int, Ranges]] = {device: {} for device in unknown}
            for device, epoch, first, last in self._read(unknown):
                found[device].setdefault(epoch, Ranges()).add_range(first, last)
            self._devices.update(found)
            self._held += sum(map(_cost, found.values()))
        for device in devices:
            self._devices.move_to_end(device)
        while self._held > self._max_ranges and len(self._devices) > len(devices):
            self._held -= _cost(self._devices.popitem(last=False)[1])

    def of(self, device: str, epoch: int) -> Ranges:
        """The sequence numbers that are committed of one boot; its device must be loaded. To be read only."""
        return self._devices[device].get(epoch) or Ranges()

    def add(self, device: str, epoch: int, seqs: Iterable[int]) -> None:
        """Add sequence numbers of one boot of a loaded device; those that are in already change nothing."""
        epochs = self._devices[device]
        before = len(epochs[epoch]) if epoch in epochs else -1
        ranges = epochs.setdefault(epoch, Ranges())
        ranges.update(seqs)
        self._held += len(ranges) - before

    def clear(self) -> None:
        """Forget all, so that it is read again."""
        self._devices.clear()
        self._held = 0


def _cost(epochs: dict[int, Ranges]) -> int:
    """An empty device and an empty epoch take about as much memory as a range."""
    return 1 + sum(1 + len(ranges) for ranges in epochs.values())


def runs(device: Any, epoch: Any, seq: Any) -> Iterator[tuple[str, int, int, int]]:
    """Identities in columns, as ranges (device, epoch, first, last); few where they come in order.

    Args:
        device: (n,) a dictionary-encoded `pyarrow` array of strings.
        epoch: (n,) int64.
        seq: (n,) int64.
    """
    if not len(seq):
        return
    codes = device.indices.to_numpy(zero_copy_only=False)
    epochs, seqs = (column.to_numpy(zero_copy_only=False) for column in (epoch, seq))
    order = np.lexsort((seqs, epochs, codes))
    codes, epochs, seqs = codes[order], epochs[order], seqs[order]
    breaks = (np.diff(codes) != 0) | (np.diff(epochs) != 0) | (np.diff(seqs) > 1)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    ends = np.concatenate([starts[1:], [len(seqs)]]) - 1
    names = device.dictionary.to_pylist()
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield names[codes[start]], int(epochs[start]), int(seqs[start]), int(seqs[end])
