"""What the uplink does about brokers that can less, take less or don't answer."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest

from brokers import Mosquitto, mosquitto
from edgeloop.link import Link
from edgeloop.messages import Ack, EventMessage, ModelRef, SampleMessage, decode_part, encode, pack_array
from edgeloop.mqtt import parse_broker_url
from edgeloop.outbox import Outbox
from edgeloop.pacing import UplinkConfig
from edgeloop.parts import Joiner
from edgeloop.topics import ROOT, DeviceTopics
from edgeloop.uplink import Uplink

DEVICE = "cam-1"


def wait_until(holds: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def event(word: str = "e") -> EventMessage:
    return EventMessage(device=DEVICE, time_s=0, event=word)


def sample(size: int) -> SampleMessage:
    noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    return SampleMessage(
        device=DEVICE, time_s=0, model=ModelRef("m", 1, "a" * 64), ref="", reason="audit", probability=1,
        input=pack_array(noise), output=pack_array(np.zeros(2, dtype=np.float32)),
    )  # fmt: skip


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        yield outbox


@contextlib.contextmanager
def listener(broker: Mosquitto) -> Iterator[tuple[list[paho.MQTTMessage], paho.Client]]:
    came: list[paho.MQTTMessage] = []
    subscribed: queue.Queue[int] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: came.append(message)
    client.on_subscribe = lambda *_: subscribed.put(1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe(f"{ROOT}/+/+/up/+", 1)
    subscribed.get(timeout=10)
    yield came, client
    client.disconnect()
    client.loop_stop()


@contextlib.contextmanager
def running(outbox: Outbox, url: str, **options: object) -> Iterator[Uplink]:
    uplink = Uplink(outbox, parse_broker_url(url), DEVICE, **options)
    uplink.start()
    try:
        yield uplink
    finally:
        uplink.stop(drain_s=0)


@contextlib.contextmanager
def only_3_1_1(broker: Mosquitto, *, answers: bool) -> Iterator[str]:
    """A broker that refuses MQTT 5 by CONNACK, or hangs up on it; all else goes to Mosquitto."""
    server = socket.create_server(("127.0.0.1", 0))

    def pump(a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := a.recv(4096):
                b.sendall(data)
        for end in (a, b):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                first = client.recv(4096)
                if first[first.index(b"MQTT") + 4] == 5:
                    if answers:
                        client.sendall(b"\x20\x02\x00\x01")
                    client.close()
                    continue
                upstream = socket.create_connection(("127.0.0.1", broker.port))
                upstream.sendall(first)
                for pair in ((client, upstream), (upstream, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("answers", [True, False])
def test_a_broker_that_speaks_3_1_1_alone_is_spoken_to_and_the_log_says_so(
    broker: Mosquitto, outbox: Outbox, caplog: pytest.LogCaptureFixture, answers: bool
) -> None:
    caplog.set_level(logging.WARNING)
    outbox.put([event(f"e{i}") for i in range(50)])
    with only_3_1_1(broker, answers=answers) as url, listener(broker) as (came, client), running(outbox, url):
        wait_until(lambda: len(came) == 50)
        client.publish(DeviceTopics(DEVICE).ack, encode(Ack(outbox.epoch, ((1, 50),))), 1)
        wait_until(lambda: outbox.counters().pending == 0)
    assert "MQTT 3.1.1" in caplog.text


def test_what_waited_and_what_is_sent_again_is_marked_as_historical(broker: Mosquitto, outbox: Outbox) -> None:
    outbox.put([event("old")])
    with listener(broker) as (came, _), running(outbox, broker.url) as uplink:
        wait_until(lambda: came)
        outbox.put([event("new")])
        uplink.wake()
        wait_until(lambda: len(came) == 2)
        marks = [getattr(message.properties, "UserProperty", []) for message in came]
        assert marks == [[("historical", "1")], []]
        assert all(0 < message.properties.MessageExpiryInterval <= 86400 for message in came)


def test_a_long_sample_comes_in_parts_and_short_ones_pass_in_between(broker: Mosquitto, outbox: Outbox) -> None:
    outbox.put([sample(700_000), event()])
    expected = outbox.row(1).payload
    with listener(broker) as (came, _), running(outbox, broker.url):
        wait_until(lambda: len(came) == 7)
    joiner = Joiner()
    parts = [message.payload for message in came if message.topic.endswith("/part")]
    assert [whole for raw in parts if (whole := joiner.add(decode_part(DEVICE, raw)))] == [expected]


def test_one_row_that_was_lost_is_sent_again_when_later_ones_are_acknowledged(
    broker: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeloop.uplink._OVERTAKEN_S", 0.2)
    with listener(broker) as (came, client), running(outbox, broker.url) as uplink:
        outbox.put([event("lost")])
        uplink.wake()
        wait_until(lambda: came)
        time.sleep(0.5)
        outbox.put([event("later")])
        uplink.wake()
        wait_until(lambda: len(came) == 2)
        client.publish(DeviceTopics(DEVICE).ack, encode(Ack(outbox.epoch, ((2, 2),))), 1)
        wait_until(lambda: len(came) == 3)
        assert came[2].payload == came[0].payload
        assert outbox.counters().pending == 1


def test_where_nobody_listens_it_asks_now_and_then_and_sends_all_when_somebody_does(
    broker: Mosquitto, outbox: Outbox
) -> None:
    outbox.put([event() for _ in range(300)])
    with running(outbox, broker.url):
        time.sleep(0.5)
        with listener(broker) as (came, _):
            wait_until(lambda: len({message.payload for message in came}) == 300)
            assert len(came) < 400


def test_the_budget_slows_it_down(broker: Mosquitto, outbox: Outbox) -> None:
    outbox.put([event() for _ in range(300)])
    size = len(outbox.row(1).payload)
    # A burst of ten seconds' worth: 100 messages.
    with listener(broker) as (came, _), running(outbox, broker.url, config=UplinkConfig(bytes_per_s=10 * size)):
        wait_until(lambda: len(came) >= 100)
        time.sleep(1)
        assert len(came) < 200


def test_in_quiet_hours_only_events_go(broker: Mosquitto, outbox: Outbox) -> None:
    outbox.put([sample(100), event()])
    with (
        listener(broker) as (came, _),
        running(outbox, broker.url, config=UplinkConfig(quiet_hours="00:00-23:59")) as uplink,
    ):
        wait_until(lambda: came)
        outbox.put([sample(100), event()])
        uplink.wake()
        wait_until(lambda: len(came) == 2)
        time.sleep(0.3)
        assert all(message.topic.endswith("/event") for message in came)


def test_no_more_is_under_way_than_the_broker_takes(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    with broker._config.open("a") as config:
        config.write("max_inflight_messages 3\n")
    broker.start()
    try:
        most = 0
        done = threading.Event()
        left = list(range(500))

        def step() -> None:
            nonlocal most
            while left and link.room > 0:
                left.pop()
                link.send("a/b", b"x")
                most = max(most, len(link._under_way))
            if not left and not link._under_way:
                done.set()

        with Link(broker.url, "counted", on_step=step) as link:
            assert done.wait(30)
        assert most == 3
    finally:
        broker.stop()


def test_a_message_handed_over_before_the_connection_broke_is_sent_after_it(broker: Mosquitto) -> None:
    with Link(broker.url, "handing-over") as link:
        link.wait_connected()
        broker.stop()
        futures = [link.publish("a/b", str(i).encode()) for i in range(5)]
        broker.start()
        for future in futures:
            future.result(30)
