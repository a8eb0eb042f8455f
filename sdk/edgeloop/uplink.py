"""The uplink: sends what the outbox holds, and takes what the centre says. All of it happens on the link's thread."""

from __future__ import annotations

import logging
import queue
import sqlite3
import time
from importlib.metadata import PackageNotFoundError, version

from edgeloop.errors import EdgeloopError, MessageError
from edgeloop.jobdesk import JobDesk
from edgeloop.link import Link
from edgeloop.messages import Ack, ArtifactRef, Desired, JobOffer, ModelRef, State, decode, encode
from edgeloop.mqtt import BrokerAddress
from edgeloop.outbox import Outbox
from edgeloop.topics import DeviceTopics, artifact_filter, parse_artifact_chunk
from edgeloop.updates import ChunkCollector

__all__ = ["Uplink"]

log = logging.getLogger(__name__)

_WINDOW_ROWS = 512  # sent and not yet acknowledged by the centre
_RESEND_S = 20.0


class Uplink:
    """Keeps a device in touch with the centre, whatever the network does.

    Args:
        outbox: what is to be sent; it is asked whenever `wake` was called, and forgets what the centre acknowledges.
        address: the broker.
        device: the device's name.
        max_artifact_bytes: the largest artifact that is taken.
        desk: takes jobs; None leaves them unheard.

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
    ) -> None:
        self.arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outbox = outbox
        self._device = device
        self._topics = DeviceTopics(device)
        self._desk = desk
        self._max_artifact_bytes = max_artifact_bytes
        self._model: ModelRef | None = None
        self._version = _own_version()
        self._started = self._stopped = False
        self._cursor = 0  # the last row that was sent
        self._in_flight = 0
        self._last_ack_s = 0.0
        self._collector: ChunkCollector | None = None
        self._handled_sha256 = ""
        self._link = Link(
            address,
            f"edgeloop-{device}",
            on_message=self._received,
            subscriptions=[self._topics.ack, self._topics.desired, *([self._topics.job] if desk is not None else [])],
            will=lambda: (self._topics.state, self._state(online=False)),
            on_ready=self._announce_and_start_over,
            on_step=self._send,
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
            )
        )

    # The link's hooks.

    def _announce_and_start_over(self) -> None:
        self._link.publish(self._topics.state, self._state(online=True), retain=True)
        self._cursor = self._in_flight = 0

    def _send(self) -> None:
        now = time.monotonic()
        if self._in_flight and now - self._last_ack_s > _RESEND_S:
            log.info("no acknowledgement for %.0f s: sending again", _RESEND_S)
            self._cursor = self._in_flight = 0
        room = _WINDOW_ROWS - self._in_flight
        try:
            rows = self._outbox.pending(self._cursor, room) if room > 0 else []
        except sqlite3.Error as error:  # a disk that fails must not end the link: updates come over it
            log.warning("outbox: %s", error)
            return
        if rows and not self._in_flight:
            self._last_ack_s = now
        for row in rows:
            self._link.send(self._topics.up(row.kind), row.payload)
            self._cursor = row.id
        self._in_flight += len(rows)

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
        except (EdgeloopError, sqlite3.Error) as error:  # the latter on a full disk: the centre's next word comes
            log.warning("%s: %s", topic, error)

    def _acknowledged(self, ack: Ack) -> None:
        gone = self._outbox.acknowledge(ack)
        self._in_flight = max(0, self._in_flight - gone)
        self._last_ack_s = time.monotonic()

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
