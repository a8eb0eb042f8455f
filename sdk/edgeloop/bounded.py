"""A bounded queue between two threads that says what it does when it is full."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Literal, TypeAlias, TypeVar

from edgeloop.errors import ConfigError

__all__ = ["BoundedQueue", "Policy"]

T = TypeVar("T")

Policy: TypeAlias = Literal["block", "drop-oldest", "drop-newest", "latest"]


class BoundedQueue(Generic[T]):
    """A first-in, first-out queue of at most `size` items.

    Args:
        size: how many may wait; "latest" always holds one.
        policy: when it is full, "block" has the producer wait, "drop-oldest" and "drop-newest" lose one, and "latest"
            keeps the newest alone. `dropped` counts what was lost.

    Raises:
        ConfigError: a size below 1.
    """

    def __init__(self, size: int, policy: Policy = "block") -> None:
        if size < 1:
            raise ConfigError(f"a queue of size {size}: at least one item must fit")
        self.came = self.dropped = 0
        self._size = 1 if policy == "latest" else size
        self._policy = policy
        self._items: deque[T] = deque()
        self._closed = False
        self._lock = lock = threading.Lock()
        self._not_empty, self._not_full = threading.Condition(lock), threading.Condition(lock)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be put any more."""
        return self._closed

    @property
    def is_drained(self) -> bool:
        """Whether it is closed and all was taken."""
        return self._closed and not self._items

    def put(self, item: T) -> bool:
        """Add an item, or lose one, as the policy says; False when the queue is closed."""
        with self._lock:
            if self._policy == "block":
                while len(self._items) >= self._size and not self._closed:
                    self._not_full.wait()
            if self._closed:
                return False
            self.came += 1
            if len(self._items) >= self._size:
                self.dropped += 1
                if self._policy == "drop-newest":
                    return True
                self._items.popleft()
            self._items.append(item)
            if len(self._items) == 1:  # else nobody waits: who takes, takes before waiting
                self._not_empty.notify()
        return True

    def take(self, timeout_s: float, at_most: int = 1) -> list[T]:
        """The oldest items, as soon as there is one; none after `timeout_s`, or when the queue is drained."""
        with self._lock:
            if not self._items and not self._closed:
                self._not_empty.wait(timeout_s)
            taken = [self._items.popleft() for _ in range(min(at_most, len(self._items)))]
            if taken:
                self._not_full.notify_all()
        return taken

    def close(self) -> None:
        """Let nothing more in, and wake all who wait; what is there can still be taken."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()
