"""Thousands of simulated devices in one process: a socket and a paho client each, and one thread with one `epoll`.

Each behaves as `edgeloop.uplink` does: it subscribes to its acknowledgements, says that it is there, sends with QoS 1,
sends again what the centre hasn't acknowledged after 20 s or when the connection was lost, and forgets when it has.
"""

from __future__ import annotations

import heapq
import random
import selectors
import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from paho.mqtt.client import MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from edgeloop.buffered import BufferedClient
from edgeloop.errors import BrokerError
from edgeloop.messages import Ack, State, decode, encode
from edgeloop.mqtt import BrokerAddress, make_client
from edgeloop.tls import TlsFiles
from edgeloop.topics import DeviceTopics

__all__ = ["Device", "Swarm", "Tally"]

_RESEND_S = 20.0
_KEEPALIVE_S = 60
_ROUND_S = 10.0  # within which each client may look after its keep-alive
_RETRY_S = (1.0, 5.0)
_GOODBYE_S = 30.0


@dataclass
class Tally:
    """What the devices have done. `delays_us` is from a message's first sending to the centre's acknowledgement.

    `refused` counts attempts to connect that failed, and `problem` says why the last one did.
    """

    sent: int
    resent: int
    acknowledged: int
    connections: int
    refused: int
    problem: str
    delays_us: array[float]


class Device:
    """One device: its client, and the sequence number that it sent last."""

    __slots__ = ("client", "is_ready", "name", "seq", "topics", "waiting")

    def __init__(self, name: str, address: BrokerAddress) -> None:
        self.name, self.topics = name, DeviceTopics(name)
        self.client: BufferedClient = make_client(address, f"edgeloop-{name}")
        self.is_ready = False
        self.seq = 0
        self.waiting: dict[int, float] = {}  # sequence number → when it was sent first


class Swarm:
    """All devices, driven by the methods of this class on the thread that calls them.

    Args:
        address: the broker.
        devices: their names, and with TLS the files of each.
        epoch: of all of them.
        payload: makes a message: (device's name, sequence number) → what goes out below `up/profile`.
        rng: spreads their sendings and draws jitter.

    Raises:
        ConfigError: files that can't be used.
    """

    def __init__(
        self,
        address: BrokerAddress,
        devices: Mapping[str, TlsFiles | None],
        *,
        epoch: int,
        payload: Callable[[str, int], bytes],
        rng: random.Random,
    ) -> None:
        self.tally = Tally(0, 0, 0, 0, 0, "", array("d"))
        self._address, self._epoch, self._payload, self._rng = address, epoch, payload, rng
        self._selector = selectors.DefaultSelector()
        self.devices = [self._make(index, *device) for index, device in enumerate(devices.items())]
        self.ready = 0  # devices that are connected and have subscribed
        self._last_sent: dict[tuple[int, int], float] = {}  # (device, sequence number) → when; the oldest first
        self._due: list[tuple[float, int]] = []
        self._absent: list[tuple[float, int]] = []
        self._next_misc = 0
        self._misc_s = time.monotonic()

    def connect(self, *, per_s: float, timeout_s: float, on_ready: Callable[[int], None]) -> float:
        """Connect all, at a pace; the seconds that it took.

        Raises:
            BrokerError: the first one can't connect, or not all are connected after `timeout_s`.
        """
        start_s = time.monotonic()
        for index in range(len(self.devices)):
            due_s = start_s + index / per_s
            self._connect(index, is_first=index == 0)
            while True:
                self._step(min(due_s - time.monotonic(), 0.1))
                if time.monotonic() >= due_s:
                    break
            if index % 50 == 0:
                on_ready(self.ready)
        while self.ready < len(self.devices):
            self._step(0.1)
            on_ready(self.ready)
            if time.monotonic() - start_s > timeout_s:
                raise BrokerError(
                    f"{self._address}: {self.ready} of {len(self.devices)} devices connected after {timeout_s:g} s, "
                    f"{self.tally.refused} attempts failed ({self.tally.problem or 'no answer'}): "
                    "raise the broker's limits, or give it more time"
                )
        return time.monotonic() - start_s

    def send_for(self, duration_s: float, *, interval_s: float, on_step: Callable[[float], None]) -> None:
        """Have each device send a message every `interval_s`, the first one at a moment of its own within it."""
        start_s = time.monotonic()
        self._due = [(start_s + self._rng.uniform(0, interval_s), index) for index in range(len(self.devices))]
        heapq.heapify(self._due)
        while (now_s := time.monotonic()) < start_s + duration_s:
            while self._due[0][0] <= now_s:
                due_s, index = self._due[0]
                heapq.heapreplace(self._due, (due_s + interval_s, index))
                self._send_new(index)
            self._step(min(self._due[0][0] - now_s, 0.1))
            on_step(now_s - start_s)

    def drain(self, timeout_s: float, on_step: Callable[[int], None]) -> None:
        """Wait until the centre has acknowledged all, or the time is over."""
        deadline_s = time.monotonic() + timeout_s
        while self._last_sent and time.monotonic() < deadline_s:
            self._step(0.1)
            on_step(len(self._last_sent))

    def close(self) -> None:
        """Clear what the broker retains of the devices, and leave it."""
        self._absent.clear()
        for device in self.devices:
            device.client.on_disconnect = None  # nobody comes back
            if device.is_ready:
                device.client.publish(device.topics.state, b"", qos=1, retain=True)
                device.client.disconnect()
        end_s = time.monotonic() + _GOODBYE_S
        while time.monotonic() < end_s and any(device.client.want_write() for device in self.devices):
            self._step(0.1)
        for device in self.devices:
            device.is_ready = False
            device.client.on_socket_close = None
            # Paho has no other way to close a socket whose goodbye couldn't be sent.
            device.client._sock_close()  # type: ignore[no-untyped-call,unused-ignore]  # noqa: SLF001  # see above
        self._selector.close()

    def _make(self, index: int, name: str, files: TlsFiles | None) -> Device:
        device = Device(name, replace(self._address, files=files))
        client, selector = device.client, self._selector
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        client.on_socket_open = lambda _c, _d, sock: selector.register(sock, selectors.EVENT_READ, index) and None
        client.on_socket_close = lambda _c, _d, sock: selector.unregister(sock) and None
        client.on_socket_register_write = lambda _c, _d, sock: selector.modify(sock, both, index) and None
        client.on_socket_unregister_write = lambda _c, _d, sock: (
            selector.modify(sock, selectors.EVENT_READ, index) and None
        )
        client.on_connect = lambda _c, _d, _f, reason, _p: self._connected(index, reason)
        client.on_subscribe = lambda *_: self._subscribed(index)
        client.on_disconnect = lambda *_: self._disconnected(index)
        client.on_message = lambda _c, _d, message: self._received(index, message)
        return device

    def _connect(self, index: int, *, is_first: bool = False) -> None:
        address, device = self._address, self.devices[index]
        try:
            device.client.connect(address.host, address.port, _KEEPALIVE_S)
        except OSError as error:
            if is_first:
                raise BrokerError(f"broker {address}: {error}") from error
            self._refused(str(error))
            self._retry(index)

    def _retry(self, index: int) -> None:
        heapq.heappush(self._absent, (time.monotonic() + self._rng.uniform(*_RETRY_S), index))

    def _refused(self, why: str) -> None:
        self.tally.refused += 1
        self.tally.problem = why

    def _connected(self, index: int, reason: ReasonCode) -> None:
        if reason.is_failure:  # the broker closes, and so we come back
            self._refused(str(reason))
        else:
            self.devices[index].client.subscribe(self.devices[index].topics.ack, 1)

    def _subscribed(self, index: int) -> None:
        device = self.devices[index]
        self.ready += 1
        self.tally.connections += 1
        device.is_ready = True
        birth = State(device=device.name, epoch=self._epoch, online=True, time_s=time.time())
        device.client.publish(device.topics.state, encode(birth), qos=1, retain=True)
        for seq in device.waiting:
            self._send(index, seq)

    def _disconnected(self, index: int) -> None:
        device = self.devices[index]
        self.ready -= device.is_ready
        device.is_ready = False
        self._retry(index)

    def _send_new(self, index: int) -> None:
        device = self.devices[index]
        device.seq += 1
        device.waiting[device.seq] = time.monotonic()
        self.tally.sent += 1
        self._send(index, device.seq)

    def _send(self, index: int, seq: int) -> None:
        """Send, for the first time or again; while there is no connection it waits for the next one."""
        device, key = self.devices[index], (index, seq)
        self.tally.resent += self._last_sent.pop(key, None) is not None
        self._last_sent[key] = time.monotonic()
        if device.is_ready:
            device.client.publish(device.topics.up("profile"), self._payload(device.name, seq), qos=1)

    def _received(self, index: int, message: MQTTMessage) -> None:
        device = self.devices[index]
        ack = decode(bytes(message.payload), Ack)
        if ack.epoch != self._epoch:
            return
        now_s = time.monotonic()
        for first, last in ack.ranges:
            for seq in [seq for seq in device.waiting if first <= seq <= last]:
                self.tally.acknowledged += 1
                self.tally.delays_us.append((now_s - device.waiting.pop(seq)) * 1e6)
                self._last_sent.pop((index, seq), None)

    def _step(self, timeout_s: float) -> None:
        """Serve the sockets that have something, and do what is due."""
        for key, events in self._selector.select(max(0.0, timeout_s)):
            client = self.devices[key.data].client
            if events & selectors.EVENT_READ:
                _read(client)
            if events & selectors.EVENT_WRITE:  # where nothing is left to write, it says so to the selector
                client.loop_write()
        now_s = time.monotonic()
        while self._absent and self._absent[0][0] <= now_s:
            self._connect(heapq.heappop(self._absent)[1])
        while self._last_sent:
            (index, seq), sent_s = next(iter(self._last_sent.items()))
            if now_s - sent_s < _RESEND_S:
                break
            self._send(index, seq)
        self._keep_alive(now_s)

    def _keep_alive(self, now_s: float) -> None:
        """Have some clients look after their keep-alive, so that all have within a round."""
        share = min(1.0, (now_s - self._misc_s) / _ROUND_S)
        count = int(share * len(self.devices))
        if count:
            self._misc_s = now_s
            for _ in range(count):
                self.devices[self._next_misc].client.loop_misc()
                self._next_misc = (self._next_misc + 1) % len(self.devices)


def _read(client: BufferedClient) -> None:
    """Read all that has come: the selector doesn't know of what is held by the client, or by TLS."""
    while True:
        client.loop_read()
        sock = client.socket()
        if sock is None or not (client.has_input or getattr(sock, "pending", int)()):
            return
