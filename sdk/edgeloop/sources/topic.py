"""Inputs from an MQTT topic."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from edgeloop.errors import ConfigError
from edgeloop.sources.item import Item
from edgeloop.sources.payload import from_json, from_raw

if TYPE_CHECKING:
    from edgeloop.link import Link

__all__ = ["Topic", "TopicItems"]

_WAITING = 64
_POLL_S = 1.0


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mqtt"):
    """What is published on an MQTT topic.

    Args:
        topic: a topic or a filter with wildcards.
        broker: `mqtt://host:port`; None in an agent's configuration is the agent's own.
        dtype: of raw payloads, as NumPy calls it ("<f4"); None is for JSON (see `payload.from_json`).
        shape: of raw payloads.
    """

    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=65535)]
    broker: str | None = None
    dtype: str | None = None
    shape: tuple[Annotated[int, msgspec.Meta(gt=0)], ...] = ()

    def open(self) -> TopicItems:
        """Subscribe; each input is named by its topic. The link comes up by itself, and comes back by itself.

        Raises:
            ConfigError: no broker, no such dtype, or a filter that can't be.
        """
        if self.broker is None:
            raise ConfigError("source.broker: which one? write mqtt://HOST[:PORT]")
        *first, last = self.topic.split("/")
        if any("#" in level for level in first) or any(set("+#") & set(x) and len(x) > 1 for x in (*first, last)):
            raise ConfigError(
                f"source.topic {self.topic!r}: '+' stands for a whole level, '#' for all from the last on"
            )
        return TopicItems(self, _dtype(self.dtype))


class TopicItems:
    """An iterator over what comes; `close` ends it from any thread."""

    def __init__(self, source: Topic, dtype: np.dtype[Any] | None) -> None:
        from edgeloop.bounded import BoundedQueue
        from edgeloop.link import Link

        self._source, self._dtype = source, dtype
        # The link's thread waits here when nobody takes: so the broker keeps what we can't.
        self._queue: BoundedQueue[tuple[str, bytes]] = BoundedQueue(_WAITING)
        self._link: Link = Link(
            source.broker or "",
            f"edgeloop-source-{uuid.uuid4().hex[:8]}",
            on_message=self._received,
            subscriptions=[source.topic],
        )
        self._link.__enter__()

    def wait_connected(self, timeout_s: float = 10) -> None:
        """Wait until the broker has accepted the subscription. Raises `BrokerError` after `timeout_s`."""
        self._link.wait_connected(timeout_s)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        while not self._queue.is_drained:
            for topic, payload in self._queue.take(_POLL_S):
                if self._dtype is None:
                    return from_json(payload, topic)
                return from_raw(payload, self._dtype, self._source.shape, topic)
        raise StopIteration

    def close(self) -> None:
        """Leave the broker; what waits is still given. A second call does nothing."""
        if not self._queue.is_closed:
            self._queue.close()
            self._link.__exit__(None, None, None)

    def _received(self, topic: str, payload: bytes) -> None:
        self._queue.put((topic, payload))


def _dtype(name: str | None) -> np.dtype[Any] | None:
    try:
        dtype = None if name is None else np.dtype(name)
    except TypeError as error:
        raise ConfigError(f"source.dtype {name!r}: {error}") from error
    if dtype is not None and dtype.kind not in "fiub":
        raise ConfigError(f"source.dtype {name!r}: not numbers")
    return dtype
