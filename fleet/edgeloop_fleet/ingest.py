"""Ingest: from the broker to the lake, and the acknowledgement back after the commit.

The broker's own acknowledgement says only that it holds a message in memory. The device forgets a row when its
`Ack` comes, and that is sent after the commit and never before.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING

from edgeloop.errors import ConfigError
from edgeloop.messages import Ack, encode
from edgeloop.topics import SHARDS, DeviceTopics, shard_filter
from edgeloop_fleet.commit import Committer, Counters
from edgeloop_fleet.devices import Devices, load_devices
from edgeloop_fleet.errors import LakeError, LostRaceError
from edgeloop_fleet.inbox import Inbox, Received
from edgeloop_fleet.intake import Intake
from edgeloop_fleet.lake import Lake

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Ingester"]

log = logging.getLogger(__name__)

_SESSION_S = 7 * 24 * 3600
_LONGEST_RETRY_S = 5.0
_ACK_EXPIRY_S = 3600  # a device that comes back later asks again
_LAST_ACKS_S = 3.0
_RECEIVE_MAX = 2000


class Ingester:
    """Stores what the devices of some shards send, for as long as the context lasts.

    Args:
        broker_url: `mqtt://…`, see `edgeloop.link.Link`.
        lake: where to.
        shards: whose devices; processes that share a fleet take disjoint ones.
        batch_rows: a commit has at most this many rows.
        batch_s: how long a first row waits for others to be committed with, seconds.
        client_id: the name of the broker's session, which keeps messages while we are away; by the shards where None.
        devices: the view that states go to; read from the lake where None.
        keepalive_s: see `edgeloop.link.Link`.

    Raises:
        ConfigError: a shard that there isn't.
        LakeError: the lake can't be read.
    """

    def __init__(
        self,
        broker_url: str,
        lake: Lake,
        *,
        shards: Iterable[int] = range(SHARDS),
        batch_rows: int = 4096,
        batch_s: float = 0.5,
        client_id: str | None = None,
        devices: Devices | None = None,
        keepalive_s: int = 30,
    ) -> None:
        shards = sorted(set(shards))
        if not shards or shards[0] < 0 or shards[-1] >= SHARDS:
            raise ConfigError(f"shards {shards}: give some of 0 to {SHARDS - 1}")
        self.devices = load_devices(lake) if devices is None else devices
        self._committer = Committer(lake, shards, self.devices, _utc_now)
        self._batch_rows, self._batch_s = batch_rows, batch_s
        self._inbox = Inbox()
        self._acks: deque[tuple[str, Ack]] = deque()  # to be sent
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._last_s = time.monotonic()
        self._rng = random.Random()  # noqa: S311  # jitter, not a secret
        name = client_id or "edgeloop-ingest-" + "-".join(f"{shard:x}" for shard in shards)
        filters = [topic for shard in shards for topic in shard_filter(shard)]
        self._link = Intake(
            broker_url,
            name,
            on_messages=self._inbox.put,
            subscriptions=filters,
            session_s=_SESSION_S,
            on_step=self._send_acks,
            receive_max=_RECEIVE_MAX,
            keepalive_s=keepalive_s,
        )
        self._worker = threading.Thread(target=self._run, name="ingest", daemon=True)

    @property
    def counters(self) -> Counters:
        """What was done so far; it goes on counting."""
        return self._committer.counters

    @property
    def idle_s(self) -> float:
        """For how long nothing has come, seconds; 0 while something waits to be committed."""
        return 0.0 if len(self._inbox) else time.monotonic() - self._last_s

    def __enter__(self) -> Self:
        """Start; `wait_connected` says when the broker has accepted the subscriptions."""
        self._link.__enter__()
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit and acknowledge what has come, then disconnect. Raises what made the committing thread fail."""
        self._closing.set()
        self._inbox.close()
        self._worker.join()
        end_s = time.monotonic() + _LAST_ACKS_S
        while self._acks and self._link.is_connected and time.monotonic() < end_s:
            time.sleep(0.01)
        self._link.__exit__(kind, error, traceback)
        if error is None:
            self.check()

    def wait_connected(self, timeout_s: float = 10) -> None:
        """Wait for the broker. Raises `BrokerError`."""
        self._link.wait_connected(timeout_s)

    def check(self) -> None:
        """Raise what made the committing thread fail, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while True:
                batch = self._inbox.take(rows=self._batch_rows, fill_s=self._batch_s, wait_s=0.5)
                if batch:
                    self._store(batch)
                    self._last_s = time.monotonic()
                elif self._closing.is_set():
                    return
        except BaseException as error:  # it is raised again by check(), on the caller's thread
            self._failure = error
            self._inbox.close()
            log.exception("ingest has stopped")

    def _store(self, batch: list[Received]) -> None:
        """Store a batch however often the storage fails; when closing it is left to the devices, who have it still."""
        longest = 0.1
        while True:
            try:
                acks = self._committer.store(batch)
                break
            except LostRaceError as error:
                log.warning("%s; trying again", error)
            except LakeError as error:
                log.error("%s; trying again", error)  # noqa: TRY400  # the error says it, and comes often
                if self._closing.wait(self._rng.uniform(0, longest)):
                    return
                longest = min(2 * longest, _LONGEST_RETRY_S)
        self._acks.extend(acks)
        self._link.wake()

    def _send_acks(self) -> None:
        """Send as many as the broker takes; on the link's thread. One that is lost is asked for again by its device."""
        while self._acks and self._link.room > 0:
            device, ack = self._acks.popleft()
            self._link.send(DeviceTopics(device).ack, encode(ack), expiry_s=_ACK_EXPIRY_S)


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)
