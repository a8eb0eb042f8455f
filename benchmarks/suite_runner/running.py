"""Runs a suite in processes of its own, with a limit on their time; whatever happens there, the others are run too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from suite_runner.suite import REPO, SHARED, Suite, shown

__all__ = ["Record", "environment", "run_suite"]

SAID = 300  # characters of a failure's last line
_GRACE_S = 5.0
ROOTS = ("sdk", "converters", "firmware_bridge", "benchmarks", "fleet")


class Record(msgspec.Struct, frozen=True):
    """What became of a suite.

    Args:
        suite: its name.
        command: as one types it.
        outcome: "done" where it gave its document.
        reason: why it didn't, or what it said besides.
        seconds: that it took.
        load_1m: before and after.
        document: what it found.
    """

    suite: str
    command: str
    outcome: Literal["done", "skipped", "failed", "interrupted"]
    reason: str = ""
    seconds: float = 0.0
    load_1m: tuple[float, float] = (0.0, 0.0)
    document: Any = None


def run_suite(suite: Suite, *, quick: bool, out: Path) -> Record:
    """Run one suite: its document goes to `out/NAME.json`, what else it says to `out/NAME.log`."""
    setting = suite.quick if quick else suite.full
    if setting is None:
        return Record(suite.name, "", "skipped", "not among the quick ones")
    command = shown(setting.commands[-1])
    if missing := [reason for need in suite.needs if (reason := need())]:
        return Record(suite.name, command, "skipped", "; ".join(missing))
    document = out / f"{suite.name}.json"
    document.unlink(missing_ok=True)
    start_s, before = time.monotonic(), os.getloadavg()[0]
    deadline_s = start_s + setting.limit_s
    outcome, reason = "done", ""
    try:
        with (out / f"{suite.name}.log").open("wb") as log:
            for words in setting.commands:
                reason = _run(_filled(words, document), document, log, deadline_s)
                if reason:
                    break
    except KeyboardInterrupt:
        outcome, reason = "interrupted", "stopped by Ctrl-C"
    found, unreadable = _read(document)
    if outcome == "done" and found is None:
        outcome, reason = "failed", reason or unreadable
    return Record(
        suite.name,
        command,
        outcome,  # type: ignore[arg-type]  # mypy widens what the branches assign
        reason,
        round(time.monotonic() - start_s, 1),
        (round(before, 1), round(os.getloadavg()[0], 1)),
        found if outcome == "done" else None,
    )


def _filled(words: Sequence[str], document: Path) -> list[str]:
    return [word.format(python=sys.executable, document=document, out=document.parent, shared=SHARED) for word in words]


def _run(command: Sequence[str], document: Path, log: IO[bytes], deadline_s: float) -> str:
    """Run a command to its end; what is wrong, or "". Standard output is the document, but where it has its file."""
    by_itself = str(document) in command
    log.write(f"$ {' '.join(command)}\n".encode())
    log.flush()
    with log if by_itself else document.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=REPO, stdout=log if by_itself else out, stderr=log, env=environment(), start_new_session=True
        )
        try:
            code = process.wait(timeout=max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            return "it took longer than its limit"
        finally:
            _end(process)
    return "" if code == 0 else f"it ended with {code}: {_last_line(Path(log.name))}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the suite and what it has started: they are a process group of their own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def environment() -> Mapping[str, str]:
    """Ours, with this tree's packages and this Python's programs found first."""
    roots = os.pathsep.join((*(str(REPO / root) for root in ROOTS), *filter(None, [os.environ.get("PYTHONPATH")])))
    programs = str(Path(sys.executable).parent)
    return os.environ | {
        "PYTHONPATH": roots,
        "PATH": os.pathsep.join((programs, os.environ.get("PATH", os.defpath), "/usr/sbin")),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # numpy's matrix products on all cores would measure who else is on them.
        "OPENBLAS_NUM_THREADS": "1",
    }


def _read(document: Path) -> tuple[Any, str]:
    try:
        return json.loads(document.read_bytes()), ""
    except OSError:
        return None, "it wrote no document"
    except ValueError as error:
        return None, f"its document is no JSON: {error}"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    home = str(Path.home())
    return lines[-1][:SAID].replace(home, "~").replace(str(REPO), ".") if lines else "it said nothing"
