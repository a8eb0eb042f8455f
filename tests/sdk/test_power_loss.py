"""Power that goes at any moment: processes killed during updates, files that lost their bytes, artifacts that fail."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from brokers import mosquitto
from edgeloop.agent import Agent
from edgeloop.artifact import read_artifact, write_artifact
from edgeloop.config import AgentConfig
from edgeloop.errors import ArtifactError
from edgeloop.manifest import Golden
from edgeloop.messages import ArtifactRef, Desired, encode
from edgeloop.outbox import Outbox
from edgeloop.signing import load_public_key
from edgeloop.topics import DeviceTopics, artifact_chunk
from edgeloop.updates import ArtifactStore
from running_agent import outbox_events, running, wait_until

X = np.array([0, 1, 0, 0], np.float32)


class TestArtifacts:
    def test_one_that_fails_its_golden_input_is_refused_and_the_previous_one_runs(
        self, steady: AgentConfig, make_artifact
    ) -> None:
        store = Path(steady.directory) / "artifacts"
        store.mkdir(parents=True)
        wrong = Golden(inputs=(X.tobytes(),), outputs=(np.array([1, 0, 0], np.float32).tobytes(),), atol=1e-3)
        write_artifact(store / "active.tflite", make_artifact(version=5, golden=wrong))
        write_artifact(store / "previous.tflite", make_artifact(version=4))
        with running(steady) as run:
            assert run.status()["runtime"]["version"] == 4
        (refusal,) = [e for e in outbox_events(run.directory) if e["event"] == "artifact-refused"]
        assert refusal["kind"] == "GoldenMismatchError"
        assert len(refusal["sha256"]) == 64

    @pytest.mark.parametrize("damage", ["empty", "cut off", "zeros", "other bytes"])
    @pytest.mark.parametrize("name", ["active.tflite", "previous.tflite", "outbox.sqlite", "outbox.sqlite-wal"])
    def test_a_file_that_lost_its_bytes_with_the_power(
        self, steady: AgentConfig, make_artifact, damage: str, name: str
    ) -> None:
        directory = Path(steady.directory)
        store = directory / "artifacts"
        store.mkdir(parents=True)
        write_artifact(store / "active.tflite", make_artifact(version=3))
        write_artifact(store / "previous.tflite", make_artifact(version=2))
        Outbox(directory / "outbox.sqlite").close()
        path = next((p for p in directory.rglob(name)), directory / name)
        data = path.read_bytes() if path.exists() else b"WAL" * 2000
        path.write_bytes(
            {
                "empty": b"",
                "cut off": data[: len(data) // 2],
                "zeros": bytes(len(data)),
                "other bytes": random.Random(0).randbytes(len(data)),
            }[damage]
        )
        with running(steady) as run:
            run.goes_on()
            assert run.status()["runtime"]["version"] == (2 if name == "active.tflite" else 3)
            assert run.status()["outbox_kind"] == "disk"

    def test_what_was_being_written_when_the_power_went_is_cleared_away(
        self, tmp_path: Path, make_artifact, key
    ) -> None:
        (tmp_path / ".active.tflite.abc.tmp").write_bytes(b"half")
        store = ArtifactStore(tmp_path, [key.public_key()])
        store.start(make_artifact()).close()
        assert [p.name for p in tmp_path.iterdir()] == ["active.tflite"]


NURSERY = """
import os, signal, sys
from edgeloop.agent import Agent
from edgeloop.config import load_config

config = load_config(sys.argv[1])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if not child:
        Agent(config).run_until_signalled()
        os._exit(0)
    print(child, flush=True)
"""
"""Starts an agent, a process of its own, for each line: one that has imported all there is needs no second for it."""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            time.sleep(0.005)


def kill_during_updates(config: AgentConfig, tmp_path: Path, make_artifact, kills: int) -> list[int]:
    """Deploy one version after another while the agent is killed again and again; the versions seen to run."""
    versions: list[int] = []
    half_written: list[str] = []
    rng = random.Random(0)
    with mosquitto(tmp_path) as broker:
        centre = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        topics = DeviceTopics(config.device)

        def deploy(version: int) -> None:
            data = make_artifact(version=version).to_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            centre.publish(artifact_chunk(sha256, 0), data, qos=1)  # not retained: the broker shall not fill up
            ref = ArtifactRef("tiny", version, sha256, len(data), 1 << 16)
            centre.publish(topics.desired, encode(Desired(ref)), qos=1)
            centre.publish(artifact_chunk(sha256, 0), data, qos=1, retain=True)

        def heard(_client: object, _data: object, message: paho.MQTTMessage) -> None:
            state = json.loads(message.payload)
            if state["online"] and state.get("model"):
                versions.append(state["model"]["version"])
                deploy(versions[-1] + 1)

        centre.on_connect = lambda client, *_: client.subscribe(topics.state, 1)
        centre.on_message = heard
        centre.connect("127.0.0.1", broker.port)
        centre.loop_start()
        path = tmp_path / "agent.toml"
        source = config.source
        path.write_text(
            f'device = "{config.device}"\ndirectory = "state"\nbroker = "{broker.url}"\ntrusted_keys = ["key.pub"]\n'
            f'artifact = "v1.tflite"\nwindow_s = 0.1\n[source]\nkind = "arrays"\npath = "{source.path}"\n'
            "rate_hz = 300\nloop = true\n"
        )
        keys = [load_public_key(key) for key in config.trusted_keys]
        command = [sys.executable, "-c", NURSERY, str(path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(command, **pipes) as nursery:
            for _ in range(kills):
                before = len(versions)
                nursery.stdin.write("go\n")
                nursery.stdin.flush()
                pid = int(nursery.stdout.readline())
                wait_until(lambda before=before: len(versions) > before)
                time.sleep(rng.uniform(0, 0.15))
                kill(pid)
                for torn in (tmp_path / "state/artifacts").glob(".*"):
                    assert torn.suffix == ".tmp"
                    half_written.append(torn.name)
                ArtifactStore(tmp_path / "state/artifacts", keys).start(None).close()
                Outbox(tmp_path / "state/outbox.sqlite").close()
            nursery.stdin.close()
        centre.disconnect()
        centre.loop_stop()
    print(f"{len(versions)} starts and updates, {len(half_written)} files half written")
    return versions


@pytest.mark.parametrize("kills", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_device_that_loses_its_power_during_an_update_starts_again(
    steady: AgentConfig, tmp_path: Path, make_artifact, kills: int
) -> None:
    versions = kill_during_updates(steady, tmp_path, make_artifact, kills)
    assert versions[-1] > kills / 3, "there were updates to interrupt"
    assert versions == sorted(versions), "what once ran runs again"
    with running(steady) as run:
        assert run.status()["runtime"]["version"] >= max(versions) - 1
        run.goes_on()


def test_an_artifact_that_can_t_run_keeps_no_folder_locked(steady: AgentConfig, make_artifact) -> None:
    write_artifact(steady.artifact, make_artifact(signed=False))
    for _ in range(2):
        with pytest.raises(ArtifactError, match="not signed"):
            Agent(steady).run(drain_s=0)
    write_artifact(steady.artifact, make_artifact())
    with running(steady) as run:
        run.goes_on()
    assert read_artifact(Path(steady.directory) / "artifacts/active.tflite").manifest.version == 1
