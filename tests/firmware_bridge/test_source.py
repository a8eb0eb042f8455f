"""A microcontroller's samples as the inputs of an agent and of `edgeloop run`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop import cli
from edgeloop.artifact import pack_artifact, write_artifact
from edgeloop.config import AgentConfig, load_config
from edgeloop.errors import ConfigError
from edgeloop.sources import PluginSource, SkippedItem, SourceItem
from edgeloop.sources.plugin import source_from_text
from edgeloop.stream import Progress, Stream
from edgeloop_bridge import messages as m
from edgeloop_bridge.errors import PortError, RefusedError
from edgeloop_bridge.frames import encode
from edgeloop_bridge.source import Serial
from relays import NoisyRelay, relayed
from running_agent import outbox_events, running, wait_until
from tiny_models import tiny_artifact

pytest.importorskip("serial", reason="needs edgeloop[bridge]")

registered = pytest.mark.skipif(
    not entry_points(group="edgeloop.sources"), reason="edgeloop isn't installed, so that nothing is registered"
)


@pytest.fixture
def relay(firmware_process: Path) -> Iterator[NoisyRelay]:
    with relayed(firmware_process) as relay:
        yield relay


def until(items: Iterator[Any], wanted: Callable[[object], bool], at_most: int = 3000) -> list[Any]:
    seen = []
    for item in islice(items, at_most):
        seen.append(item)
        if wanted(item):
            return seen
    raise AssertionError(f"not among {at_most} items: {seen[-3:]}")


def is_input(item: object) -> bool:
    return isinstance(item, SourceItem)


def test_windows_are_cut_out_of_the_stream(relay: NoisyRelay) -> None:
    with closing(Serial(relay.url, period_us=2000, window=8, hop=4).open()) as items:
        windows = [item for item in islice(items, 20) if isinstance(item, SourceItem)]
        assert len(windows) > 5
        for item in windows:
            assert item.x.shape == (8, 2)
            assert item.x.dtype == np.int16
            assert (np.diff(item.x[:, 0].astype(int)) % 65536 == 1).all(), "successive samples"
            assert item.ref.startswith("sample ")


def test_a_stream_of_one_channel_has_no_channel_axis(relay: NoisyRelay) -> None:
    with closing(Serial(relay.url, period_us=2000, window=4, stream=1).open()) as items:
        assert until(items, is_input)[-1].x.shape == (4,)


def test_no_window_goes_over_a_gap(relay: NoisyRelay) -> None:
    with closing(Serial(relay.url, period_us=1000, window=8).open()) as items:
        next(items)
        relay.probability = 0.003
        seen = until(items, lambda i: isinstance(i, SkippedItem) and i.reason == "samples lost on the line")
        relay.probability = 0.0
        seen += list(islice(items, 20))
        for item in seen:
            if isinstance(item, SourceItem):
                assert (np.diff(item.x[:, 0].astype(int)) % 65536 == 1).all()


def test_a_reset_and_a_pulled_cable_are_told_and_survived(relay: NoisyRelay) -> None:
    with closing(Serial(relay.url, period_us=1000, window=8).open()) as items:
        next(items)
        relay.inject(encode(m.frame(m.ResetRequest(), 60_000)))
        until(items, lambda i: isinstance(i, SkippedItem) and i.reason == "the device was reset")
        until(items, is_input)
        relay.unplug()
        until(items, lambda i: isinstance(i, SkippedItem) and i.reason == "the device can't be reached")
        until(items, is_input)
        assert items._device.link.reconnects == 1
        next(items)
        assert items.statistics()["device_resets"] == 1
        assert items.statistics()["reconnects"] == 1


def test_what_is_not_there_at_the_start_is_an_error(relay: NoisyRelay) -> None:
    with pytest.raises(PortError, match="no such port"):
        Serial("/dev/ttyNONE7", period_us=1000, window=8).open()
    with pytest.raises(RefusedError, match="no such stream"):
        Serial(relay.url, period_us=1000, window=8, stream=7).open()
    with closing(Serial(relay.url, period_us=1000, window=8).open()) as items:
        assert until(items, is_input), "the port was left open"


def test_it_ends_while_the_device_is_silent(relay: NoisyRelay) -> None:
    items = Serial(relay.url, period_us=60_000_000, window=8).open()
    with Stream(items):
        pass
    assert not any(t.name == "edgeloop source" for t in threading.enumerate()), "its thread was left behind"


def test_its_counters_join_the_stream_s(relay: NoisyRelay) -> None:
    progress = Progress()
    with Stream(Serial(relay.url, period_us=1000, window=8).open()) as stream:
        progress.begin(stream, None)
        while not progress.report().source:
            stream.take(0.1)
        assert progress.report().source["device_resets"] == 0


CONFIG = """
device = "d"
directory = "."
broker = "mqtt://localhost"
trusted_keys = ["k.pub"]
[source]
kind = "serial"
"""


@registered
def test_an_agent_s_configuration_names_it(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(CONFIG + 'port = "usb:E661"\nperiod_us = 1000\nwindow = 8\n')
    source = load_config(path).source
    assert isinstance(source, PluginSource)
    assert source.load() == Serial("usb:E661", period_us=1000, window=8)
    path.write_text(CONFIG + 'port = "usb:E661"\nperiod_us = "fast"\nwindow = 8\n')
    with pytest.raises(ConfigError, match=r"source of kind 'serial': .*period_us"):
        load_config(path)


@registered
def test_a_source_is_written_as_text() -> None:
    source = source_from_text("serial:socket://10.0.0.7:4000?period_us=1000&window=16")
    assert source is not None
    assert source.load() == Serial("socket://10.0.0.7:4000", period_us=1000, window=16)
    assert source_from_text("photos/serial") is None
    with pytest.raises(ConfigError, match="window"):
        source_from_text("serial:/dev/ttyACM0?period_us=1000")


def test_a_kind_that_nobody_brings_is_said() -> None:
    with pytest.raises(ConfigError, match="no installed package brings such a source"):
        PluginSource("teletype").load()


@registered
def test_the_device_s_counters_go_to_the_centre_with_the_agent_s_own(relay: NoisyRelay, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pub").write_bytes(public)
    unsigned = tiny_artifact()
    write_artifact(tmp_path / "tiny.tflite", pack_artifact(unsigned.model, unsigned.manifest, key=key))
    config = AgentConfig(
        device="cam-1",
        directory=str(tmp_path / "state"),
        broker="mqtt://127.0.0.1:1",
        trusted_keys=(str(tmp_path / "key.pub"),),
        source=PluginSource("serial", {"port": relay.url, "period_us": 2000, "window": 4, "stream": 1}),
        artifact=str(tmp_path / "tiny.tflite"),
        window_s=0.2,
    )
    with running(config) as run:
        wait_until(lambda: run.status()["stream"].get("source"))
        run.goes_on()
    (told,) = [event for event in outbox_events(run.directory) if event["event"] == "source-statistics"][:1]
    assert told["device_resets"] == 0
    assert told["samples_lost_on_line"] == 0


@registered
def test_edgeloop_run_answers_a_microcontroller_s_samples(
    relay: NoisyRelay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.tflite"
    write_artifact(path, tiny_artifact())
    text = f"serial:{relay.url}?period_us=2000&window=4&stream=1"
    code = cli.main(["run", str(path), text, "--limit", "3", "--json"])
    report = json.loads(capsys.readouterr().out)
    # A machine that is busy makes the emulated transmitter overflow: what it dropped is a skipped item, and counts.
    assert report["inferences"] + sum(report["skipped"].values()) == 3
    assert report["inferences"] > 0
    assert code == bool(report["skipped"])
