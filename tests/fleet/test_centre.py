"""The centre as a whole, and its commands."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.cli import Command, run_command
from edgeloop.errors import BrokerError, ConfigError
from edgeloop.manifest import Manifest, ModelFile, TensorSpec
from edgeloop.messages import ModelRef
from edgeloop.profile import Profiler
from edgeloop.topics import shard_of
from edgeloop_fleet import commands
from edgeloop_fleet.centre import Centre
from edgeloop_fleet.incident import Rules
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.monitor import Report
from fleet_devices import FakeDevice, Obedient, birth, profile, sample


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    x = np.random.default_rng(0).normal(size=(800, 3)).astype(np.float32)
    return fit_baseline(x, None, summary="columns")


@pytest.fixture
def deployed(tflite: bytes, baseline: Baseline) -> Artifact:  # the fixture
    return versioned(tflite, baseline, 1)


def versioned(model: bytes, baseline: Baseline, version: int) -> Artifact:
    spec = TensorSpec(name="x", shape=(1, 3), dtype="float32")
    manifest = Manifest(
        name="tiny",
        version=version,
        created="2026-11-24T00:00:00+00:00",
        model=ModelFile(sha256="0" * 64, size_bytes=8),
        inputs=(spec,),
        outputs=(spec,),
        task="other",
        baseline=baseline,
    )
    return pack_artifact(model, manifest)


def reference(artifact: Artifact) -> ModelRef:
    manifest = artifact.manifest
    return ModelRef(name=manifest.name, version=manifest.version, sha256=manifest.model.sha256)


def drifted(device: str, seq: int, artifact: Artifact, shift: float = 3.0):
    assert artifact.manifest.baseline is not None
    x = np.random.default_rng(seq).normal(size=(60, 3)).astype(np.float32)
    x[:, 0] += shift
    counts = Profiler(artifact.manifest.baseline).profile(x, None).counts
    return profile(device, seq, counts, 60, model=reference(artifact))


def test_a_drift_is_seen_a_new_version_is_deployed_and_the_incident_closes(
    broker_url: str,
    name: str,
    lake: Lake,
    deployed: Artifact,
    baseline: Baseline,
    tflite: bytes,  # the fixture
):
    seen, reports = threading.Event(), []

    def on_report(report: Report) -> None:
        reports.append(report)
        if report.open:
            seen.set()

    threads = threading.active_count()
    with (
        Obedient(broker_url, name) as device,
        Centre(
            lake,
            broker_url,
            artifact=deployed,
            rules=Rules(window_n=60),
            evaluate_s=0.05,
            on_report=on_report,
            shards=[shard_of(name)],
            client_id=f"centre-{name}",
            batch_s=0.02,
        ) as centre,
    ):
        device.send(drifted(name, 1001, deployed))
        assert seen.wait(15)
        assert [a.devices for a in centre.open_alarms] == [(name,)]
        second = versioned(tflite, baseline, 2)
        centre.deploy(second, [name], timeout_s=15)
        device.send(drifted(name, 1002, second, shift=0.0))
        device.wait_acked({1001, 1002})
        report = centre.evaluate()
        assert report is not None
        assert len(report.series) == 1
        assert centre.open_alarms == ()
    assert threading.active_count() <= threads
    assert lake.read("runs", where="kind = 'alarm' AND status = 'closed'").num_rows == 1


def test_without_a_broker_the_centre_does_not_start(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    threads = threading.active_count()
    centre = Centre(lake, "mqtt://127.0.0.1:9")
    wait = centre.ingester.wait_connected
    monkeypatch.setattr(centre.ingester, "wait_connected", lambda: wait(0.3))
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:9"), centre:
        pass
    assert threading.active_count() == threads


def run(command: Command, *argv: str) -> tuple[int, argparse.Namespace]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    command.configure(parser)
    args = parser.parse_args(argv)
    args.command = "x"
    return run_command(command, args), args


def test_ingest_devices_and_monitor_from_the_command_line(
    mosquitto_url: str, name: str, lake: Lake, deployed: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shards = str(shard_of(name))
    file = tmp_path / "tiny.tflite"
    file.write_bytes(deployed.to_bytes())
    with FakeDevice(mosquitto_url, name) as device:
        run(commands.INGEST, "--broker", mosquitto_url, "--lake", lake.uri, "--shards", shards, "--for", "0")
        device.send_state(birth(name, 1))
        device.send(sample(name, 1), drifted(name, 2, deployed))
        capsys.readouterr()
        run(commands.INGEST, "--json", "--broker", mosquitto_url, "--lake", lake.uri, "--shards", shards, "--once")
        device.wait_acked({1, 2})
    assert json.loads(capsys.readouterr().out)["stored"] == 2
    run(commands.DEVICES, "--json", "--lake", lake.uri)
    (row,) = [r for r in json.loads(capsys.readouterr().out)["devices"] if r["device"] == name]
    assert (row["online"], row["model"]) == (True, "digits 1")
    monitor = ("--json", "--lake", lake.uri, "--artifact", str(file))
    assert run(commands.MONITOR, *monitor)[0] == 0
    assert run(commands.MONITOR, *monitor, "--fail-on-drift")[0] == 1
    found = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "}")
    assert found["alarms"][0]["devices"] == [name]
    assert run(commands.MONITOR, *monitor, "--alpha", "2")[0] == 2


def test_deploy_from_the_command_line(
    mosquitto_url: str, name: str, lake: Lake, deployed: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "tiny.tflite"
    file.write_bytes(deployed.to_bytes())
    where = (str(file), "--broker", mosquitto_url, "--lake", lake.uri)
    with Obedient(mosquitto_url, name):
        assert run(commands.DEPLOY, *where, "--devices", name)[0] == 0
    assert capsys.readouterr().out == f"tiny 1 runs on {name}\n"
    assert run(commands.DEPLOY, *where, "--devices", f"{name}-nobody", "--timeout", "0.2")[0] == 1


def test_the_centre_command_ends_orderly_on_sigterm(mosquitto_url: str, name: str, lake: Lake, deployed: Artifact):
    file = Path(lake.uri).parent / "tiny.tflite"
    file.write_bytes(deployed.to_bytes())
    code = (
        "import argparse, sys; from edgeloop_fleet.commands import CENTRE; p = argparse.ArgumentParser(); "
        "CENTRE.configure(p); print(CENTRE.run(p.parse_args(sys.argv[1:])).data, flush=True)"
    )
    arguments = ["--broker", mosquitto_url, "--lake", lake.uri, "--artifact", str(file), "--every", "0.1"]
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        ) as child,
        FakeDevice(mosquitto_url, name) as device,
    ):
        assert child.stderr is not None
        device.subscribe(device.topics.ack)
        for seq in range(1, 40):
            device.send(drifted(name, seq, deployed))
            if not device.acks.empty():
                break
            threading.Event().wait(0.2)
        line = child.stderr.readline()
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=20)
    assert child.returncode == 0
    assert name in line
    assert "covariate shift" in line
    assert "'quarantined': 0" in out


def test_shards_are_read_as_numbers_and_ranges():
    assert commands.parse_shards("0,3,8-10") == [0, 3, 8, 9, 10]
    with pytest.raises(ConfigError, match="0-7"):
        commands.parse_shards("a-b")


def test_the_commands_import_nothing_heavy():
    code = (
        "import sys, edgeloop_fleet.commands; print([m for m in ('pyarrow','deltalake','numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
