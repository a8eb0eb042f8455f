"""Files side by side: accuracy on the same images, size, latency in one run; and which of them none beats."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from printing import table

from edgeloop.latency import Ratio, Rounds, ratio, sample_rounds
from edgeloop_converters.evaluate import latency_call
from edgeloop_converters.proof import Comparison, compare, find_metric
from edgeloop_converters.tflite import run

__all__ = ["Row", "front_table", "side_by_side"]


class Row(msgspec.Struct, frozen=True):
    """One file, against the float32 one.

    Attributes:
        name: who made it, and how.
        ours: whether edgeloop did.
        size_bytes: of the flatbuffer.
        zipped_bytes: of the same, deflated: what travels, and what clustering and sparsity are for.
        accuracy: against the float32 file's, on the same images, with a paired interval.
        latency: of one call, as a ratio to the float32 file's.
        dominated_by: the rows that are as good in accuracy, size and latency, and better in one of them.
    """

    name: str
    ours: bool
    size_bytes: int
    zipped_bytes: int
    accuracy: Comparison
    latency: Ratio
    dominated_by: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What rows are compared by."""

    accuracy: float
    size_bytes: int
    rounds: Rounds


def side_by_side(
    files: Mapping[str, bytes], ours: Sequence[str], x: Any, y: Any, *, seed: int = 0, min_time_s: float = 1.0
) -> list[Row]:
    """Measure the files; the first is the float32 one, which the others are held against.

    Latency is taken in turns, so every pair of rows has a ratio with an interval: one is faster than another where
    the interval leaves 1 out, and as fast otherwise. Accuracy and size count as they are.
    """
    accuracy = find_metric("accuracy")
    outputs = {name: run(model, x)[0] for name, model in files.items()}
    calls = {name: latency_call(model, x) for name, model in files.items()}
    rounds = sample_rounds(calls, min_time_s=min_time_s, min_runs=30, warmup=10)
    first = next(iter(files))
    against = {name: compare(accuracy, y, outputs[first], outputs[name], seed=seed) for name in files}
    measured = {n: Measured(against[n].artifact, len(files[n]), rounds[n]) for n in files}
    return [
        Row(
            name,
            name in ours,
            len(model),
            len(zlib.compress(model, 9)),
            against[name],
            ratio(rounds[name], rounds[first]),
            tuple(other for other in files if beats(measured[other], measured[name])),
        )
        for name, model in files.items()
    ]


def beats(a: Measured, b: Measured) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better."""
    found = ratio(a.rounds, b.rounds)
    slower, faster = found.differs and found.value > 1, found.differs and found.value < 1
    nowhere_worse = a.accuracy >= b.accuracy and a.size_bytes <= b.size_bytes and not slower
    return nowhere_worse and (a.accuracy > b.accuracy or a.size_bytes < b.size_bytes or faster)


def verdict(dominated_by: Sequence[str]) -> str:
    """Whether a row is on the front, or by which others it is beaten: the last of them and how many more."""
    if not dominated_by:
        return "on the front"
    more = f" and {len(dominated_by) - 1} more" if len(dominated_by) > 1 else ""
    return f"dominated by {dominated_by[-1]}{more}"


def front_table(rows: Sequence[Row]) -> str:
    """The rows, and in a sentence whether ours are on the front everywhere."""
    head = ["converter", "accuracy", "points lost [95 %]", "bytes", "zipped", "latency/float32 [95 %]", "verdict"]
    body = []
    for row in rows:
        lost, latency = row.accuracy, row.latency
        interval = f" [{latency.ci[0]:.2f}, {latency.ci[1]:.2f}]" if latency.ci else ""
        body.append(
            [
                row.name,
                f"{100 * lost.artifact:.2f} %",
                f"{100 * lost.drop:+.2f} [{100 * lost.low:+.2f}, {100 * lost.high:+.2f}]",
                f"{row.size_bytes:,}",
                f"{row.zipped_bytes:,}",
                f"{latency.value:.2f}{interval}",
                verdict(row.dominated_by),
            ]
        )
    ours = {row.name for row in rows if row.ours}
    beaten = [row.name for row in rows if row.ours and set(row.dominated_by) - ours]
    front = [row.name for row in rows if not row.ours and not row.dominated_by]
    lines = [table(head, body), f"on the front, not ours: {', '.join(front) or 'none'}"]
    lines.append(f"ours, dominated by a peer: {', '.join(beaten) or 'none'}")
    return "\n".join(lines)
