"""A connection to the broker: one thread owns the paho client, all others hand messages over to it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode

from edgeloop.buffered import BufferedClient
from edgeloop.errors import BrokerError
from edgeloop.mqtt import BrokerAddress, make_client, parse_broker_url, wire_text
from edgeloop.properties import connect_properties, packed_publish_properties, publish_properties

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Link"]

log = logging.getLogger(__name__)

_KEEPALIVE_S = 30
_FIRST_BACKOFF_S = 0.25
_LAST_BACKOFF_S = 30.0
_DRAIN_S = 3.0
_TAKEN_OVER_ATTEMPTS = 5  # of back-off where another client has our name: the two would throw each other out for ever
_READS = 64  # packets, before others get their turn
_RECEIVE_MAX = 20  # what is under way to a broker that doesn't say what it takes (Mosquitto's own default)
_OTHER_VERSION_AFTER = 3
_NO_SUBSCRIBERS, _REFUSED = 0x10, 0x80  # reason codes of PUBACK, MQTT 5.0, 3.4.2.1: from the latter on it is a failure

OnMessage = Callable[[str, bytes], None]


@dataclass(frozen=True)
class _Outgoing:
    """A message that others have handed over, with the future that tells them what became of it."""

    topic: str
    payload: bytes
    retain: bool
    expiry_s: int
    future: Future[None]


def _nothing() -> None:
    pass


class Link:
    """An MQTT 5 connection that comes back by itself, with full jitter between attempts (Brooker, AWS, 2015).

    A broker that refuses MQTT 5 is spoken to in 3.1.1 from then on: without expiry, bounds on what is under way, and
    marks on historical messages. One that hangs up without a word is tried three times in each, until it has answered.

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
        on_unheard: called on the link's thread where the broker says of a message sent with `send` that nobody has
            subscribed to it.
        on_refused: called on the link's thread as (topic) where the broker refuses a message sent with `send`.
        receive_max: how many messages the broker may send before we have acknowledged the first.
        keepalive_s: after this long without a word from either side the broker is asked whether it is there, and
            after this long without an answer the connection is given up.
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
        on_unheard: Callable[[], None] = _nothing,
        on_refused: Callable[[str], None] = lambda _topic: None,
        receive_max: int = 64,
        keepalive_s: int = _KEEPALIVE_S,
        rng: random.Random | None = None,
    ) -> None:
        self._address = address if isinstance(address, BrokerAddress) else parse_broker_url(address)
        self.url = str(self._address)
        self._client_id = client_id
        self._receive_max, self._keepalive_s = receive_max, keepalive_s
        self._version_5, self._hung_up, self._answered = True, 0, False
        self._taken_over = False
        self._subscriptions = dict.fromkeys(subscriptions)
        self._will, self._on_ready, self._on_step = will, on_ready, on_step
        self._on_unheard, self._on_refused = on_unheard, on_refused
        self._refused = False  # on this connection
        self._refused_topics: set[str] = set()  # that the log has
        self._session_s = session_s
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._on_message = on_message
        self._outgoing: deque[_Outgoing] = deque()
        self._under_way: dict[int, _Outgoing | tuple[str, int]] = {}  # by packet id: what, or its topic and size
        self._broker_max, self.broker_max_bytes = _RECEIVE_MAX, 1 << 28
        self.bytes_under_way = 0
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._problem = "no answer yet"
        self._wake_read, self._wake_write = -1, -1
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._run, name=f"link {client_id}", daemon=True)

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

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int = 0) -> Future[None]:
        """Send with QoS 1 as soon as there is a connection. The future is done when the broker has it (PUBACK).

        Args:
            topic: where to.
            payload: what.
            retain: whether the broker keeps it for those who subscribe later.
            expiry_s: for how long the broker may hold it for those who are away; 0 for ever.
        """
        future: Future[None] = Future()
        self._outgoing.append(_Outgoing(topic, payload, retain, expiry_s, future))
        self.wake()
        return future

    def wake(self) -> None:
        """Have the link's thread take a step now. From any thread; never blocks."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_write, b"x")

    # All below runs on the link's own thread, paho's callbacks among it, and may be called from the hooks.

    @property
    def room(self) -> int:
        """How many messages the broker takes before it has acknowledged one of those that are under way."""
        return self._broker_max - len(self._under_way)

    def send(self, topic: str, payload: bytes, *, expiry_s: int = 0, historical: bool = False) -> int:
        """Send with QoS 1 now, without a future; give the packet id. Only from a hook, and while there is `room`."""
        properties = packed_publish_properties(expiry_s=expiry_s, historical=historical) if self._version_5 else b""
        packet_id = self._client.send(wire_text(topic), properties, payload)
        self._under_way[packet_id] = topic, len(payload)
        self.bytes_under_way += len(payload)
        return packet_id

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
            self._taken_over = self._refused = False
            # Mosquitto hangs up on who publishes what it refuses: who comes back at once would do so for ever.
            if self._connect() and self._serve() and not self._refused:
                attempt = 0
            if self._taken_over:
                log.warning("broker %s: another client has come under our name, %s", self.url, self._client_id)
                attempt = max(attempt, _TAKEN_OVER_ATTEMPTS)
            self._ready.clear()
            if not self._stopping.is_set():
                longest = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2**attempt)
                self._stopping.wait(self._rng.uniform(0, longest))
                attempt = min(attempt + 1, 16)
        self._disconnect()

    def _new_client(self) -> BufferedClient:
        client = make_client(
            self._address, self._client_id, version_5=self._version_5, clean_session=not self._session_s
        )
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_sent = self._sent
        client.on_message = self._received
        return client

    def _connect(self) -> bool:
        """Connect anew, with none of paho's memories: what was under way is ours to send again."""
        again = [message for message in self._under_way.values() if isinstance(message, _Outgoing)]
        self._outgoing.extendleft(reversed(again))
        self._under_way.clear()
        self.bytes_under_way = 0
        self._broker_max, self.broker_max_bytes = _RECEIVE_MAX, 1 << 28
        self._client = self._new_client()
        if self._will is not None:
            self._client.will_set(*self._will(), qos=1, retain=True)
        options: dict[str, Any] = {}
        if self._version_5:
            options["clean_start"] = not self._session_s
            options["properties"] = connect_properties(session_s=self._session_s, receive_max=self._receive_max)
        try:
            self._client.connect(self._address.host, self._address.port, self._keepalive_s, **options)
        except OSError as error:
            self._problem = str(error)
            log.info("broker %s: %s", self.url, error)
            return False
        sock: Any = self._client.socket()
        if sock is not None:
            # What is written once a step is never too small to go, and Nagle would hold it back for a round trip.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True

    def _serve(self) -> bool:
        """Serve one connection until it ends; whether it ever was ready."""
        was_ready = False
        while self._step(0.5):
            if self._ready.is_set():
                was_ready = True
                self._on_step()
                if self._client.want_write():
                    self._client.loop_write()
            if self._stopping.is_set() and not self._drain():
                break
        if not self._stopping.is_set():
            log.warning("broker %s: the connection ended", self.url)
            self._hung_up += 1
            if not self._answered and self._hung_up % _OTHER_VERSION_AFTER == 0:
                self._change_version("it hangs up")
        return was_ready

    def _change_version(self, why: str) -> None:
        self._version_5 = not self._version_5
        spoken = "5" if self._version_5 else "3.1.1, without expiry, flow control and marks"
        log.warning("broker %s: %s: speaking MQTT %s", self.url, why, spoken)

    def _drain(self) -> bool:
        """Send what waits and hear its PUBACKs; gives up after 3 s, or where there is no connection."""
        deadline = time.monotonic() + _DRAIN_S
        while (self._outgoing or self._under_way) and self._ready.is_set() and time.monotonic() < deadline:
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
        # TLS may hold decrypted bytes that poll() doesn't see, and so may the client.
        pending = self._client.has_input or getattr(sock, "pending", int)()
        events = dict(poll.poll(0 if pending else int(timeout_s * 1000)))
        if self._wake_read in events:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        self._send_outgoing()
        result = MQTTErrorCode.MQTT_ERR_SUCCESS
        if pending or events.get(sock.fileno(), 0) & ~select.POLLOUT:
            result = self._read(sock)
        if result == 0 and self._client.want_write():
            result = self._client.loop_write()
        return result == 0 and self._client.loop_misc() == 0

    def _read(self, sock: Any) -> MQTTErrorCode:
        """Read what has come: paho takes one packet at a time where nothing of ours is under way."""
        readable = select.poll()
        readable.register(sock, select.POLLIN)
        for _ in range(_READS):
            result = self._client.loop_read()
            if result != 0 or self._client.socket() is None:
                break
            if not (self._client.has_input or readable.poll(0)):
                break
        return result

    def _send_outgoing(self) -> None:
        while self._outgoing and self._ready.is_set() and self.room > 0:
            message = self._outgoing.popleft()
            properties = publish_properties(expiry_s=message.expiry_s) if self._version_5 else None
            sent = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
            self._under_way[sent.mid] = message

    def _disconnect(self) -> None:
        self._client.disconnect()
        while self._client.socket() is not None and self._client.want_write() and self._client.loop_write() == 0:
            pass
        for message in [*self._under_way.values(), *self._outgoing]:
            if isinstance(message, _Outgoing):
                error = BrokerError(f"broker {self.url}: closed before it acknowledged a message")
                message.future.set_exception(error)

    def _connected(self, _client: Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._problem = f"refused: {reason}"
            log.warning("broker %s: refused: %s", self.url, reason)
            if self._version_5 and str(reason) == "Unsupported protocol version":
                self._change_version("it refuses MQTT 5")
            return
        self._answered = True
        self._broker_max = getattr(properties, "ReceiveMaximum", 65535 if self._version_5 else _RECEIVE_MAX)
        self.broker_max_bytes = getattr(properties, "MaximumPacketSize", 1 << 28)
        if self._subscriptions:
            self._client.subscribe([(topic, 1) for topic in self._subscriptions])
        else:
            self._become_ready()

    def _disconnected(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._taken_over = str(reason) == "Session taken over"

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
        message = self._under_way.pop(mid, None)
        if not isinstance(message, _Outgoing):
            return
        if reason.is_failure:
            self._say_refused(message.topic, str(reason))
            message.future.set_exception(BrokerError(f"broker {self.url}: refused a message: {reason}"))
        else:
            message.future.set_result(None)

    def _sent(self, mid: int, reason: int) -> None:
        topic, size_bytes = self._under_way.pop(mid)  # type: ignore[misc]  # what `send` sent is no _Outgoing
        self.bytes_under_way -= size_bytes
        if reason >= _REFUSED:  # the centre's acknowledgement won't come either
            self._say_refused(topic, f"reason {reason:#x}")
            self._on_refused(topic)
        elif reason == _NO_SUBSCRIBERS:
            self._on_unheard()

    def _say_refused(self, topic: str, why: str) -> None:
        self._refused = True
        level = logging.DEBUG if topic in self._refused_topics else logging.WARNING
        self._refused_topics.add(topic)
        log.log(level, "broker %s: refuses messages on %s: %s", self.url, topic, why)

    def _received(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if self._on_message is not None:
            self._on_message(message.topic, bytes(message.payload))
