"""What other processes take: processor time and resident memory, as Linux tells in /proc (proc_pid_stat(5))."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ProcessMeter", "children"]


@dataclass
class ProcessMeter:
    """One process, looked at from time to time; what is gone isn't looked at any more.

    Args:
        name: what it is called in the report.
        pid: the process.
    """

    name: str
    pid: int
    samples: list[tuple[float, float, int]] = field(default_factory=list)

    def look(self, now_s: float) -> None:
        """Take a sample: the time, the processor seconds until now, and the resident bytes."""
        with contextlib.suppress(OSError):
            fields = _stat(self.pid)
            ticks = int(fields[11]) + int(fields[12])
            resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            self.samples.append((now_s, ticks / os.sysconf("SC_CLK_TCK"), resident))

    def report(self) -> dict[str, object]:
        """The share of one processor between the first and the last look, and the memory then and between.

        `series` is the memory at looks that are evenly spread, as few as a person likes to read.
        """
        if len(self.samples) < 2:
            return {"name": self.name, "pid": self.pid}
        (first_s, first_cpu_s, first), (last_s, last_cpu_s, last) = self.samples[0], self.samples[-1]
        middle = self.samples[len(self.samples) // 2][2]
        cpu_s = last_cpu_s - first_cpu_s
        return {
            "name": self.name,
            "pid": self.pid,
            "cpu_s": round(cpu_s, 2),
            "cpu_share": round(cpu_s / max(last_s - first_s, 1e-9), 4),
            "memory_mb": {
                "first": round(first / 1e6, 1),
                "middle": round(middle / 1e6, 1),
                "last": round(last / 1e6, 1),
                "most": round(max(sample[2] for sample in self.samples) / 1e6, 1),
                "series": [round(sample[2] / 1e6, 1) for sample in self.samples[:: max(1, len(self.samples) // 12)]],
            },
        }


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int(_stat(int(entry.name))[1]) == pid:
                    found.append(int(entry.name))
    return sorted(found)


def _stat(pid: int) -> list[str]:
    """The fields from the state on: a process's name may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
