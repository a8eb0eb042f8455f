"""Items at a stated rate."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edgeloop.sources.item import Item

__all__ = ["paced"]


def paced(items: Iterator[Item], rate_hz: float | None) -> Iterator[Item]:
    """Yield `items` at `rate_hz` items a second at most; None is as fast as they are taken.

    Each has its due time from the start, so that a slow one is caught up with and the rate doesn't wander.
    """
    if rate_hz is None:
        yield from items
        return
    start_s = time.monotonic()
    for number, item in enumerate(items):
        time.sleep(max(0.0, start_s + number / rate_hz - time.monotonic()))
        yield item
