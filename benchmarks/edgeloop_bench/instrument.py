"""What the measuring itself adds to a call."""

from __future__ import annotations

from edgeloop.latency import sample_rounds, summarize

__all__ = ["instrument_us"]


def instrument_us() -> float:
    """The median of an empty call in the very loop that times the others: two looks at the clock, and a call."""
    rounds = sample_rounds({"empty": _nothing}, min_time_s=0.02, min_runs=10_000, warmup=1000)
    return summarize(rounds["empty"]).median_us


def _nothing() -> None:
    """As empty as a call can be."""
