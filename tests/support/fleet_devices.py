"""Devices for the tests: they speak the protocol with paho directly, and share no code with the centre's link."""

from __future__ import annotations

import queue
import threading
import time
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import paho.mqtt.client as mqtt
import paho.mqtt.publish as mqtt_publish

from edgeloop.messages import (
    Ack,
    Desired,
    EventMessage,
    ModelRef,
    ProfileMessage,
    SampleMessage,
    State,
    Up,
    decode,
    encode,
    kind_of,
    pack_array,
)
from edgeloop.profile import pack_counts
from edgeloop.topics import DeviceTopics

MODEL = ModelRef(name="digits", version=1, sha256="ab" * 32)


def sample(device: str, seq: int, *, epoch: int = 1, ref: str = "", **changes: Any) -> SampleMessage:
    image = np.full((8, 8), seq % 17, dtype=np.uint8)
    fields: dict[str, Any] = {
        "device": device,
        "epoch": epoch,
        "seq": seq,
        "time_s": 1.7e9 + seq,
        "model": MODEL,
        "ref": ref or f"digits/{seq}",
        "reason": "uncertain",
        "probability": 0.5,
        "input": pack_array(image),
        "output": pack_array(np.full(10, 0.1, dtype=np.float32)),
    }
    return SampleMessage(**(fields | changes))


def profile(device: str, seq: int, counts: Any, n: int, *, epoch: int = 1, model: ModelRef = MODEL) -> ProfileMessage:
    return ProfileMessage(
        device=device,
        epoch=epoch,
        seq=seq,
        time_s=1.7e9 + seq,
        model=model,
        start_s=1.7e9 + seq - 1,
        end_s=1.7e9 + seq,
        n=n,
        counts=pack_counts(np.asarray(counts, dtype=np.int64)),
    )


def event(device: str, seq: int, *, epoch: int = 1, word: str = "booted", **detail: Any) -> EventMessage:
    return EventMessage(device=device, epoch=epoch, seq=seq, time_s=1.7e9, event=word, detail=detail)


def birth(device: str, epoch: int, *, online: bool = True, model: ModelRef | None = MODEL) -> State:
    return State(device=device, epoch=epoch, online=online, time_s=1.7e9, model=model, edgeloop="0.1.0")


class FakeDevice:
    """A connected device: publishes, and collects what is acknowledged and desired."""

    def __init__(self, url: str, name: str, will: State | None = None) -> None:
        self.name, self.topics = name, DeviceTopics(name)
        self.acks: queue.Queue[Ack] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        self._parts = urlsplit(url)
        self._subscribed = threading.Event()
        self._retained: set[str] = set()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"device-{name}", protocol=mqtt.MQTTv5)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda *_: self.client.subscribe(self.topics.ack, 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        if will is not None:
            self._retained.add(self.topics.state)
            self.client.will_set(self.topics.state, encode(will), 1, retain=True)

    def __enter__(self) -> FakeDevice:  # nobody derives from it with a return type
        self.client.connect(self._parts.hostname or "", self._parts.port or 0)
        self.client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        if self._retained:  # the brokers outlive the test
            host, port = self._parts.hostname or "", self._parts.port or 0
            clear = [(topic, b"", 1, True) for topic in sorted(self._retained)]
            mqtt_publish.multiple(clear, hostname=host, port=port, protocol=mqtt.MQTTv5)

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self.client.subscribe(topic, 1)
        assert self._subscribed.wait(10)

    def send(self, *messages: Up) -> None:
        for message in messages:
            self.publish(self.topics.up(kind_of(message)), encode(message))

    def send_state(self, state: State) -> None:
        self.publish(self.topics.state, encode(state), retain=True)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if retain:
            self._retained.add(topic)
        self.client.publish(topic, payload, 1, retain).wait_for_publish(10)

    def wait_acked(self, seqs: set[int], epoch: int = 1, timeout_s: float = 15) -> set[int]:
        """Wait until all of `seqs` are acknowledged; gives all that were."""
        acked: set[int] = set()
        deadline = time.monotonic() + timeout_s
        while not seqs <= acked:
            ack = self.acks.get(timeout=max(0.01, deadline - time.monotonic()))
            if ack.epoch == epoch:
                acked |= {seq for first, last in ack.ranges for seq in range(first, last + 1)}
        return acked

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == self.topics.ack:
            self.acks.put(decode(message.payload, Ack))
        elif message.payload:  # an empty one clears what is retained
            self.messages.put((message.topic, message.payload, message.retain))


class Obedient(FakeDevice):
    """A device that runs what is desired at once; or says that it can't, where it `refuses`."""

    refuses = False

    def __enter__(self) -> Obedient:  # as its base
        super().__enter__()
        self._retained.add(self.topics.desired)
        self.subscribe(self.topics.desired)
        self.seq = 0
        self.send_state(birth(self.name, 1))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._obey)
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._closing.set()
        self._thread.join()
        super().__exit__(*error)

    def _obey(self) -> None:
        while not self._closing.wait(0.02):
            if self.messages.empty():
                continue
            ref = decode(self.messages.get()[1], Desired).artifact
            self.seq += 1
            if self.refuses:
                detail = {"sha256": ref.sha256, "reason": "not signed by a key that I trust"}
                self.send(event(self.name, self.seq, word="artifact-refused", **detail))
            else:
                model = ModelRef(name=ref.name, version=ref.version, sha256="cd" * 32)
                self.send_state(birth(self.name, 1, model=model))
