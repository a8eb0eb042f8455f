"""Progress for people: bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

__all__ = ["Progress"]


class Progress:
    """Says what is going on. `quiet` says nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)

    def note(self, text: str, *, loud: bool = False) -> None:
        """A line that stays."""
        self._console.print(text, style="bold yellow" if loud else None, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def bar(self, title: str, steps: int) -> Iterator[Callable[[], None]]:
        """A bar of `steps`; what it gives is called after each."""
        with self._shown(title, steps) as (progress, task):
            yield lambda: progress.advance(task)

    @contextlib.contextmanager
    def spinner(self, title: str) -> Iterator[None]:
        """For work whose length nobody knows."""
        with self._shown(title, None):
            yield

    def wait(self, title: str, seconds: float, check: Callable[[], object]) -> None:
        """Let `seconds` pass, and call `check` every half second: it raises what has gone wrong."""
        with self._shown(title, seconds) as (progress, task):
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                check()
                time.sleep(min(0.5, left))
                progress.update(task, completed=seconds - max(0.0, end - time.monotonic()))

    @contextlib.contextmanager
    def _shown(self, title: str, total: float | None) -> Iterator[tuple[RichProgress, TaskID]]:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        start = time.monotonic()
        with RichProgress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            yield progress, progress.add_task(title, total=total)
        self.note(f"{title} ({time.monotonic() - start:.0f} s)")
