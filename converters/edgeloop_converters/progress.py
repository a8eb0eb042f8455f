"""What a conversion says while it works: lines on standard error, with a bar below them where that is a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

from edgeloop_converters.attempts import Tell, Watch

__all__ = ["Telling", "telling"]


class Telling(NamedTuple):
    """Where a conversion tells what it found, line by line, and how far it is."""

    tell: Tell
    watch: Watch


@contextlib.contextmanager
def telling(*, quiet: bool) -> Iterator[Telling]:
    """Gives the functions that say a line and move the bar; `quiet` says nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True, quiet=quiet, highlight=False)
    start = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - start:6.1f} s  {line}", markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield Telling(tell, lambda _what, _done, _total: None)
        return
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("reading the model and the data", total=None)

        def watch(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        yield Telling(tell, watch)
