"""A connection to the broker: one thread owns the paho client, all others hand messages over to it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeloop.errors import BrokerError
from edgeloop.mqtt import BrokerAddress, make_client, parse_broker_url

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Link"]

log = logging.getLogger(__name__)

_KEEPALIVE_S = 30
_FIRST_BACKOFF_S = 0.25
_LAST_BACKOFF_S = 30.0
_DRAIN_S = 3.0

OnMessage = Callable[[str, bytes], None]


def _nothing() -> None:
    pass


class Link:
    """An MQTT 5 connection that comes back by itself, with full jitter between attempts (Brooker, AWS, 2015).

    Args:
        address: the broker's address, or its URL (see `parse_broker_url`).
        client_id: the broker's name for the session.
        on_message: called as (topic, payload) on the link's thread; it must only hand the message over. It may
            block for a while: that is the backpressure.
        subscriptions: topic filters, subscribed with QoS 1 at each connect.
        session_s: how long the broker keeps the session and its queue while we are away; 0 for none.
        will: gives, at each connect, the topic and payload that the broker retains for us when we vanish.
        on_ready: called on the link's thread at each connect, once all is subscribed.
        on_step: called on the link's thread after whatever wakes it (`wake` among it), and at least twice a second,
            while there is a connection.
        rng: draws the jitter.
    """

    def __init__(
        self,
        address: BrokerAddress | str,
        client_id: str,
        *,
        on_message: OnMessage | None = None,
        subscriptions: Sequence[str] = (),
        session_s: int = 0,
        will: Callable[[], tuple[str, bytes]] | None = None,
        on_ready: Callable[[], None] = _nothing,
        on_step: Callable[[], None] = _nothing,
        rng: random.Random | None = None,
    ) -> None:
        self._address = address if isinstance(address, BrokerAddress) else parse_broker_url(address)
        self.url = str(self._address)
        self._client = make_client(self._address, client_id)
        self._subscriptions = dict.fromkeys(subscriptions)
        self._will, self._on_ready, self._on_step = will, on_ready, on_step
        self._session_s = session_s
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._on_message = on_message
        self._outgoing: deque[tuple[str, bytes, bool, Future[None]]] = deque()
        self._unacknowledged: dict[int, Future[None]] = {}
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._problem = "no answer yet"
        self._wake_read, self._wake_write = -1, -1
        self._thread = threading.Thread(target=self._run, name=f"link {client_id}", daemon=True)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_publish = self._published
        self._client.on_message = self._received

    def __enter__(self) -> Self:
        """Start connecting; see `wait_connected`."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what waits, for up to 3 s, then disconnect."""
        self._stopping.set()
        self.wake()
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted us and all subscriptions."""
        return self._ready.is_set()

    def wait_connected(self, timeout_s: float = 10) -> None:
        """Wait until the broker has accepted us and all subscriptions. Raises `BrokerError` after `timeout_s`."""
        if not self._ready.wait(timeout_s):
            raise BrokerError(f"broker {self.url}: not connected after {timeout_s:g} s: {self._problem}")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Future[None]:
        """Send with QoS 1 as soon as there is a connection. The future is done when the broker has it (PUBACK)."""
        future: Future[None] = Future()
        self._outgoing.append((topic, payload, retain, future))
        self.wake()
        return future

    def wake(self) -> None:
        """Have the link's thread take a step now. From any thread; never blocks."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_write, b"x")

    # All below runs on the link's own thread, paho's callbacks among it, and may be called from the hooks.

    def send(self, topic: str, payload: bytes) -> None:
        """Send with QoS 1 now, without a future. Only from a hook."""
        self._client.publish(topic, payload, qos=1)

    def subscribe(self, topic: str) -> None:
        """Subscribe to one more filter, now and at each connect. Only from a hook."""
        self._subscriptions[topic] = None
        self._client.subscribe(topic, 1)

    def unsubscribe(self, topic: str) -> None:
        """Leave a filter. Only from a hook."""
        self._subscriptions.pop(topic, None)
        self._client.unsubscribe(topic)

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            if self._connect() and self._serve():
                attempt = 0
            self._ready.clear()
            if not self._stopping.is_set():
                longest = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2**attempt)
                self._stopping.wait(self._rng.uniform(0, longest))
                attempt = min(attempt + 1, 16)
        self._disconnect()

    def _connect(self) -> bool:
        properties = None
        if self._session_s:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            properties.SessionExpiryInterval = self._session_s
        if self._will is not None:
            self._client.will_set(*self._will(), qos=1, retain=True)
        try:
            self._client.connect(
                self._address.host,
                self._address.port,
                _KEEPALIVE_S,
                clean_start=not self._session_s,
                properties=properties,
            )
        except OSError as error:
            self._problem = str(error)
            log.info("broker %s: %s", self.url, error)
            return False
        return True

    def _serve(self) -> bool:
        """Serve one connection until it ends; whether it ever was ready."""
        was_ready = False
        while self._step(0.5):
            if self._ready.is_set():
                was_ready = True
                self._on_step()
            if self._stopping.is_set() and not self._drain():
                break
        if not self._stopping.is_set():
            log.warning("broker %s: the connection ended", self.url)
        return was_ready

    def _drain(self) -> bool:
        """Send what waits and hear its PUBACKs; gives up after 3 s, or where there is no connection."""
        deadline = time.monotonic() + _DRAIN_S
        while (self._outgoing or self._unacknowledged) and self._ready.is_set() and time.monotonic() < deadline:
            if not self._step(0.05):
                break
        return False

    def _step(self, timeout_s: float) -> bool:
        """Wait for the socket or a wake-up and do what is due; False when the connection has ended."""
        sock = self._client.socket()
        if sock is None:
            return False
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        pending = getattr(sock, "pending", int)()  # TLS may hold decrypted bytes that poll() doesn't see
        events = dict(poll.poll(0 if pending else int(timeout_s * 1000)))
        if self._wake_read in events:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        self._send_outgoing()
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        if pending or events.get(sock.fileno(), 0) & ~select.POLLOUT:
            result = self._client.loop_read()
        if result == 0 and self._client.want_write():
            result = self._client.loop_write()
        return result == 0 and self._client.loop_misc() == 0

    def _send_outgoing(self) -> None:
        while self._outgoing and self._ready.is_set():
            topic, payload, retain, future = self._outgoing.popleft()
            self._unacknowledged[self._client.publish(topic, payload, qos=1, retain=retain).mid] = future

    def _disconnect(self) -> None:
        self._client.disconnect()
        while self._client.socket() is not None and self._client.want_write() and self._client.loop_write() == 0:
            pass
        lost = [*self._unacknowledged.values(), *(future for *_, future in self._outgoing)]
        for future in lost:
            future.set_exception(BrokerError(f"broker {self.url}: closed before it acknowledged a message"))

    def _connected(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._problem = f"refused: {reason}"
            log.warning("broker %s: refused: %s", self.url, reason)
        elif self._subscriptions:
            self._client.subscribe([(topic, 1) for topic in self._subscriptions])
        else:
            self._become_ready()

    def _become_ready(self) -> None:
        if not self._ready.is_set():
            self._ready.set()
            self._on_ready()

    def _subscribed(self, _client: Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._problem = f"a subscription was refused: {refused[0]}"
            log.warning("broker %s: %s", self.url, self._problem)
        else:
            self._become_ready()

    def _published(self, _client: Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        future = self._unacknowledged.pop(mid, None)
        if future is None:
            return
        if reason.is_failure:
            future.set_exception(BrokerError(f"broker {self.url}: refused a message: {reason}"))
        else:
            future.set_result(None)

    def _received(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if self._on_message is not None:
            self._on_message(message.topic, bytes(message.payload))
