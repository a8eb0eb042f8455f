"""The uplink and the agent against a real Mosquitto; the centre is played by a plain MQTT client."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, mosquitto
from edgeloop.agent import Agent, AgentReport
from edgeloop.artifact import read_artifact, write_artifact
from edgeloop.config import AgentConfig, ShadowConfig
from edgeloop.errors import ArtifactError, ConfigError, DataError
from edgeloop.messages import Ack, ArtifactRef, Desired, EventMessage, State, decode, decode_up, encode
from edgeloop.mqtt import parse_broker_url
from edgeloop.outbox import Outbox
from edgeloop.profile import Profile, Profiler, unpack_counts
from edgeloop.sinks import JsonLines as JsonLinesTo
from edgeloop.sinks import Sqlite
from edgeloop.sources import JsonLines, PythonSource, SourceItem
from edgeloop.topics import ROOT, DeviceTopics, artifact_chunk, parse_up
from edgeloop.uplink import Uplink
from running_agent import wait_until

DEVICE = "cam-1"


class Centre:
    """Keeps what came, and acknowledges when asked to."""

    def __init__(self, broker: Mosquitto) -> None:
        self.came: list = []
        self.acknowledges = False
        self.states: list[State] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="centre", protocol=paho.MQTTv5)
        self.client.on_message = self._on_message
        subscribed: queue.Queue[int] = queue.Queue()
        self.client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/+/+/up/+", 1)
        self.client.on_subscribe = lambda *_: subscribed.put(1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        subscribed.get(timeout=10)
        self.client.subscribe(f"{ROOT}/+/+/state", 1)
        subscribed.get(timeout=10)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        topic = parse_up(message.topic)
        if topic.kind == "state":
            self.states.append(decode(message.payload, State))
        else:
            up = decode_up(topic.kind, topic.device, message.payload)
            self.came.append(up)
            if self.acknowledges:
                self.acknowledge(up.epoch, (up.seq, up.seq))

    def acknowledge(self, epoch: int, *ranges: tuple[int, int]) -> None:
        self.client.publish(DeviceTopics(DEVICE).ack, encode(Ack(epoch, ranges)), qos=1)

    def acknowledge_all(self) -> None:
        for message in self.came:
            self.acknowledge(message.epoch, (message.seq, message.seq))

    def deploy(self, data: bytes, version: int, *, chunk_bytes: int = 1024) -> None:
        import hashlib

        sha256 = hashlib.sha256(data).hexdigest()
        for i in range(0, len(data), chunk_bytes):
            chunk = data[i : i + chunk_bytes]
            self.client.publish(artifact_chunk(sha256, i // chunk_bytes), chunk, qos=1, retain=True)
        ref = ArtifactRef("tiny", version, sha256, len(data), chunk_bytes)
        self.client.publish(DeviceTopics(DEVICE).desired, encode(Desired(ref)), qos=1, retain=True)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def centre(broker: Mosquitto) -> Iterator[Centre]:
    centre = Centre(broker)
    yield centre
    centre.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        yield outbox


@pytest.fixture
def uplink(outbox: Outbox, broker: Mosquitto) -> Iterator[Uplink]:
    uplink = Uplink(outbox, parse_broker_url(broker.url), DEVICE)
    uplink.start()
    yield uplink
    uplink.stop(drain_s=0)


def event(word: str = "e") -> EventMessage:
    return EventMessage(device=DEVICE, time_s=time.time(), event=word)


def test_a_row_leaves_only_when_the_centre_acknowledges_it(centre: Centre, outbox: Outbox, uplink: Uplink) -> None:
    outbox.put([event(), event()])
    uplink.wake()
    wait_until(lambda: len(centre.came) == 2)
    time.sleep(0.3)  # the broker's PUBACK is long here
    assert outbox.counters().pending == 2
    centre.acknowledge(outbox.epoch, (1, 1))
    wait_until(lambda: outbox.counters().pending == 1)
    assert outbox.pending()[0].seq == 2


def test_what_was_not_acknowledged_is_sent_again_after_a_reconnect(
    broker: Mosquitto, outbox: Outbox, uplink: Uplink
) -> None:
    first = Centre(broker)
    outbox.put([event("a")])
    uplink.wake()
    wait_until(lambda: first.came)
    first.close()
    broker.stop()
    outbox.put([event("b")])
    broker.start()
    second = Centre(broker)
    wait_until(lambda: {m.seq for m in second.came} == {1, 2}, timeout_s=30)
    second.acknowledge_all()
    wait_until(lambda: outbox.counters().pending == 0)
    second.close()


def test_the_device_says_when_it_comes_and_when_it_goes(centre: Centre, outbox: Outbox, broker: Mosquitto) -> None:
    uplink = Uplink(outbox, parse_broker_url(broker.url), DEVICE)
    uplink.start()
    wait_until(lambda: centre.states)
    uplink.stop(drain_s=0)
    wait_until(lambda: len(centre.states) >= 2)
    assert [(s.online, s.epoch) for s in centre.states[-2:]] == [(True, outbox.epoch), (False, outbox.epoch)]


def test_an_uplink_without_a_broker_waits_and_keeps_everything(outbox: Outbox) -> None:
    uplink = Uplink(outbox, parse_broker_url("mqtt://127.0.0.1:1"), DEVICE)
    uplink.start()
    outbox.put([event()])
    uplink.wake()
    uplink.stop(drain_s=0.2)
    assert outbox.counters().pending == 1


def test_a_deployed_artifact_arrives_whole(centre: Centre, uplink: Uplink, make_artifact) -> None:
    data = make_artifact(version=2).to_bytes()
    centre.deploy(data, 2)
    assert uplink.arrived.get(timeout=10) == data


def endless(n: int = 10**9, pause_s: float = 0.002) -> Iterator[SourceItem]:
    rng = np.random.default_rng(0)
    for i in range(n):
        yield SourceItem(rng.normal(size=4).astype(np.float32), f"frame-{i}")
        time.sleep(pause_s)


def until(holds: Callable[[], object], timeout_s: float = 60) -> Iterator[SourceItem]:
    """Inputs until something has happened; the time-out is long, since a machine may be busy."""
    end = time.monotonic() + timeout_s
    for item in endless():
        yield item
        if holds() or time.monotonic() > end:
            return


def said(centre: Centre, event: str) -> bool:
    return any(getattr(message, "event", "") == event for message in centre.came)


def broken(n: int = 40) -> Iterator[SourceItem]:
    for i in range(n):
        yield SourceItem(np.zeros(4 if i % 2 else 5, dtype=np.float32), str(i))


class TestAgent:
    @pytest.fixture
    def config(self, agent_config: AgentConfig, tmp_path: Path, broker: Mosquitto) -> AgentConfig:
        metrics = str(tmp_path / "metrics.prom")
        return msgspec.structs.replace(agent_config, broker=broker.url, metrics_file=metrics)

    @staticmethod
    def run(config: AgentConfig, source: Iterator[SourceItem], monkeypatch, **kwargs: float) -> AgentReport:
        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: source)
        return Agent(config).run(**kwargs)

    def test_profiles_samples_and_events_come_up(self, config, centre, monkeypatch, baseline) -> None:
        centre.acknowledges = True
        report = self.run(config, endless(300), monkeypatch, drain_s=15)
        assert report.inferences == 300
        assert report.outbox["pending"] == 0
        assert len(centre.came) == report.outbox["put"] == report.outbox["acknowledged"]
        profiles = [m for m in centre.came if type(m).__name__ == "ProfileMessage"]
        assert sum(p.n for p in profiles) == 300
        merged = sum((Profile(unpack_counts(p.counts), p.n) for p in profiles), start=Profiler(baseline).empty())
        x = np.stack([item.x for item in endless(300, 0)])
        expected = Profiler(baseline).profile(x, np.full((300, 3), 1 / 3))
        for found, wanted in zip(
            merged.split(baseline.features)[:4], expected.split(baseline.features)[:4], strict=True
        ):
            assert np.array_equal(found, wanted)
        samples = [m for m in centre.came if type(m).__name__ == "SampleMessage"]
        assert samples
        assert all(0 < s.probability <= 1 and s.ref.startswith("frame-") for s in samples)
        assert len(Path(config.predictions).read_text().splitlines()) == 300
        assert report.stats["runs"] == 300
        assert "edgeloop_runs_total" in Path(config.metrics_file).read_text()

    def test_it_switches_to_a_newer_artifact_without_stopping(self, config, centre, monkeypatch, make_artifact) -> None:
        centre.deploy(make_artifact(version=2).to_bytes(), 2)

        report = self.run(config, until(lambda: said(centre, "artifact-switched")), monkeypatch, drain_s=0)
        assert report.switches == 1
        assert read_artifact(Path(config.directory) / "artifacts/active.tflite").manifest.version == 2
        assert read_artifact(Path(config.directory) / "artifacts/previous.tflite").manifest.version == 1
        wait_until(lambda: centre.states[-1].model and centre.states[-1].model.version == 2)

    def test_a_shadow_that_is_deployed_ends(self, config, centre, monkeypatch, make_artifact, tmp_path) -> None:
        artifact = make_artifact(version=2, sign=0)
        write_artifact(tmp_path / "v2.tflite", artifact)
        config = msgspec.structs.replace(config, shadow=ShadowConfig(str(tmp_path / "v2.tflite")))
        centre.deploy(artifact.to_bytes(), 2)
        source = itertools.chain(until(lambda: said(centre, "artifact-switched")), endless(300))
        report = self.run(config, source, monkeypatch, drain_s=0)
        assert report.switches == 1
        assert report.shadow["ended"] == "it is what runs now"
        told = [m.detail["version"] for m in centre.came if getattr(m, "event", "") == "shadow-agreement"]
        assert set(told) <= {1}, "none of the second version with itself"

    @pytest.mark.parametrize("bad", ["unsigned", "older", "flipped", "other name"])
    def test_it_refuses_a_bad_artifact_says_why_and_runs_on(
        self, config, centre, monkeypatch, make_artifact, bad: str
    ) -> None:
        data = {
            "unsigned": lambda: make_artifact(version=2, signed=False).to_bytes(),
            "older": lambda: make_artifact(version=1).to_bytes(),
            "other name": lambda: make_artifact(version=2, name="other").to_bytes(),
            "flipped": lambda: bytes(b ^ (i == 300) for i, b in enumerate(make_artifact(version=2).to_bytes())),
        }[bad]()
        centre.deploy(data, 2)  # announced as newer, whatever it is

        source = itertools.chain(until(lambda: said(centre, "artifact-refused")), endless(5))
        report = self.run(config, source, monkeypatch, drain_s=0)
        assert report.switches == 0
        kinds = {
            "unsigned": "SignatureError",
            "older": "OlderVersionError",
            "flipped": "ModelDamagedError",
            "other name": "ArtifactError",
        }
        (refusal,) = [m for m in centre.came if getattr(m, "event", "") == "artifact-refused"]
        assert refusal.detail["kind"] == kinds[bad]
        assert read_artifact(Path(config.directory) / "artifacts/active.tflite").manifest.version == 1

    def test_it_starts_from_the_previous_artifact_when_the_active_one_is_damaged(
        self, config, monkeypatch, make_artifact
    ) -> None:
        store = Path(config.directory) / "artifacts"
        store.mkdir(parents=True)
        (store / "active.tflite").write_bytes(make_artifact(version=3).to_bytes()[:-50])
        write_artifact(store / "previous.tflite", make_artifact(version=2))
        self.run(config, endless(5), monkeypatch, drain_s=0)
        assert '"version":2' in Path(config.predictions).read_text()

    def test_it_does_not_start_without_a_trusted_artifact(self, config, monkeypatch, make_artifact) -> None:
        write_artifact(config.artifact, make_artifact(signed=False))
        with pytest.raises(ArtifactError, match=r"no artifact to run.*not signed"):
            self.run(config, endless(5), monkeypatch, drain_s=0)

    def test_bad_inputs_are_counted_and_skipped(self, config, monkeypatch) -> None:
        report = self.run(config, broken(40), monkeypatch, drain_s=0)
        assert (report.inferences, report.refused_inputs) == (20, 20)

    def test_windows_close_and_artifacts_switch_while_the_source_hangs(
        self, config, centre, monkeypatch, make_artifact
    ) -> None:
        gate = threading.Event()

        def hangs() -> Iterator[SourceItem]:
            yield from endless(5)
            gate.wait()

        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: hangs())
        agent, reports = Agent(config), []
        thread = threading.Thread(target=lambda: reports.append(agent.run(drain_s=0)))
        thread.start()
        wait_until(lambda: [m for m in centre.came if type(m).__name__ == "ProfileMessage"])
        centre.deploy(make_artifact(version=2).to_bytes(), 2)
        wait_until(lambda: said(centre, "artifact-switched"))
        agent.stop()
        thread.join(60)
        gate.set()
        assert (reports[0].inferences, reports[0].switches) == (5, 1)

    def test_a_source_that_fails_is_reported_and_ends_the_agent_in_order(self, config, centre, monkeypatch) -> None:
        def fails() -> Iterator[SourceItem]:
            yield from endless(5)
            raise RuntimeError("the lens fell off")

        centre.acknowledges = True
        with pytest.raises(DataError, match="RuntimeError: the lens fell off"):
            self.run(config, fails(), monkeypatch, drain_s=15)
        wait_until(lambda: said(centre, "source-failed"))
        assert sum(m.n for m in centre.came if type(m).__name__ == "ProfileMessage") == 5

    def test_skips_drops_and_several_sinks(self, config, tmp_path, monkeypatch) -> None:
        (tmp_path / "x.jsonl").write_text("[0, 1, 0, 0]\nbad\n[1]\n[1, 0, 0, 0]\n")
        config = msgspec.structs.replace(
            config,
            source=JsonLines(str(tmp_path / "x.jsonl")),
            sinks=(Sqlite(str(tmp_path / "p.db")), JsonLinesTo("/dev/full")),
        )
        report = Agent(config).run(drain_s=0)
        assert (report.inferences, report.refused_inputs, report.lost_predictions) == (2, 1, 2)
        assert report.skipped_inputs == {"not JSON of an input": 1}
        assert len(Path(config.predictions).read_text().splitlines()) == 2

    def test_a_source_that_is_not_there_is_a_config_error(self, config) -> None:
        for call in ("no.such.module:f", "edgeloop.sources:no_such_function"):
            with pytest.raises(ConfigError, match="source"):
                Agent(msgspec.structs.replace(config, source=PythonSource(call))).run()
