"""An enrolled device over MQTT: its agent takes a job where its configuration allows that (`[jobs]`)."""

from __future__ import annotations

import queue
import secrets
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgeloop.errors import ConfigError, PlaceError
from edgeloop.jobdesk import blob_ref, split
from edgeloop.link import Link
from edgeloop.messages import JobOffer, JobReply, State, decode, encode
from edgeloop.mqtt import BrokerAddress, parse_broker_url
from edgeloop.topics import DeviceTopics
from edgeloop.updates import ChunkCollector

__all__ = ["MqttPlace", "parse_device_url"]

_SEEN_S, _ACCEPTED_S = 5.0, 20.0
_MAX_ANSWER_BYTES = 1 << 30


@dataclass(frozen=True)
class MqttPlace:
    """A device with a running agent.

    Args:
        name: the URL.
        broker: where it is to be found.
        device: its name.
        timeout_s: from the job's acceptance to the whole answer.
    """

    name: str
    broker: BrokerAddress
    device: str
    timeout_s: float = 1800.0

    is_emulator = False

    def check(self) -> None:
        """See `Place.check`. Raises `BrokerError`, too. Whether it takes jobs shows only when one is offered."""
        asking = _Asking(self, b"")
        with asking.link:
            asking.check()

    def ask(self, job: bytes) -> bytes:
        """See `Place.ask`. Raises `BrokerError`, too."""
        asking = _Asking(self, job)
        with asking.link:
            asking.check()
            return asking.run()


class _Asking:
    """One job on its way."""

    def __init__(self, place: MqttPlace, job: bytes) -> None:
        self._place, self._job = place, job
        self._id = secrets.token_hex(8)
        self._topics = DeviceTopics(place.device)
        self._came: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

        topics = self._topics
        self.link = Link(
            place.broker,
            f"edgeloop-job-{self._id}",
            on_message=lambda topic, payload: self._came.put((topic, payload)),
            subscriptions=[topics.state, topics.job_reply(self._id), topics.job_part(self._id, "out", "+")],
        )

    def run(self) -> bytes:
        self.link.publish(self._topics.job, encode(JobOffer(self._id, blob_ref(self._job))))
        self._reply(_ACCEPTED_S, "it doesn't answer: is its edgeloop too old to take jobs?")
        for index, chunk in enumerate(split(self._job)):
            self.link.publish(self._topics.job_part(self._id, "in", index), chunk)
        late = f"no answer within {self._place.timeout_s:g} s: give it fewer samples, or seconds"
        deadline_s = time.monotonic() + self._place.timeout_s
        return self._collect(self._reply(self._place.timeout_s, late), deadline_s, late)

    def check(self) -> None:
        """Whether the device is there: its state is retained, so it comes at once."""
        self.link.wait_connected()
        try:
            topic, payload = self._came.get(timeout=_SEEN_S)
        except queue.Empty:
            raise self._error(f"no such device has been seen at {self._place.broker}: check its name") from None
        if topic == self._topics.state and payload and not decode(payload, State).online:
            raise self._error("it is offline")

    def _reply(self, timeout_s: float, late: str) -> JobReply:
        deadline_s = time.monotonic() + timeout_s
        while True:
            topic, payload = self._next(deadline_s, late)
            if topic != self._topics.job_reply(self._id):
                continue
            reply = decode(payload, JobReply)
            if reply.state in ("refused", "failed"):
                raise self._error(reply.reason)
            return reply

    def _collect(self, reply: JobReply, deadline_s: float, late: str) -> bytes:
        if reply.answer is None:
            raise self._error("it said that it is done, and not what it answers")
        collector = ChunkCollector(reply.answer, max_bytes=_MAX_ANSWER_BYTES)
        while True:
            topic, payload = self._next(deadline_s, late)
            part = self._topics.parse_job_part(topic)
            if part is not None and (data := collector.add(part[1], payload)) is not None:
                return data

    def _next(self, deadline_s: float, late: str) -> tuple[str, bytes]:
        """The next message; a device that says goodbye meanwhile won't answer."""
        try:
            topic, payload = self._came.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            raise self._error(late) from None
        if topic == self._topics.state and payload and not decode(payload, State).online:
            raise self._error("it went offline before it answered")
        return topic, payload

    def _error(self, reason: str) -> PlaceError:
        return PlaceError(f"{self._place.name}: {reason}")


def parse_device_url(url: str) -> MqttPlace:
    """Read `mqtt://broker[:port]/DEVICE`, or `mqtts://…`. Raises `ConfigError`."""
    parts = urlsplit(url)
    device = parts.path.strip("/")
    if not device:
        raise ConfigError(f"{url!r} names no device: write mqtt://BROKER[:PORT]/DEVICE")
    DeviceTopics(device)
    return MqttPlace(url, parse_broker_url(f"{parts.scheme}://{parts.netloc}"), device)
