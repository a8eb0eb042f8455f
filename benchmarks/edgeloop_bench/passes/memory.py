"""What a model needs of memory, in a process of its own: this one has measured others before."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from edgeloop.errors import EdgeloopError, ModelError
from edgeloop_bench.result import Memory, Settings
from edgeloop_bench.subject import Subject, interpreter_maker, open_subject

__all__ = ["measure_memory"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CALLS = 20
TIMEOUT_S = 300


def measure_memory(subject: Subject, settings: Settings) -> Memory | None:
    """Load and run the model in a fresh process, with the first number of threads.

    Returns:
        What it needed; None where the system doesn't tell (it is read from Linux's /proc).

    Raises:
        ModelError: the process couldn't run the model, or died of it.
    """
    if not STATUS.exists():
        return None
    header = msgspec.json.encode(settings)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "edgeloop_bench.passes.memory"],
            input=header + b"\n" + subject.model,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{subject.name}: loading and running it takes longer than {TIMEOUT_S} s") from error
    if ended.returncode:
        words = ended.stderr.decode(errors="replace").strip().splitlines()
        why = words[-1] if words else f"exit code {ended.returncode}"
        raise ModelError(f"{subject.name}: a process that loads and runs it fails: {why}")
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=Memory)


def _resident_bytes(field: str) -> int:
    found = re.search(rf"^{field}:\s*(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise ModelError(f"{STATUS} has no {field}")
    return int(found[1]) * 1024


def _reset_peak() -> None:
    """Importing has its own peak, which is not the model's (`man 5 proc`: 5 resets VmHWM)."""
    try:
        CLEAR.write_text("5", encoding="ascii")
    except OSError:  # a kernel built without it: the peak then counts from the process's start
        return


def _main() -> None:
    header = sys.stdin.buffer.readline()
    settings = msgspec.json.decode(header, type=Settings)
    interpreter_maker(settings, 1)
    base = _resident_bytes("VmRSS")
    _reset_peak()
    subject = Subject("model", sys.stdin.buffer.read(), 0)
    rng = np.random.default_rng(settings.seed)
    opened = open_subject(subject, settings, threads=settings.threads[0], rng=rng)
    for _ in range(CALLS):
        opened.invoke()
    steady, peak = _resident_bytes("VmRSS"), _resident_bytes("VmHWM")
    found = Memory(base, max(0, steady - base), max(0, peak - base))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    try:
        _main()
    except EdgeloopError as problem:
        sys.exit(str(problem))
