"""What a conversion says while it works: lines on standard error, with a spinner where that is a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from edgeloop_converters.attempts import Tell

__all__ = ["telling"]


@contextlib.contextmanager
def telling(*, quiet: bool) -> Iterator[Tell]:
    """Gives the function that says a line; `quiet` says nothing."""
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet, highlight=False)
    start = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - start:6.1f} s  {line}", markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield tell
        return
    with console.status("converting…"):
        yield tell
