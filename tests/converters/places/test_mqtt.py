"""A device over MQTT: a real agent at a real Mosquitto, which goes on with its own model meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from brokers import Mosquitto, mosquitto
from edgeloop import Runtime
from edgeloop.agent import Agent, AgentReport
from edgeloop.artifact import pack_artifact, write_artifact
from edgeloop.config import AgentConfig
from edgeloop.errors import ConfigError, PlaceError
from edgeloop.jobdesk import JobsConfig
from edgeloop.signing import generate_key, load_private_key
from edgeloop.sources import PythonSource, SourceItem
from edgeloop_converters.places import open_place, run_at
from edgeloop_converters.places.mqtt import parse_device_url
from tiny_models import FEATURES, tiny_artifact

DEVICE = "cam-1"
X = np.random.default_rng(0).normal(size=(5000, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def signed(tmp_path: Path):
    generate_key(tmp_path / "key")
    key = load_private_key(tmp_path / "key")
    plain = tiny_artifact()
    return pack_artifact(plain.model, plain.manifest, key=key)


@pytest.fixture
def config(tmp_path: Path, broker: Mosquitto, signed) -> AgentConfig:
    write_artifact(tmp_path / "tiny.tflite", signed)
    return AgentConfig(
        device=DEVICE,
        directory=str(tmp_path / "state"),
        broker=broker.url,
        trusted_keys=(str(tmp_path / "key.pub"),),
        source=PythonSource("the test's own"),
        artifact=str(tmp_path / "tiny.tflite"),
        jobs=JobsConfig(allow=True),
    )


class Running:
    """An agent in a thread."""

    def __init__(self, config: AgentConfig, monkeypatch) -> None:
        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: self.source())
        self.agent, self.reports = Agent(config), list[AgentReport]()
        self.seen = 0
        self.thread = threading.Thread(target=lambda: self.reports.append(self.agent.run(drain_s=0)))

    def source(self) -> Iterator[SourceItem]:
        while True:
            self.seen += 1
            yield SourceItem(X[self.seen % len(X)])
            time.sleep(0.002)

    def __enter__(self) -> Running:
        self.thread.start()
        end = time.monotonic() + 60
        while not self.seen:
            assert time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.3)  # its birth, after the first input
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.stop()
        self.thread.join(60)


def test_a_device_answers_a_job_while_it_goes_on_with_its_own_model(config, broker, signed, monkeypatch) -> None:
    with Running(config, monkeypatch) as running:
        before = running.seen
        found = run_at(open_place(f"{broker.url}/{DEVICE}"), signed, X)  # more than one chunk, both ways
        assert running.seen > before
    with Runtime(signed) as runtime:
        assert np.allclose(found.outputs["probabilities"], runtime.run_batch(X), atol=1e-6)
    assert found.latency is not None
    (report,) = running.reports
    assert (report.switches, report.refused_inputs) == (0, 0)
    assert report.inferences >= running.seen - 70  # what waits in the queue at the end


def test_two_jobs_after_one_another(config, broker, signed, monkeypatch) -> None:
    place = open_place(f"{broker.url}/{DEVICE}")
    with Running(config, monkeypatch):
        one, other = (run_at(place, signed, X[:n], timed=False) for n in (1, 2))
    assert [len(a.outputs["probabilities"]) for a in (one, other)] == [1, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"allow": False}, "takes no jobs: set `jobs.allow = true`"),
        ({"max_bytes": 1 << 16}, r"a job of \d+ bytes: this device takes up to 65536"),
        ({"timeout_s": 0.01}, r"it took longer than 0\.01 s"),
    ],
)
def test_what_a_device_does_not_take_it_says(config, broker, signed, monkeypatch, change, says: str) -> None:
    config = msgspec.structs.replace(config, jobs=JobsConfig(**{"allow": True, **change}))
    with Running(config, monkeypatch), pytest.raises(PlaceError, match=f"{DEVICE}: .*{says}"):
        run_at(open_place(f"{broker.url}/{DEVICE}"), signed, X, timed=False)


def test_only_what_a_trusted_key_signed_is_run(config, broker, signed, monkeypatch) -> None:
    place = open_place(f"{broker.url}/{DEVICE}")
    with Running(config, monkeypatch):
        with pytest.raises(PlaceError, match="the job's artifact: not signed"):
            run_at(place, tiny_artifact(), X[:5])
        with pytest.raises(PlaceError, match="an input of shape"):
            run_at(place, signed, X[:5, :2])
        assert len(run_at(place, signed, X[:5], timed=False).outputs["probabilities"]) == 5


def test_a_device_that_is_not_there_is_told_apart_from_one_that_is_off(config, broker, signed, monkeypatch) -> None:
    with pytest.raises(PlaceError, match="no such device has been seen"):
        run_at(open_place(f"{broker.url}/nobody"), signed, X[:5])
    with Running(config, monkeypatch):
        pass
    with pytest.raises(PlaceError, match="it is offline"):
        open_place(f"{broker.url}/{DEVICE}").check()


def test_a_device_that_is_stopped_says_so(config, broker, signed, monkeypatch) -> None:
    errors: list[PlaceError] = []
    place = replace(parse_device_url(f"{broker.url}/{DEVICE}"), timeout_s=60)

    def ask() -> None:
        try:
            run_at(place, signed, X)
        except PlaceError as error:
            errors.append(error)

    with Running(config, monkeypatch):
        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.8)
    thread.join(60)
    assert len(errors) <= 1
    assert all("its process ended" in str(e) or "offline" in str(e) or "stopping" in str(e) for e in errors)


def test_a_url_names_broker_and_device() -> None:
    found = parse_device_url("mqtts://centre.local/cam-7")
    assert (str(found.broker), found.device) == ("mqtts://centre.local:8883", "cam-7")
    for bad, says in (
        ("mqtt://centre.local", "names no device"),
        ("mqtt://centre.local/a/b", "device name"),
        ("mqtt:///cam", "broker"),
    ):
        with pytest.raises(ConfigError, match=says):
            parse_device_url(bad)
