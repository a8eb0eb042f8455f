"""One trial's process: started, watched over, and ended when it goes over its limits of time and memory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import msgspec

from edgeloop_converters.trials.trial import Trial, Trialled

__all__ = ["DISK_FULL", "POLL_S", "TrialProcess", "disk_full"]

POLL_S = 0.05
TAIL_BYTES = 600
DISK_FULL = errno.ENOSPC  # a worker's exit code for it


class TrialProcess:
    """A worker on its way; `look` says how it ended.

    Args:
        trial: what it does.
        parent: where the folder that it fills is made.

    Raises:
        OSError: no process can be started, or nothing be written into `parent`.
    """

    def __init__(self, trial: Trial, parent: Path) -> None:
        self.trial = trial
        self.folder = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
        self._start = time.monotonic()
        # In memory: on a full disk its last words would be lost.
        self._errors: IO[bytes] = os.fdopen(os.memfd_create("stderr"), "w+b")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "OMP_NUM_THREADS": "1",
            "TF_ENABLE_ONEDNN_OPTS": "1",  # trains 1.7 times as fast, and on one thread to the same bits every time
        }
        try:
            (self.folder / "job.json").write_bytes(msgspec.json.encode(trial))
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edgeloop_converters.trials.worker",
                    str(self.folder / "job.json"),
                    str(self.folder),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment,
                start_new_session=True,  # Ctrl-C goes to us, and we end it
            )
        except BaseException:
            self._errors.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def look(self) -> Trialled | None:
        """The result, if it has ended or is over a limit, which ends it; else None.

        Where the worker ended by itself, `folder` holds what it made, or its refusal, and is the caller's; else it is
        gone.

        Raises:
            OSError: the disk is full; that isn't the recipe's fault, and the next one would fail as well.
        """
        seconds = time.monotonic() - self._start
        code = self._process.poll()
        if code is None:
            taken = _resident_bytes(self.pid)
            if seconds > self.trial.timeout_s:
                return self._failed(f"over its time limit of {self.trial.timeout_s:g} s", seconds)
            if taken > self.trial.memory_bytes:
                limit = self.trial.memory_bytes >> 20
                return self._failed(f"over its memory limit: {taken >> 20} MiB of {limit} MiB", seconds)
            return None
        if code == 0:
            self._close()
            (self.folder / "job.json").unlink()
            return msgspec.json.decode((self.folder / "result.json").read_bytes(), type=Trialled)
        tail = self._last_words()
        if code == DISK_FULL:
            self.end()
            raise disk_full(self.folder.parent)
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return self._failed(f"its process ended with {how}: {tail or 'nothing on standard error'}", seconds)

    def end(self) -> None:
        """Kill it, wait, and remove its folder."""
        self._process.kill()
        self._process.wait()
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _failed(self, error: str, seconds: float) -> Trialled:
        self.end()
        return Trialled(self.trial.recipe, self.trial.seed, self.trial.key, error=error, seconds=seconds)

    def _close(self) -> None:
        self._errors.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _last_words(self) -> str:
        """The end of what it wrote, as one line."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - TAIL_BYTES))
        return " ".join(self._errors.read().decode(errors="replace").split())


def disk_full(folder: Path) -> OSError:
    """The error of a full disk, which says what to do."""
    what = "no space left on this disk: free some, or set XDG_CACHE_HOME to another; finished trials are kept"
    return OSError(errno.ENOSPC, what, str(folder))


def _resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 when it has just ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
