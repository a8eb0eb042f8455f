"""The outbox of a device whose disk can't be used: in memory, since seeing and updating go on without it."""

from __future__ import annotations

import logging
from pathlib import Path

from edgeloop.errors import StorageError
from edgeloop.outbox import MEMORY, Outbox
from edgeloop.outbox_file import is_locked
from edgeloop.redaction import Redact

__all__ = ["open_outbox"]

log = logging.getLogger(__name__)


def open_outbox(path: Path, *, max_bytes: int, redact: Redact | None = None) -> tuple[Outbox, str]:
    """Open a device's outbox whatever the disk is like, and say where it is: "disk", or "memory".

    Where the disk is full or read-only, what is to be sent waits in memory, and goes with the process.

    Raises:
        ConfigError: another agent has it open.
        StorageError: another program has locked it.
    """
    try:
        return Outbox(path, max_bytes=max_bytes, redact=redact), "disk"
    except StorageError as error:
        if is_locked(error.__cause__):
            raise
        log.warning("%s", error)
    return Outbox(MEMORY, max_bytes=max_bytes, redact=redact), "memory"
