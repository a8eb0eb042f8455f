"""The board while a run goes on: its clock, its heat, what slows it, and who else wants it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edgeloop.stats import Board, read_board
from edgeloop_bench.result import Vitals

__all__ = ["Watch"]

_STEAL = 7  # among the numbers of /proc/stat's first line (`man 5 proc`); 8 and 9 are counted in 0 and 1 already
_COUNTED = 8


class Watch:
    """Looks at the board now and then, between the calls that are timed.

    Args:
        load_1m: before the run.
        root: where /proc and /sys are looked for.
    """

    def __init__(self, load_1m: float, root: Path = Path("/")) -> None:
        self._root, self._load_1m = root, load_1m
        self._boards: list[Board] = []
        self._stat, self._waited = self._read_stat(), self._read_waited()

    def look(self) -> None:
        """Right after a measurement, while the processor is still at the clock that it was measured at."""
        self._boards.append(read_board(self._root))

    def vitals(self) -> Vitals:
        """What was seen since it was made."""
        clocks = [board.cpu_hz for board in self._boards if board.cpu_hz is not None]
        temperatures = [board.temperature_c for board in self._boards if board.temperature_c is not None]
        told = [board.throttled for board in self._boards if board.throttled is not None]
        return Vitals(
            cpu_hz=(min(clocks), max(clocks)) if clocks else None,
            temperature_c=(temperatures[0], max(temperatures)) if temperatures else None,
            throttled=tuple(sorted({reason for reasons in told for reason in reasons})) if told else None,
            load_1m=self._load_1m,
            stolen_percent=self._stolen_percent(),
        )

    def _stolen_percent(self) -> float | None:
        """By other virtual machines, of all processors' time; and by other processes, of what our thread wanted."""
        waited, stat = self._read_waited(), self._read_stat()
        shares = []
        if waited is not None and self._waited is not None:
            ran_ns, queued_ns = (now - then for now, then in zip(waited, self._waited, strict=True))
            if ran_ns + queued_ns > 0:
                shares.append(queued_ns / (ran_ns + queued_ns))
        if stat is not None and self._stat is not None:
            spent = [now - then for now, then in zip(stat, self._stat, strict=True)]
            if sum(spent) > 0:
                shares.append(spent[_STEAL] / sum(spent))
        return min(100.0, 100 * sum(shares)) if shares else None

    def _read_stat(self) -> list[int] | None:
        with contextlib.suppress(OSError, ValueError):
            words = (self._root / "proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
            return [int(word) for word in words[:_COUNTED]] if len(words) >= _COUNTED else None
        return None

    def _read_waited(self) -> tuple[int, int] | None:
        """Nanoseconds that our thread ran, and waited for a processor (`Documentation/scheduler/sched-stats.rst`)."""
        with contextlib.suppress(OSError, ValueError):
            ran, waited, _ = (self._root / "proc/thread-self/schedstat").read_text(encoding="ascii").split()
            return int(ran), int(waited)
        return None
