"""A source that takes long to open: a named pipe without a writer, a driver that hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillOpening

from edgeloop.sources.item import Item

__all__ = ["open_within"]

log = logging.getLogger(__name__)


def open_within(open_it: Callable[[], Iterator[Item]], timeout_s: float) -> Iterator[Item]:
    """What `open_it` gives or raises; after `timeout_s` seconds an iterator that waits for it when it is asked.

    So what is wrong at the start is still said at once, and what hangs holds up nobody but who takes from it.
    """
    opened: Future[Iterator[Item]] = Future()

    def run() -> None:
        try:
            opened.set_result(open_it())
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is asked for
            opened.set_exception(error)

    threading.Thread(target=run, name="edgeloop source opening", daemon=True).start()
    try:
        return opened.result(timeout_s)
    except StillOpening:
        log.warning("the source has not opened after %g s: it is waited for", timeout_s)
        return _when_opened(opened)


def _when_opened(opened: Future[Iterator[Item]]) -> Iterator[Item]:
    yield from opened.result()
