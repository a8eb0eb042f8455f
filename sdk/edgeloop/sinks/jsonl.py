"""Predictions as lines of JSON."""

from __future__ import annotations

import logging
import os
import sys

import msgspec

from edgeloop.runtime import Prediction, Runtime
from edgeloop.sinks.base import record

__all__ = ["JsonLines", "JsonLinesSink"]

log = logging.getLogger(__name__)

_HELD_LINES = 256


class JsonLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="jsonl"):
    """A file that grows; "-" is standard output."""

    path: str

    def open(self, _device: str) -> JsonLinesSink:
        """Open the file for appending. Raises `OSError`."""
        return JsonLinesSink(self.path)


class JsonLinesSink:
    """Appends predictions to a file as JSON lines, some hundred at a time and at `flush`.

    Lines for which there is no room are lost and counted; the next one starts on a line of its own.

    Args:
        path: the file; "-" is standard output; None throws everything away.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, path: str | None) -> None:
        self.lost = 0
        self._path = path
        self._held: list[bytes] = []
        self._torn = False
        self._file = -1
        if path not in (None, "-"):
            self._file = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def write(self, ref: str, prediction: Prediction, runtime: Runtime) -> None:
        """Add one line; see `record`."""
        if self._path is None:
            return
        self._held.append(msgspec.json.encode(record(ref, prediction, runtime)) + b"\n")
        if len(self._held) >= _HELD_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand what is held to the system. Raises `BrokenPipeError` when nobody reads standard output any more."""
        if not self._held:
            return
        lines, self._held = self._held, []
        try:
            if self._path == "-":
                sys.stdout.write(b"".join(lines).decode())
                sys.stdout.flush()
            else:
                self._append(b"".join(lines))
        except BrokenPipeError:
            raise
        except OSError as error:
            log.log(logging.DEBUG if self.lost else logging.WARNING, "%s: %s", self._path, error)
            self.lost += len(lines)

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, data: bytes) -> None:
        left = memoryview(b"\n" * self._torn + data)
        while left:
            left = left[os.write(self._file, left) :]
            self._torn = bool(left)
