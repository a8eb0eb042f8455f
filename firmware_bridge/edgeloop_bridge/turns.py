"""One line, several threads: who asks first is served first, and who only listens makes room."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Turns"]


class Turns:
    """A lock that is given in the order of asking, which `threading.Lock` doesn't promise. It isn't reentrant.

    Args:
        wake: called when someone has to wait, so that a holder who waits for the line's next bytes stops that.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._next = self._served = 0

    def __enter__(self) -> None:
        with self._changed:
            ticket = self._next
            self._next += 1
            if ticket != self._served:
                self._wake()
            while ticket != self._served:
                self._changed.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._served += 1
            self._changed.notify_all()
