"""Rollouts over real brokers: what a device puts together from the chunks is the file, and a refusal says why."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edgeloop.artifact import pack_artifact
from edgeloop.errors import ConfigError, GateError, NotTfliteError
from edgeloop.link import Link
from edgeloop.manifest import Manifest, ModelFile, TensorSpec
from edgeloop.messages import ArtifactRef
from edgeloop.topics import artifact_filter, parse_artifact_chunk, shard_of
from edgeloop_fleet.devices import Devices, load_devices
from edgeloop_fleet.follow import deploy
from edgeloop_fleet.ingest import Ingester
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rollout import Rollouts, publish_artifact, withdraw
from fleet_devices import FakeDevice, Obedient, event


def artifact(tflite: bytes, version: int = 2, padding: int = 0) -> bytes:
    spec = TensorSpec(name="x", shape=(1, 4), dtype="float32")
    manifest = Manifest(
        name="tiny",
        version=version,
        created="2026-11-24T00:00:00+00:00",
        model=ModelFile(sha256="0" * 64, size_bytes=8),
        inputs=(spec,),
        outputs=(spec,),
        task="classification",
        provenance={"padding": np.random.default_rng(version).bytes(padding).hex()},
    )
    return pack_artifact(tflite, manifest).to_bytes()


@pytest.fixture
def link(broker_url: str, name: str) -> Iterator[Link]:
    with Link(broker_url, f"rollout-{name}") as link:
        link.wait_connected()
        yield link


def fetch(device: FakeDevice, ref: ArtifactRef) -> bytes:
    device.subscribe(artifact_filter(ref.sha256))
    chunks: dict[int, bytes] = {}
    while len(chunks) < ref.chunks:
        topic, payload, _ = device.messages.get(timeout=10)
        chunk = parse_artifact_chunk(topic)
        assert chunk is not None
        chunks[chunk[1]] = payload
    return b"".join(chunks[i] for i in range(ref.chunks))


def test_a_device_that_comes_later_puts_the_chunks_together_to_the_same_file(
    broker_url: str, name: str, link: Link, tflite: bytes
):
    file = artifact(tflite, padding=1_000_000)
    ref = publish_artifact(link, file)
    assert (ref.size_bytes, ref.chunks) == (len(file), -(-len(file) // 65536))
    with FakeDevice(broker_url, name) as device:
        got = fetch(device, ref)
    assert hashlib.sha256(got).hexdigest() == ref.sha256
    withdraw(broker_url, ref)
    with FakeDevice(broker_url, f"{name}-late") as late:
        late.subscribe(artifact_filter(ref.sha256))
        time.sleep(0.3)
        assert late.messages.empty()


def test_what_is_no_artifact_is_not_published(link: Link):
    with pytest.raises(NotTfliteError):
        publish_artifact(link, b"PK, but no model")


def test_a_rollout_is_followed_to_the_running_device(broker_url: str, name: str, link: Link, lake: Lake, tflite: bytes):
    with (
        Ingester(broker_url, lake, shards=[shard_of(name)], client_id=f"i-{name}", batch_s=0.02) as ingest,
        Obedient(broker_url, name),
    ):
        ingest.wait_connected()
        rollouts = Rollouts(link, lake, ingest.devices)
        ref = rollouts.deploy(artifact(tflite), [name])
        rollouts.wait_for(ref, [name], timeout_s=15)
        rollouts.withdraw(ref)
    steps = lake.read("rollouts").sort_by("time").to_pylist()
    assert [(s["device"], s["step"]) for s in steps] == [
        ("", "published"),
        (name, "desired"),
        (name, "running"),
        ("", "withdrawn"),
    ]
    assert {(s["name"], s["version"], s["sha256"]) for s in steps} == {("tiny", 2, ref.sha256)}


def test_a_refusal_ends_the_wait_and_gives_the_reason(mosquitto_url: str, name: str, lake: Lake, tflite: bytes):
    with (
        Ingester(mosquitto_url, lake, shards=[shard_of(name)], client_id=f"i-{name}", batch_s=0.02) as ingest,
        Obedient(mosquitto_url, name) as device,
        Link(mosquitto_url, f"rollout-{name}") as link,
    ):
        ingest.wait_connected()
        link.wait_connected()
        device.refuses = True
        rollouts = Rollouts(link, lake, ingest.devices)
        ref = rollouts.deploy(artifact(tflite), [name])
        with pytest.raises(GateError, match=f"{name} refuses tiny 2: not signed"):
            rollouts.wait_for(ref, [name], timeout_s=15)
    steps = [s["step"] for s in lake.read("rollouts").sort_by("time").to_pylist()]
    assert steps.count("refused") == 1
    assert "running" not in steps


def test_the_refusal_of_another_artifact_is_none_of_this_one(mosquitto_url: str, name: str, lake: Lake, tflite: bytes):
    with (
        Ingester(mosquitto_url, lake, shards=[shard_of(name)], client_id=f"i-{name}", batch_s=0.02) as ingest,
        FakeDevice(mosquitto_url, name) as device,
        Link(mosquitto_url, f"rollout-{name}") as link,
    ):
        ingest.wait_connected()
        link.wait_connected()
        rollouts = Rollouts(link, lake, ingest.devices)
        ref = rollouts.deploy(artifact(tflite), [name])
        device.send(event(name, 1, word="artifact-refused", sha256="0" * 64, reason="an older one"))
        device.wait_acked({1})
        with pytest.raises(GateError, match="doesn't run"):
            rollouts.wait_for(ref, [name], timeout_s=0.6)
        device._retained.add(device.topics.desired)
    assert "refused" not in lake.read("rollouts")["step"].to_pylist()


def test_a_device_that_does_not_answer_is_named(link: Link, lake: Lake, name: str, tflite: bytes):
    rollouts = Rollouts(link, lake, Devices())
    ref = rollouts.deploy(artifact(tflite), [name])
    with pytest.raises(GateError, match=f"doesn't run after 0.3 s on: {name}"):
        rollouts.wait_for(ref, [name], timeout_s=0.3)


def test_another_process_can_deploy_beside_a_running_centre(broker_url: str, name: str, lake: Lake, tflite: bytes):
    with pytest.raises(ConfigError, match="no device"):
        deploy(broker_url, lake, artifact(tflite), None, timeout_s=5)
    with (
        Ingester(broker_url, lake, shards=[shard_of(name)], client_id=f"i-{name}", batch_s=0.02) as ingest,
        Obedient(broker_url, name),
    ):
        assert ingest.devices.wait(lambda states: name in states, 10)
        end_s = time.monotonic() + 10
        while name not in load_devices(Lake(lake.uri)).snapshot() and time.monotonic() < end_s:
            time.sleep(0.02)
        ref, names = deploy(broker_url, Lake(lake.uri), artifact(tflite), None, timeout_s=15)
    assert (ref.version, names) == (2, [name])
