"""What a device tells of its runtime and its board: collected from what was seen, off the hot path."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeloop.histogram import histogram
from edgeloop.ring import Seen

__all__ = ["THROTTLING", "Board", "RuntimeStats", "StatsCollector", "read_board"]

_RATE_S = 1.0

THROTTLING = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_temperature_limit"}
"""The bits of `vcgencmd get_throttled`: these say now; 16 higher, since boot (Raspberry Pi documentation)."""


class Board(msgspec.Struct, frozen=True):
    """The process and the board that it runs on; None is what the board doesn't tell.

    Args:
        memory_bytes: this process's resident memory.
        cpu_hz: the first core's clock frequency.
        temperature_c: the hottest thermal zone's.
        throttled: what slows the processor now, on a Raspberry Pi; empty is nothing.
        throttled_since_boot: what has, at any time.
    """

    memory_bytes: int | None
    cpu_hz: int | None
    temperature_c: float | None
    throttled: tuple[str, ...] | None
    throttled_since_boot: tuple[str, ...] | None


class RuntimeStats(msgspec.Struct, frozen=True):
    """One runtime since it was loaded. Latencies are in microseconds, None before there are any.

    Args:
        model: its name.
        version: its version.
        runs: inputs that were answered.
        runs_per_s: of them, since statistics were last made, but over a second at least.
        errors: inputs that were not, by kind.
        overwritten: answered ones that nobody took from the ring in time: the latencies leave them out.
        uptime_s: since the collector was made.
        first_call_us: of the first call, which pays for cold caches and lazy set-up; None if it was
            overwritten.
        p50_us: of the other calls, within 1 %; likewise the ones below.
        p90_us: likewise.
        p99_us: likewise.
        max_us: likewise.
        total_us: of all latencies together, the first one's included.
        timed: how many these are.
        latency: the histogram of the other calls, packed: those of several devices add up (see `unpack_histogram`).
        board: the process and its board.
    """

    model: str
    version: int
    runs: int
    runs_per_s: float
    errors: dict[str, int]
    overwritten: int
    uptime_s: float
    first_call_us: float | None
    p50_us: float | None
    p90_us: float | None
    p99_us: float | None
    max_us: float | None
    total_us: float
    timed: int
    latency: bytes
    board: Board

    def to_dict(self) -> dict[str, Any]:
        """As what JSON can hold; the histogram in base64."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class StatsCollector:
    """Collects the statistics of one runtime, in memory that doesn't grow. Safe from several threads.

    Args:
        model: its name.
        version: its version.
        monotonic_s: now, on a clock that never jumps.
    """

    def __init__(self, model: str, version: int, *, monotonic_s: float) -> None:
        self._model, self._version = model, version
        self._start_s = monotonic_s
        self._lock = threading.Lock()
        self._marks: deque[tuple[float, int]] = deque([(monotonic_s, 0)])  # when statistics were made, and runs by then
        self._runs = self._overwritten = self._timed = 0
        self._first_call_us: float | None = None
        self._total_us = 0.0
        self._steady = histogram(np.empty(0))
        self._errors: Counter[str] = Counter()

    def observe(self, seen: Seen) -> None:
        """Count what `Runtime.take_seen` gave."""
        with self._lock:
            has_first = self._runs == 0 and len(seen) > 0 and not seen.overwritten
            self._runs += len(seen) + seen.overwritten
            self._overwritten += seen.overwritten
            latency_us = seen.latency_us.astype(np.float64)
            self._total_us += float(latency_us.sum())
            self._timed += len(latency_us)
            if has_first:
                self._first_call_us = float(latency_us[0])
                latency_us = latency_us[1:]
            self._steady += histogram(latency_us)

    def count_error(self, error: Exception) -> None:
        """Count an input that was not answered, under the error's class."""
        with self._lock:
            self._errors[type(error).__name__] += 1

    def stats(self, board: Board, *, monotonic_s: float) -> RuntimeStats:
        """The statistics until now."""
        with self._lock:
            return RuntimeStats(
                model=self._model,
                version=self._version,
                runs=self._runs,
                runs_per_s=self._runs_per_s(monotonic_s),
                errors=dict(self._errors),
                overwritten=self._overwritten,
                uptime_s=monotonic_s - self._start_s,
                first_call_us=self._first_call_us,
                p50_us=self._steady.quantile_us(0.5),
                p90_us=self._steady.quantile_us(0.9),
                p99_us=self._steady.quantile_us(0.99),
                max_us=self._steady.quantile_us(1),
                total_us=self._total_us,
                timed=self._timed,
                latency=self._steady.pack(),
                board=board,
            )

    def _runs_per_s(self, now_s: float) -> float:
        """Over the time since the newest mark that is a second old: several may look, and none at a moment alone."""
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= now_s - _RATE_S:
            marks.popleft()
        then_s, runs = marks[0]
        if now_s - marks[-1][0] >= _RATE_S / 8:
            marks.append((now_s, self._runs))
        return (self._runs - runs) / (now_s - then_s) if now_s > then_s else 0.0


def read_board(root: Path = Path("/")) -> Board:
    """This process and its board; `root` is where /proc and /sys are looked for. Takes some milliseconds on a Pi."""
    pages = _numbers(root / "proc/self/statm")
    khz = _numbers(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    zones = [_numbers(zone / "temp") for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"))]
    temperatures = [zone[0] / 1000 for zone in zones if zone]
    flags = _throttling()
    return Board(
        memory_bytes=pages[1] * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else None,
        cpu_hz=khz[0] * 1000 if khz else None,
        temperature_c=max(temperatures, default=None),
        throttled=None if flags is None else _reasons(flags),
        throttled_since_boot=None if flags is None else _reasons(flags >> 16),
    )


def _numbers(path: Path) -> list[int]:
    with contextlib.suppress(OSError, ValueError):  # a thermal zone that is off answers with an error
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    return []


def _throttling() -> int | None:
    command = shutil.which("vcgencmd")
    if command is None:
        return None
    import subprocess  # boards without that command need none of what it brings along

    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        said = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=2, check=True).stdout
        return int(said.strip().partition("=")[2], 16)
    return None


def _reasons(flags: int) -> tuple[str, ...]:
    return tuple(reason for bit, reason in THROTTLING.items() if flags >> bit & 1)
