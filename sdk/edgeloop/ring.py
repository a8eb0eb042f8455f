"""The ring of what the runtime has seen: it keeps bytes and what they mean, and decodes when they are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, islice
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
        outputs: (n, …) in real units, float32.
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


Row: TypeAlias = tuple[bytes, SampleForm, Array, str, int]
"""A sample's bytes in C order, and what they mean; the first output as the model stores it, with its batch axis, which
nobody changes any more; the input's name at its source; the latency in nanoseconds.

Bytes are the cheapest copy: 0.1 µs for 640 values, where assigning to a row of a preallocated array takes 0.3 µs.
"""


class Ring:
    """Holds the last rows, up to 1,024 and up to `memory_bytes` (but at least 4). One writer, the same reader.

    Args:
        memory_bytes: what the rows may take.
        decode: from the model's first outputs as it stores them, (n, …), to real values.
    """

    def __init__(self, memory_bytes: int, decode: Callable[[Array], NDArray[np.float32]]) -> None:
        self._memory_bytes = memory_bytes
        self._decode = decode
        self._rows = 0
        self._count = 0
        self._kept: deque[Row] = deque()

    def append(self, row: Row) -> None:
        """Add one row; the first one sets how many there may be."""
        if not self._rows:
            row_bytes = len(row[0]) + row[2].nbytes + _ROW_OVERHEAD_BYTES
            self._rows = max(_MIN_ROWS, min(_MAX_ROWS, self._memory_bytes // row_bytes))
            self._kept = deque(maxlen=self._rows)
        self._count += 1
        self._kept.append(row)

    def take(self) -> Seen:
        """All rows since the last call, oldest first."""
        # Rows stay until others overwrite them: the next ones get their memory, which else went back to the system.
        kept = min(self._count, self._rows)
        rows = list(islice(self._kept, len(self._kept) - kept, None))
        overwritten = self._count - kept
        self._count = 0
        if not rows:
            none = np.empty(0, dtype=np.float32)
            return Seen(none, none, [], none, 0)
        samples, forms, outputs, refs, latencies_ns = zip(*rows, strict=True)
        return Seen(
            inputs=_decoded(samples, forms),
            outputs=self._decode(np.stack([stored[0] for stored in outputs])),
            refs=list(refs),
            latency_us=(np.array(latencies_ns, dtype=np.int64) / 1e3).astype(np.float32),
            overwritten=overwritten,
        )

    @property
    def is_half_full(self) -> bool:
        """Whether it is time to take what is in it."""
        return self._rows > 0 and self._count * 2 >= self._rows


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
