"""What a running agent says of itself to whoever asks on its machine: `edgeloop top` does.

It answers on a Unix socket in its folder, and not in a file: nothing is computed or written while nobody looks, so no
SD card wears out, and it works on a full disk and a read-only one. A connection gets one JSON document, and the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from edgeloop.errors import ConfigError, DataError
from edgeloop.execution import Execution
from edgeloop.observer import ObserverStats
from edgeloop.outbox import OutboxCounters
from edgeloop.shadow import ShadowStats
from edgeloop.stats import RuntimeStats
from edgeloop.stream import StreamReport

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Status", "StatusServer", "read_status"]

log = logging.getLogger(__name__)

_NAME = "agent.sock"
_TIMEOUT_S = 2.0
_MAX_BYTES = 1 << 20


class Status(msgspec.Struct, frozen=True):
    """An agent at one moment.

    Args:
        device: its name.
        pid: its process.
        time_s: its clock, in seconds since 1970.
        uptime_s: since it was started.
        is_connected: whether the broker has accepted it.
        execution: how the model is being run: backend, threads, delegate.
        runtime: of the model that runs.
        stream: from the source to the sinks, since the start.
        outbox: of all messages.
        outbox_kind: "disk"; or "memory", where the disk couldn't be used.
        oversized: inputs too large to be sampled.
        observer: what looking at the inputs has cost, and how many were left out.
        switches: newer artifacts that were taken.
        shadow: of the second model, where there is one.
        backend: what a backend of another package counts itself.
    """

    device: str
    pid: int
    time_s: float
    uptime_s: float
    is_connected: bool
    execution: Execution
    runtime: RuntimeStats
    stream: StreamReport
    outbox: OutboxCounters
    outbox_kind: str
    oversized: int
    observer: ObserverStats
    switches: int
    shadow: ShadowStats | None = None
    backend: dict[str, int] = {}

    def to_dict(self) -> dict[str, Any]:
        """As what JSON can hold."""
        found: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)  # the stream's error
        return found


class StatusServer:
    """Answers with the status, on a thread of its own; a client that doesn't read is left after 2 s.

    It holds the socket from the start, so that no two agents run from one folder, and answers from `start` on.

    Args:
        directory: the agent's; the socket is in it.
        status: gives the status, from any thread.

    Raises:
        ConfigError: another agent runs from this folder.
    """

    def __init__(self, directory: Path, status: Callable[[], Status]) -> None:
        self._directory = directory
        self._status = status
        self._thread = threading.Thread(target=self._run, name="edgeloop status", daemon=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._is_open = False
        try:
            self._listen()
        except OSError as error:  # a file system without sockets
            log.warning("no status at %s: %s", directory / _NAME, error)
        except ConfigError:
            self._socket.close()
            raise

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            other = read_status(self._directory)
            raise ConfigError(f"{self._directory}: another agent runs from this folder, process {other.get('pid')}")
        with _address(self._directory) as address:
            Path(address).unlink(missing_ok=True)  # of one that lost its power
            self._socket.bind(address)
            Path(address).chmod(0o660)
            self._socket.listen(4)
        self._is_open = True

    def start(self) -> None:
        """Answer from now on; who asked before has waited."""
        if self._is_open:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            self._socket.shutdown(socket.SHUT_RDWR)
            (self._directory / _NAME).unlink(missing_ok=True)
        self._socket.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:  # it was shut down
                return
            with client:
                try:
                    client.settimeout(_TIMEOUT_S)
                    client.sendall(msgspec.json.encode(self._status().to_dict()))
                except Exception as error:  # noqa: BLE001  # one that went away, a disk that fails: the next one may do
                    log.debug("status: %s", error)


def read_status(directory: Path) -> dict[str, Any]:
    """Ask the agent that runs from `directory`; see `Status.to_dict`.

    Raises:
        OSError: none runs from there, or it doesn't answer.
        DataError: what answers is no agent.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_TIMEOUT_S)
        with _address(directory) as address:
            client.connect(address)
        raw = bytearray()
        while (part := client.recv(1 << 16)) and len(raw) < _MAX_BYTES:
            raw += part
    if not raw:
        raise DataError(f"{directory / _NAME}: the agent gave no answer: it is ending, or its disk fails; ask again")
    try:
        return msgspec.json.decode(bytes(raw), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise DataError(f"{directory / _NAME}: not an agent's status: {error}") from error


@contextlib.contextmanager
def _address(directory: Path) -> Iterator[str]:
    """The socket's name, by way of the folder's descriptor: a socket's own name may have 107 bytes only."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)
