"""Simulated devices: nothing is lost, what is lost is seen, and a broker that goes away is come back to."""

from __future__ import annotations

import argparse
import json
import random
import selectors
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from brokers import mosquitto
from edgeloop.cli import run_command
from edgeloop.errors import BrokerError, ConfigError
from edgeloop.messages import encode
from edgeloop.mqtt import parse_broker_url
from edgeloop_fleet import simulate as simulation
from edgeloop_fleet.ingest import Ingester
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rows import message_rows
from edgeloop_fleet.simulate_command import SIMULATE
from edgeloop_fleet.swarm import Swarm
from enrolled import enrolled_broker
from fleet_devices import profile


def swarm(url: str, names: list[str], epoch: int = 7) -> Swarm:
    def payload(device: str, seq: int) -> bytes:
        return encode(profile(device, seq, [1, 2, 3], 6, epoch=epoch))

    return Swarm(parse_broker_url(url), dict.fromkeys(names), epoch=epoch, payload=payload, rng=random.Random(1))


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    SIMULATE.configure(parser)
    args = parser.parse_args(argv)
    args.command = "simulate"
    return run_command(SIMULATE, args)


@pytest.mark.parametrize("broker", ["mosquitto", "embedded"])
def test_all_that_a_fleet_sends_is_stored_once(
    broker: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    where = ["--broker", request.getfixturevalue("mosquitto_url")] if broker == "mosquitto" else []
    size = ["--devices", "60", "--duration", "3", "--interval", "1", "--connect-rate", "1000"]
    assert run("--json", *size, *where, "--ingest", "2", "--lake", str(tmp_path / "lake")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["connected"], found["reconnects"], found["connect"]["refused"]) == (60, 0, 0)
    assert (found["lost"], found["duplicates"], found["quarantined"]) == (0, 0, 0)
    assert 120 <= found["sent"] == found["stored"] == found["acknowledged"] <= 180
    assert sum(ingest["stored"] for ingest in found["ingest"]) == found["stored"]
    assert min(ingest["stored"] for ingest in found["ingest"]) > 0
    assert 0 < found["delay_ms"]["p50"] <= found["delay_ms"]["max"]
    named = {process["name"] for process in found["processes"]}
    assert named == {"devices", "ingest 0", "ingest 1"} | ({"broker"} if broker == "embedded" else set())


def test_a_fleet_with_certificates_is_stored_through_the_brokers_own_access_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with enrolled_broker() as broker:
        for i in range(12):
            broker.device(f"cam-{i}")
        for name, path in zip(("CA", "CERTIFICATE", "KEY"), msgspec.structs.astuple(broker.centre), strict=True):
            monkeypatch.setenv(f"EDGELOOP_TLS_{name}", path)
        where = ["--broker", broker.url, "--centre-broker", broker.centre_url, "--lake", str(tmp_path / "lake")]
        size = ["--devices", "12", "--duration", "2", "--interval", "0.5", "--certificates", str(broker.ca / "devices")]
        assert run("--json", *size, *where) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["connected"], found["reconnects"], found["connect"]["refused"]) == (12, 0, 0)
    assert 36 <= found["sent"] == found["stored"] == found["acknowledged"] <= 60
    assert set(Lake(tmp_path / "lake").read("profiles")["device"].to_pylist()) == {f"cam-{i}" for i in range(12)}


def test_devices_with_nothing_to_write_wait_for_nothing_but_input(mosquitto_url: str):
    fleet = swarm(mosquitto_url, [f"quiet-{i}" for i in range(5)])
    fleet.connect(per_s=1000, timeout_s=20, on_ready=lambda _: None)
    fleet.send_for(0.5, interval_s=0.2, on_step=lambda _: None)
    for _ in range(20):
        fleet._step(0.05)
    waiting_for = {key.events for key in fleet._selector.get_map().values()}
    fleet.close()
    assert waiting_for == {selectors.EVENT_READ}


def test_a_loss_and_a_duplicate_are_seen_even_where_the_numbers_agree(lake: Lake):
    now = datetime.now(timezone.utc)
    messages = [profile("sim-1", seq, [1], 1, epoch=7) for seq in (1, 2, 2)]
    lake.append("profiles", message_rows(messages, now))
    assert simulation._count(lake, 7, {"sim-1": 3}) == {"stored": 2, "lost": 1, "duplicates": 1, "quarantined": 0}
    assert simulation._count(lake, 8, {"sim-1": 3})["lost"] == 3


def test_without_a_centre_all_is_lost_and_the_exit_code_says_so(
    mosquitto_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    size = ["--devices", "5", "--duration", "1", "--interval", "0.5", "--drain", "0.2"]
    assert run(*size, "--ingest", "0", "--broker", mosquitto_url, "--lake", str(tmp_path / "lake")) == 1
    assert "0 stored, 10 lost" in capsys.readouterr().out


def test_devices_come_back_to_a_broker_that_forgot_them_and_send_again(tmp_path: Path, lake: Lake):
    names = [f"sim-{i}" for i in range(30)]
    with mosquitto(tmp_path) as broker:
        fleet = swarm(broker.url, names)
        fleet.connect(per_s=1000, timeout_s=20, on_ready=lambda _: None)
        fleet.send_for(1, interval_s=1, on_step=lambda _: None)  # nobody is there to acknowledge it
        assert fleet.tally.acknowledged == 0
        broker.stop()
        broker.start()
        with Ingester(broker.url, lake, client_id="edgeloop-ingest-late", batch_s=0.02) as ingester:
            ingester.wait_connected()
            fleet.drain(30, lambda _: None)
        fleet.close()
    assert fleet.tally.acknowledged == fleet.tally.sent == 30
    assert fleet.tally.resent >= 30
    assert fleet.tally.connections == 60
    assert [device.client.socket() for device in fleet.devices if device.client.socket()] == []
    table = lake.read("profiles", ("device", "seq"))
    assert sorted(table["device"].to_pylist()) == sorted(names)


def test_where_it_can_not_run_it_says_why(mosquitto_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    nobody = swarm("mqtt://127.0.0.1:9", ["sim-1"])
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9"):
        nobody.connect(per_s=10, timeout_s=1, on_ready=lambda _: None)
    nobody.close()
    with pytest.raises(ConfigError, match="ulimit"):
        simulation._allow_files(10**9)
    assert run("--ingest", "0", "--broker", mosquitto_url) == 2
    assert run("--broker", "mqtts://localhost") == 2
    assert run("--broker", "mqtts://localhost", "--certificates", str(tmp_path)) == 2
    assert "0 certificates for 1000 devices" in capsys.readouterr().err
    assert run("--devices", "0") == 2
    assert run("--watch", "mosquitto") == 2
