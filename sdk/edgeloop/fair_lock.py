"""A lock that two busy threads get in turns."""

from __future__ import annotations

import threading

__all__ = ["FairLock"]


class FairLock:
    """For `with`. Who waits gets it before who has just released it.

    A `threading.Lock` may be taken again and again by the thread that released it, while another waits for seconds.
    """

    def __init__(self) -> None:
        self._turn, self._lock = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._turn:  # held while waiting, so that whoever comes back stands behind
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
