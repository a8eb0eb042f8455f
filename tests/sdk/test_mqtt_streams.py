"""The MQTT source and sink, over a real broker."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, mosquitto
from edgeloop.errors import ConfigError
from edgeloop.runtime import Runtime
from edgeloop.sinks import Mqtt, MqttSink
from edgeloop.sources import SkippedItem, SourceItem, Topic
from edgeloop.stream import run_stream
from running_agent import wait_until

X = np.array([0, 1, 0, 0], np.float32)


class Client:
    """Somebody else at the broker."""

    def __init__(self, broker: Mosquitto, topic: str) -> None:
        self.came: list[tuple[str, bytes, bool]] = []
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self.paho.on_message = lambda _c, _d, m: self.came.append((m.topic, m.payload, m.retain))
        subscribed: queue.Queue[int] = queue.Queue()
        self.paho.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self.paho.on_subscribe = lambda *_: subscribed.put(1)
        self.paho.connect("127.0.0.1", broker.port)
        self.paho.loop_start()
        subscribed.get(timeout=10)

    def on(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in self.came if name == topic]

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def other(broker: Mosquitto) -> Iterator[Client]:
    client = Client(broker, "#")
    yield client
    client.close()


@pytest.fixture
def runtime(make_artifact) -> Iterator[Runtime]:
    runtime = Runtime(make_artifact())
    yield runtime
    runtime.close()


def test_json_from_a_topic_goes_through_the_model(broker: Mosquitto, other: Client, runtime: Runtime) -> None:
    source = Topic("room/+/x", broker.url).open()
    source.wait_connected()
    for payload in (b"[0, 1, 0, 0]", b"junk", b'{"x": [1, 0, 0, 0], "ref": "me"}', b"[1]"):
        other.paho.publish("room/1/x", payload, qos=1)
    seen = []

    def between(runtime: Runtime) -> Runtime:
        batch = runtime.take_seen()
        if len(batch):
            seen.extend(zip(batch.refs, batch.inputs, strict=True))
        if len(seen) == 2:
            source.close()
        return runtime

    report = run_stream(runtime, source, between=between)
    assert [(ref, x.tolist()) for ref, x in seen] == [("room/1/x", [0, 1, 0, 0]), ("me", [1, 0, 0, 0])]
    assert report.skipped == {"not JSON of an input": 1}


def test_raw_payloads_of_a_stated_shape(broker: Mosquitto, other: Client) -> None:
    source = Topic("raw", broker.url, dtype="<i2", shape=(2, 3)).open()
    source.wait_connected()
    x = np.arange(6, dtype="<i2").reshape(2, 3)
    for payload in (x.tobytes()[:-1], b"", x.tobytes()):
        other.paho.publish("raw", payload, qos=1)
    first, second, third = (next(source) for _ in range(3))
    source.close()
    assert isinstance(first, SkippedItem)
    assert isinstance(second, SkippedItem)
    assert "11 bytes, not 12" in first.detail
    assert isinstance(third, SourceItem)
    assert np.array_equal(third.x, x)


def test_a_flood_waits_at_the_broker_and_a_full_source_can_be_closed(broker: Mosquitto, other: Client) -> None:
    source = Topic("flood", broker.url).open()
    source.wait_connected()
    for _ in range(500):
        other.paho.publish("flood", b"[1]", qos=1)
    assert isinstance(next(source), SourceItem)
    wait_until(lambda: len(source._queue) == 64)
    source.close()
    assert len(list(source)) == 64


def test_a_silent_topic_does_not_hold_up_the_end(broker: Mosquitto, runtime: Runtime) -> None:
    import threading

    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    source = Topic("silent", broker.url).open()
    report = run_stream(runtime, source, stop=stop)
    assert (report.inferences, report.error) == (0, None)
    assert list(source) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topic": "a/#/b", "broker": "mqtt://h"}, "whole level"),
        ({"topic": "a+/b", "broker": "mqtt://h"}, "whole level"),
        ({"topic": "a"}, "which one"),
        ({"topic": "a", "broker": "http://h"}, "write mqtt://"),
        ({"topic": "a", "broker": "mqtt://h", "dtype": "float33"}, "float33"),
        ({"topic": "a", "broker": "mqtt://h", "dtype": "object"}, "not numbers"),
    ],
)
def test_a_topic_that_can_t_be_is_a_config_error(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Topic(**options).open()


def test_home_assistant_finds_the_sensors_and_their_states(broker: Mosquitto, other: Client, runtime: Runtime) -> None:
    sink = Mqtt(broker.url, min_interval_s=0).open("cam.1")
    sink.wait_connected()
    sink.write("frame-1", runtime.run(X), runtime)
    wait_until(lambda: other.on(sink.topic))
    late = Client(broker, "homeassistant/#")  # what is retained waits for who comes later
    wait_until(lambda: len(late.came) == 2)
    configs = {topic: json.loads(payload) for topic, payload, _ in late.came}
    assert all(retained for *_, retained in late.came)
    assert set(configs) == {f"homeassistant/sensor/edgeloop_cam_1_tiny/{s}/config" for s in ("class", "confidence")}
    said = configs["homeassistant/sensor/edgeloop_cam_1_tiny/class/config"]
    state = json.loads(other.on(said["state_topic"])[0])
    assert said["value_template"] == "{{ value_json.label }}"
    assert (state["ref"], state["label"]) == ("frame-1", "b")
    assert len({config["unique_id"] for config in configs.values()}) == 2
    sink.close()
    late.close()
    wait_until(lambda: other.on(said["availability_topic"])[-1:] == [b"offline"])
    assert b"online" in other.on(said["availability_topic"])


def test_outputs_of_what_is_no_classifier_are_a_sensor_each(broker: Mosquitto, other: Client, make_artifact) -> None:
    sink = MqttSink(broker.url, "cam-1", topic="my/topic", min_interval_s=0)
    sink.wait_connected()
    with Runtime(make_artifact(task="regression", labels=())) as runtime:
        sink.write("r", runtime.run(X), runtime)
    wait_until(lambda: other.on("my/topic"))
    wait_until(lambda: sum(topic.startswith("homeassistant/") for topic, *_ in other.came) == 3)
    templates = [json.loads(p)["value_template"] for t, p, _ in other.came if t.startswith("homeassistant/")]
    assert templates == [f"{{{{ value_json.output[{i}] }}}}" for i in range(3)]
    sink.close()


def test_the_rate_is_bounded_and_the_newest_is_sent(broker: Mosquitto, other: Client, runtime: Runtime) -> None:
    now = [0.0]
    sink = MqttSink(broker.url, "cam-1", min_interval_s=1, discovery_prefix=None, clock=lambda: now[0])
    sink.wait_connected()
    for i in range(10):
        sink.write(str(i), runtime.run(X), runtime)
    wait_until(lambda: len(other.on(sink.topic)) == 1)
    now[0] = 1.0

    def flushed() -> bool:  # the broker's answer to the first may still be on its way
        sink.flush()
        return len(other.on(sink.topic)) == 2

    wait_until(flushed)
    sink.close()
    assert [json.loads(payload)["ref"] for payload in other.on(sink.topic)] == ["0", "9"]
    assert (sink.suppressed, sink.lost) == (8, 0)


def test_a_broker_that_restarts_is_told_again(broker: Mosquitto, other: Client, runtime: Runtime) -> None:
    sink = MqttSink(broker.url, "cam-1", min_interval_s=0)
    sink.wait_connected()
    sink.write("1", runtime.run(X), runtime)
    other.close()
    broker.stop()
    wait_until(lambda: not sink._link.is_connected)
    for _ in range(3):
        sink.write("2", runtime.run(X), runtime)
    broker.start()
    back = Client(broker, "homeassistant/#")
    wait_until(lambda: len({topic for topic, *_ in back.came}) == 2)
    back.close()
    sink.close()
    assert sink.lost + sink.suppressed >= 2


def test_a_broker_that_is_not_there_stops_nothing(runtime: Runtime) -> None:
    sink = MqttSink("mqtt://127.0.0.1:1", "cam-1", min_interval_s=0)
    report = run_stream(runtime, (SourceItem(X) for _ in range(10)), sink)
    sink.close()
    assert (report.inferences, sink.lost) == (10, 10)


def test_a_topic_with_wildcards_can_t_be_published_to() -> None:
    with pytest.raises(ConfigError, match="published"):
        MqttSink("mqtt://h", "cam-1", topic="a/#")
