"""The ring of what the runtime has seen: it keeps bytes and what they mean, and decodes when they are taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ring", "Row", "SampleForm", "Seen"]

Array: TypeAlias = NDArray[Any]

_MAX_ROWS = 1024
_MIN_ROWS = 4
_ROW_OVERHEAD_BYTES = 300  # the objects around a row's bytes


@dataclass(frozen=True)
class Seen:
    """A batch of what was seen, oldest first: n rows in each.

    Args:
        inputs: (n, …) as they came from the sensor, in a dtype that holds them all; float64 is given as float32.
        outputs: (n, …) in real units, float32; (n, 0) where they are not all of one size.
        refs: the inputs' names at their source.
        latency_us: (n,) float32.
        overwritten: how many more were seen, and overwritten before they were taken.
    """

    inputs: NDArray[np.generic]
    outputs: NDArray[np.float32]
    refs: list[str]
    latency_us: NDArray[np.float32]
    overwritten: int

    def __len__(self) -> int:
        return len(self.refs)

    def part(self, rows: NDArray[np.intp]) -> Seen:
        """Some of its rows, by their indices."""
        refs = [self.refs[i] for i in rows.tolist()]
        return Seen(self.inputs[rows], self.outputs[rows], refs, self.latency_us[rows], self.overwritten)


class SampleForm(NamedTuple):
    """What a sample's bytes mean.

    Args:
        dtype: of its values.
        shape: of the sample.
        decode: from samples (n, …) of these to what the sensor gave; None where they are that.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    decode: Callable[[Array], Array] | None = None


Row: TypeAlias = tuple[bytes, SampleForm, bytes, str, int]
"""A sample's bytes in C order, and what they mean; the first output's, as the model stores it; the input's name at its
source; the latency in nanoseconds.

Bytes are the cheapest copy: 0.1 µs for 640 values, where assigning to a row of a preallocated array takes 0.3 µs.
"""


class Ring:
    """Holds the last rows, up to 1,024 and up to `memory_bytes` (but at least 4).

    One thread writes and one reads, which may be another one.

    Args:
        memory_bytes: what the rows may take.
        row_bytes: what the smallest row takes: its sample and its output. See `expect`.
        decode: from the model's first outputs as it stores them, (n, …), to real values.
        output: dtype and shape of one first output.

    Row n is in `places`, at n modulo their number; `came` is how many rows there were. A row is in its place before it
    is counted.
    """

    def __init__(
        self,
        memory_bytes: int,
        row_bytes: int,
        decode: Callable[[Array], NDArray[np.float32]],
        output: tuple[np.dtype[Any], tuple[int, ...]],
    ) -> None:
        self._decode, self._output = decode, output
        self._memory_bytes = memory_bytes
        self.came = self._taken = 0
        # One more than it holds: the next row's place, of which the thread that reads can't know whether it is written.
        self.places: list[Row | None] = [None] * (_MAX_ROWS + 1)
        self.expect(row_bytes)

    def append(self, row: Row) -> None:
        """Take a row, in the place of the oldest. Who calls often writes these lines out: see `Runtime.run`."""
        came, places = self.came, self.places
        places[came % len(places)] = row
        self.came = came + 1

    def expect(self, row_bytes: int) -> None:
        """Rows of this size are to come: where too few fit, the ring gets shorter. For the thread that writes."""
        rows = max(_MIN_ROWS, self._memory_bytes // (row_bytes + _ROW_OVERHEAD_BYTES))
        had, came = self.places, self.came
        if rows + 1 < len(had):
            fewer: list[Row | None] = [None] * (rows + 1)
            for number in range(max(0, came - rows), came):
                fewer[number % (rows + 1)] = had[number % len(had)]
            self.places = fewer

    def take(self) -> Seen:
        """All rows since the last call, oldest first."""
        # What came until now is in its place; what comes from here on overwrites the oldest, even while this reads.
        # Rows stay until then: the next ones get their memory, which else went back to the system.
        came = self.came
        places = self.places.copy()
        first = max(self._taken, self.came - len(places) + 1)
        at, end = first % len(places), came % len(places)
        found = () if first >= came else places[at:end] if at < end else places[at:] + places[:end]
        rows = [row for row in found if row is not None]
        if not rows:
            none = np.empty(0, dtype=np.float32)
            return Seen(none, none, [], none, 0)
        overwritten, self._taken = first - self._taken, came
        samples, forms, outputs, refs, latencies_ns = zip(*rows, strict=True)
        return Seen(
            inputs=_decoded(samples, forms),
            outputs=self._decode(self._stacked(outputs)),
            refs=list(refs),
            latency_us=(np.array(latencies_ns, dtype=np.int64) / 1e3).astype(np.float32),
            overwritten=overwritten,
        )

    @property
    def is_half_full(self) -> bool:
        """Whether it is time to take what is in it."""
        return (self.came - self._taken) * 2 >= len(self.places) - 1

    def _stacked(self, outputs: tuple[bytes, ...]) -> Array:
        dtype, shape = self._output
        values = np.frombuffer(bytearray().join(outputs), dtype=dtype)
        sizes = {len(each) for each in outputs}
        if len(sizes) > 1:  # detections, as many as there are: no table of them
            return np.empty((len(outputs), 0), dtype=dtype)
        fits = values.size == len(outputs) * math.prod(shape)
        return values.reshape(len(outputs), *(shape if fits else [-1]))


def _decoded(samples: tuple[bytes, ...], forms: tuple[SampleForm, ...]) -> NDArray[np.generic]:
    """The samples as one array, (n, …): each run of one form is decoded at once."""
    parts, start = [], 0
    for form, run in groupby(forms):
        end = start + sum(1 for _ in run)
        values = np.frombuffer(bytearray().join(samples[start:end]), dtype=form.dtype)
        values = values.reshape(end - start, *form.shape)
        parts.append(values if form.decode is None else form.decode(values))
        start = end
    dtype = np.result_type(*(part.dtype for part in parts))
    dtype = np.dtype(np.float32) if dtype == np.float64 else dtype.newbyteorder("=")
    together = parts[0] if len(parts) == 1 else np.concatenate([part.astype(dtype, copy=False) for part in parts])
    return together.astype(dtype, copy=False)
