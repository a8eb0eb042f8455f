"""Predictions on an MQTT topic, where Home Assistant finds them by itself."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.runtime import Prediction, Runtime
from edgeloop.sinks.base import record
from edgeloop.sinks.discovery import AVAILABLE, UNAVAILABLE, discovery_messages
from edgeloop.topics import ROOT, check_device_name, shard_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from edgeloop.link import Link

__all__ = ["Mqtt", "MqttSink"]


class Mqtt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mqtt"):
    """An MQTT topic.

    Args:
        broker: `mqtt://host:port`; None in an agent's configuration is the agent's own.
        topic: where predictions go; None is `edgeloop/1/<shard>/<device>/prediction`.
        min_interval_s: between two messages; of what comes faster the newest is sent.
        discovery_prefix: Home Assistant's; None announces nothing.
    """

    broker: str | None = None
    topic: str | None = None
    min_interval_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    discovery_prefix: str | None = "homeassistant"

    def open(self, device: str) -> MqttSink:
        """Start to connect; see `MqttSink`. Raises `ConfigError`."""
        if self.broker is None:
            raise ConfigError("sink.broker: which one? write mqtt://HOST[:PORT]")
        return MqttSink(
            self.broker,
            device,
            topic=self.topic,
            min_interval_s=self.min_interval_s,
            discovery_prefix=self.discovery_prefix,
        )


class MqttSink:
    """Publishes predictions as JSON, at a bounded rate, one at a time in flight.

    `suppressed` counts predictions that a newer one overtook; `lost` what had no connection. Below the topic,
    `availability` says "online" or "offline", retained.

    Args:
        broker: `mqtt://host:port`; the link comes up by itself, and comes back by itself.
        device: the device's name.
        topic: see `Mqtt`.
        min_interval_s: see `Mqtt`.
        discovery_prefix: see `Mqtt`.
        clock: seconds that never jump.

    Raises:
        ConfigError: an address, a device's name or a topic that can't be.
    """

    def __init__(
        self,
        broker: str,
        device: str,
        *,
        topic: str | None = None,
        min_interval_s: float = 1.0,
        discovery_prefix: str | None = "homeassistant",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from edgeloop.link import Link

        check_device_name(device)
        self.topic = topic or f"{ROOT}/{shard_of(device):02d}/{device}/prediction"
        if set("+#") & set(self.topic):
            raise ConfigError(f"sink.topic {self.topic!r}: '+' and '#' can't be published to")
        self.lost = self.suppressed = 0
        self._device, self._prefix = device, discovery_prefix
        self._min_interval_s, self._clock = min_interval_s, clock
        self._held: bytes | None = None
        self._in_flight: Future[None] | None = None
        self._sent_s: float | None = None
        self._announcement: dict[str, bytes] = {}
        self._announced: tuple[str, int] | None = None
        self._link: Link = Link(
            broker,
            f"edgeloop-sink-{uuid.uuid4().hex[:8]}",
            will=lambda: (self._availability, UNAVAILABLE),
            on_ready=self._announce,
        )
        self._link.__enter__()

    @property
    def _availability(self) -> str:
        return f"{self.topic}/availability"

    def wait_connected(self, timeout_s: float = 10) -> None:
        """Wait for the broker. Raises `BrokerError` after `timeout_s`."""
        self._link.wait_connected(timeout_s)

    def write(self, ref: str, prediction: Prediction, runtime: Runtime) -> None:
        """Publish now, or hold until the interval is over."""
        manifest = runtime.manifest
        if self._prefix is not None and self._announced != (manifest.name, manifest.version):
            self._announced = (manifest.name, manifest.version)
            shape = prediction.output.shape
            self._announcement = discovery_messages(manifest, self._device, self.topic, shape, self._prefix)
            if self._link.is_connected:
                self._announce()
        self.suppressed += self._held is not None
        self._held = msgspec.json.encode(record(ref, prediction, runtime))
        self.flush()

    def flush(self) -> None:
        """Publish what is held, if the interval is over and the broker has the one before."""
        now = self._clock()
        is_early = self._sent_s is not None and now - self._sent_s < self._min_interval_s
        if self._held is None or is_early or not (self._in_flight is None or self._in_flight.done()):
            return
        held, self._held = self._held, None
        self._sent_s = now
        if self._link.is_connected:
            self._in_flight = self._link.publish(self.topic, held)
        else:
            self.lost += 1

    def close(self) -> None:
        """Publish what is held, say that we go, and leave the broker."""
        if self._link.is_connected:
            if self._held is not None:
                self._link.publish(self.topic, self._held)
            self._link.publish(self._availability, UNAVAILABLE, retain=True)
        else:
            self.lost += self._held is not None
        self._held = None
        self._link.__exit__(None, None, None)

    def _announce(self) -> None:
        """Say what there is: at each connect, since a broker may have forgotten, and when the model changes."""
        for topic, payload in self._announcement.items():
            self._link.publish(topic, payload, retain=True)
        self._link.publish(self._availability, AVAILABLE, retain=True)
