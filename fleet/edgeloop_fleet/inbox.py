"""The bounded queue between the broker's thread and the one that commits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Inbox", "Received"]


class Received(NamedTuple):
    """A message as it came: nothing of it has been looked at."""

    topic: str
    payload: bytes


class Inbox:
    """Messages in the order in which they came, bounded in bytes: a writer waits, and so the broker does.

    Args:
        max_bytes: with how many bytes of payload that wait no more go in; what comes at once goes in at once.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._waiting: deque[Received] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    def put(self, messages: Sequence[Received]) -> None:
        """Add messages, waiting for room; after `close` they are dropped, and the devices send them again."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._bytes < self._max_bytes)
            if not self._closed:
                self._waiting.extend(messages)
                self._bytes += sum(len(message.payload) for message in messages)
                self._changed.notify_all()

    def take(self, *, rows: int, fill_s: float, wait_s: float) -> list[Received]:
        """The next batch: up to `rows` messages and a quarter of the bound in bytes.

        Waits `wait_s` for a first message, then `fill_s` for more. Empty when none came, or when closed and empty.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting, wait_s)
            deadline = time.monotonic() + fill_s
            if self._waiting:
                self._changed.wait_for(lambda: self._closed or self._is_full(rows), deadline - time.monotonic())
            batch: list[Received] = []
            size = 0
            while self._waiting and len(batch) < rows and size < self._max_bytes // 4:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].payload)
            self._bytes -= size
            self._changed.notify_all()
            return batch

    def close(self) -> None:
        """Take nothing more in; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_full(self, rows: int) -> bool:
        return len(self._waiting) >= rows or self._bytes >= self._max_bytes // 4
