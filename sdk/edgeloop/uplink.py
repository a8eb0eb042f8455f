"""The uplink: sends what the outbox holds, and takes what the centre says. All of it happens on the link's thread.

What was sent and isn't acknowledged is sent again: at each connect, and after a time-out that doubles while the centre
is silent. The centre knows what it has.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from edgeloop.errors import EdgeloopError, MessageError, StorageError
from edgeloop.jobdesk import JobDesk
from edgeloop.link import Link
from edgeloop.messages import Ack, ArtifactRef, Desired, JobOffer, ModelRef, State, decode, encode
from edgeloop.mqtt import BrokerAddress
from edgeloop.outbox import Outbox, Row
from edgeloop.pacing import Pace, UplinkConfig
from edgeloop.parts import split
from edgeloop.refusals import Refusals
from edgeloop.topics import DeviceTopics, artifact_filter, parse_artifact_chunk
from edgeloop.updates import ChunkCollector

__all__ = ["Uplink"]

log = logging.getLogger(__name__)

_WINDOW_ROWS = 2048  # sent and not yet acknowledged by the centre
_WINDOW_BYTES = 4 << 20
_BROKER_BYTES = 1 << 20  # sent and not yet acknowledged by the broker: they are in memory
_AHEAD_ROWS, _AHEAD_BYTES = 256, 256 << 10
_RESEND_S, _LONGEST_RESEND_S = 20.0, 600.0
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # where nobody has subscribed
_OVERTAKEN_S = 3.0  # what was sent this much later and is acknowledged came by the same way: the earlier one is lost
_EXPIRY_S = 24 * 3600  # the outbox has it still, and the broker's memory isn't for ever
_KINDS, _URGENT = ("profile", "sample", "event"), ("event",)


class _Sent(NamedTuple):
    row_id: int
    size_bytes: int
    at_s: float
    kind: str


class Uplink:
    """Keeps a device in touch with the centre, whatever the network does.

    Args:
        outbox: what is to be sent; it is asked whenever `wake` was called, and forgets what the centre acknowledges.
        address: the broker.
        device: the device's name.
        max_artifact_bytes: the largest artifact that is taken.
        desk: takes jobs; None leaves them unheard.
        config: what of the network may be used.
        keepalive_s: see `Link`.

    Messages that waited while there was no connection, and those that are sent again, are marked with the user property
    `historical`.

    Complete artifacts come out of `arrived`, as files' bytes, their hash checked and nothing else.
    """

    def __init__(
        self,
        outbox: Outbox,
        address: BrokerAddress,
        device: str,
        *,
        max_artifact_bytes: int = 64 << 20,
        desk: JobDesk | None = None,
        config: UplinkConfig = UplinkConfig(),  # noqa: B008  # frozen
        keepalive_s: int = 30,
    ) -> None:
        self.arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outbox = outbox
        self._device = device
        self._topics = DeviceTopics(device)
        self._up = lru_cache(maxsize=8)(self._topics.up)
        self._desk = desk
        self._max_artifact_bytes = max_artifact_bytes
        self._model: ModelRef | None = None
        self._version = _own_version()
        self._started = self._stopped = False
        self._session = 0
        self._pace = Pace(config, time.monotonic())
        self._quiet = False
        self._cursor = 0  # the last row that was read from the outbox
        self._ahead: deque[Row] = deque()
        self._parts: deque[bytes] = deque()  # of the row that was begun last
        self._parts_old = False
        self._in_flight: dict[tuple[int, int], _Sent] = {}  # the one sent first is first
        self._in_flight_bytes = 0
        self._acked_at_s = 0.0  # when that was sent which was acknowledged, of all the latest
        self._old_id = 0  # rows up to this one were there before the connection
        self._resend_s = _RESEND_S
        self._pause_s = _PAUSE_S
        self._resume_s: float | None = None  # nobody listens until then
        self._refusals = Refusals()
        self._collector: ChunkCollector | None = None
        self._handled_sha256 = ""
        self._link = Link(
            address,
            f"edgeloop-{device}",
            on_message=self._received,
            subscriptions=[self._topics.ack, self._topics.desired, *([self._topics.job] if desk is not None else [])],
            will=self._will,
            on_ready=self._announce_and_start_over,
            on_step=self._step,
            on_unheard=self._unheard,
            on_refused=self._refused,
            keepalive_s=keepalive_s,
        )

    def start(self) -> None:
        """Start the link's thread; it connects by itself, and goes on trying for as long as it takes."""
        self._link.__enter__()
        self._started = True

    def wake(self) -> None:
        """Say that the outbox has something new. Never blocks."""
        if self._started:
            self._link.wake()

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._link.is_connected

    def set_model(self, model: ModelRef) -> None:
        """Say which model runs now: it goes into the device's retained state."""
        self._model = model
        if self._link.is_connected:
            self._link.publish(self._topics.state, self._state(online=True), retain=True)

    def stop(self, *, drain_s: float) -> None:
        """Send what waits, for up to `drain_s` seconds, say goodbye and end the thread. A second call does nothing."""
        if not self._started or self._stopped:
            return
        self._stopped = True
        deadline = time.monotonic() + drain_s
        while self._outbox.counters().pending and time.monotonic() < deadline:
            self._link.wake()
            time.sleep(0.05)
        if self._link.is_connected:
            self._link.publish(self._topics.state, self._state(online=False), retain=True)
        self._link.__exit__(None, None, None)

    def _state(self, *, online: bool) -> bytes:
        return encode(
            State(
                device=self._device,
                epoch=self._outbox.epoch,
                online=online,
                time_s=time.time(),
                model=self._model,
                edgeloop=self._version,
                session=self._session,
            )
        )

    # The link's hooks.

    def _will(self) -> tuple[str, bytes]:
        self._session += 1
        return self._topics.state, self._state(online=False)

    def _announce_and_start_over(self) -> None:
        self._link.publish(self._topics.state, self._state(online=True), retain=True)
        self._old_id = self._outbox.last_id
        self._resend_s = _RESEND_S
        self._start_over()

    def _start_over(self) -> None:
        self._resume_s = None
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._parts.clear()
        self._look_again()

    def _unheard(self) -> None:
        """No ingest has subscribed: wait for a while, and begin again where we were."""
        if self._resume_s is None:
            log.info("nobody listens: waiting for %.0f s", self._pause_s)
            self._resume_s = time.monotonic() + self._pause_s
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)

    def _refused(self, topic: str) -> None:
        kind = topic.rpartition("/")[2].replace("part", "sample")
        if self._refusals.refused(kind, time.monotonic()):
            if kind == "sample":
                self._parts.clear()
            for key in [key for key, sent in self._in_flight.items() if sent.kind == kind]:
                self._landed(key)
            self._look_again()

    def _look_again(self) -> None:
        self._cursor = 0
        self._ahead.clear()

    def _step(self) -> None:
        try:
            self._send()
        except StorageError as error:  # it will be asked again in half a second
            log.warning("%s", error)

    def _send(self) -> None:
        now_s = time.monotonic()
        if self._resume_s is not None:
            if now_s < self._resume_s:
                return
            self._start_over()
        quiet = self._pace.is_quiet(time.localtime())
        if quiet != self._quiet:
            self._quiet = quiet
            self._look_again()
        allowance = self._pace.allowance(now_s)
        room = self._link.room
        while room > 0 and allowance > 0 and self._link.bytes_under_way < _BROKER_BYTES:
            room -= 1
            if self._parts:
                payload = self._parts.popleft()
                self._link.send(self._up("part"), payload, expiry_s=_EXPIRY_S, historical=self._parts_old)
                size_bytes = len(payload)
            elif (row := self._asking(now_s) or self._overdue(now_s)) is not None:
                size_bytes = self._begin(row, now_s, historical=True)
            elif (row := self._next()) is not None:
                size_bytes = self._begin(row, now_s, historical=row.id <= self._old_id)
            else:
                break
            allowance -= size_bytes
            self._pace.spend(size_bytes)

    def _begin(self, row: Row, now_s: float, *, historical: bool) -> int:
        """Send a row, or cut it into parts; how many bytes were sent."""
        self._in_flight[row.epoch, row.seq] = _Sent(row.id, len(row.payload), now_s, row.kind)
        self._in_flight_bytes += len(row.payload)
        parts = split(self._device, row, self._link.broker_max_bytes)
        if parts:
            self._parts.extend(parts)
            self._parts_old = historical
            return 0
        self._link.send(self._up(row.kind), row.payload, expiry_s=_EXPIRY_S, historical=historical)
        return len(row.payload)

    def _next(self) -> Row | None:
        """The oldest row that wasn't sent on this connection, as far as the window goes."""
        if len(self._in_flight) >= _WINDOW_ROWS or self._in_flight_bytes >= _WINDOW_BYTES:
            return None
        while True:
            if not self._ahead:
                kinds = self._refusals.others(_URGENT if self._quiet else _KINDS)
                if not kinds:
                    return None
                self._ahead += self._outbox.pending(self._cursor, _AHEAD_ROWS, max_bytes=_AHEAD_BYTES, kinds=kinds)
                if not self._ahead:
                    return None
                self._cursor = self._ahead[-1].id
            row = self._ahead.popleft()
            if (row.epoch, row.seq) not in self._in_flight:
                return row

    def _asking(self, now_s: float) -> Row | None:
        """The oldest row of a kind that the broker has refused, where it is time to ask whether it still does."""
        kinds = _URGENT if self._quiet else _KINDS
        if not self._refusals or (kind := self._refusals.may_ask(kinds, now_s)) is None:
            return None
        self._refusals.asked(kind, now_s)
        for key in [key for key, sent in self._in_flight.items() if sent.kind == kind]:
            self._landed(key)
        return next(iter(self._outbox.pending(0, 1, kinds=(kind,))), None)

    def _overdue(self, now_s: float) -> Row | None:
        """The row that has waited longest for the centre, where that is too long; it leaves the window.

        The time-out doubles with each, until an acknowledgement comes: one row asks whether the centre is back, and
        only then the others follow.
        """
        while self._in_flight:
            key = next(iter(self._in_flight))
            sent = self._in_flight[key]
            is_overtaken = sent.at_s < self._acked_at_s - _OVERTAKEN_S
            if now_s - sent.at_s < self._resend_s and not is_overtaken:
                return None
            self._landed(key)
            if sent.kind in self._refusals:
                continue
            if not is_overtaken:
                self._resend_s = min(_LONGEST_RESEND_S, 2 * self._resend_s)
            if (row := self._outbox.row(sent.row_id)) is not None:
                return row
        return None

    def _landed(self, key: tuple[int, int]) -> None:
        sent = self._in_flight.pop(key)
        self._in_flight_bytes -= sent.size_bytes

    def _received(self, topic: str, payload: bytes) -> None:
        try:
            if topic == self._topics.ack:
                self._acknowledged(decode(payload, Ack))
            elif topic == self._topics.desired:
                self._desired(decode(payload, Desired).artifact)
            elif chunk := parse_artifact_chunk(topic):
                self._chunk(chunk[0], chunk[1], payload)
            elif self._desk is not None and topic == self._topics.job:
                self._desk.offered(self._link, decode(payload, JobOffer))
            elif self._desk is not None and (part := self._topics.parse_job_part(topic)):
                self._desk.part(self._link, *part, payload)
        except EdgeloopError as error:
            log.warning("%s: %s", topic, error)

    def _acknowledged(self, ack: Ack) -> None:
        self._outbox.acknowledge(ack)
        self._resend_s, self._pause_s = _RESEND_S, _PAUSE_S
        for first, last in ack.ranges:
            for key in [key for key in self._in_flight if key[0] == ack.epoch and first <= key[1] <= last]:
                sent = self._in_flight[key]
                self._acked_at_s = max(self._acked_at_s, sent.at_s)
                self._landed(key)
                if sent.kind in self._refusals:
                    self._refusals.accepted(sent.kind)
                    self._look_again()

    def _desired(self, wanted: ArtifactRef) -> None:
        if wanted.sha256 == self._handled_sha256 or (self._model and wanted.version <= self._model.version):
            return
        self._collector = ChunkCollector(wanted, max_bytes=self._max_artifact_bytes)
        self._link.subscribe(artifact_filter(wanted.sha256))

    def _chunk(self, sha256: str, index: int, payload: bytes) -> None:
        collector = self._collector
        if collector is None or collector.wanted.sha256 != sha256:
            return
        try:
            data = collector.add(index, payload)
        except MessageError:
            self._forget_chunks(sha256)
            raise
        if data is not None:
            self._forget_chunks(sha256)
            self._handled_sha256 = sha256
            self.arrived.put(data)

    def _forget_chunks(self, sha256: str) -> None:
        self._collector = None
        self._link.unsubscribe(artifact_filter(sha256))


def _own_version() -> str:
    try:
        return version("edgeloop")
    except PackageNotFoundError:  # run from a source tree that isn't installed
        return ""
