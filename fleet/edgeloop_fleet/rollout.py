"""Rollout: an artifact's way to the devices, through retained messages of the broker.

All chunks are retained before any device is told of them, so that a device which comes later finds them too.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import msgspec
import pyarrow as pa

from edgeloop.artifact import read_artifact
from edgeloop.errors import BrokerError, ConfigError, GateError
from edgeloop.link import Link
from edgeloop.messages import ArtifactRef, Desired, State, encode
from edgeloop.topics import DeviceTopics, artifact_chunk
from edgeloop_fleet.devices import Devices
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.schemas import SCHEMAS

__all__ = ["CHUNK_BYTES", "Refusal", "Rollouts", "publish_artifact", "withdraw"]

CHUNK_BYTES = 64 << 10

_PUBLISH_S = 60.0
_POLL_S = 0.25


def publish_artifact(link: Link | str, artifact: bytes, *, chunk_bytes: int = CHUNK_BYTES) -> ArtifactRef:
    """Retain an artifact at the broker, and wait until it has all of it.

    Args:
        link: a connected link, or the broker's URL.
        artifact: the whole file.
        chunk_bytes: how long a chunk is, 1 KiB to 1 MiB.

    Raises:
        ArtifactError: the file is no whole artifact.
        BrokerError: the broker didn't take it within 60 s.
    """
    manifest = read_artifact(artifact).manifest
    ref = ArtifactRef(
        name=manifest.name,
        version=manifest.version,
        sha256=hashlib.sha256(artifact).hexdigest(),
        size_bytes=len(artifact),
        chunk_bytes=chunk_bytes,
    )
    with _linked(link) as linked:
        _wait(
            linked.publish(
                artifact_chunk(ref.sha256, i), artifact[i * chunk_bytes : (i + 1) * chunk_bytes], retain=True
            )
            for i in range(ref.chunks)
        )
    return ref


def withdraw(link: Link | str, ref: ArtifactRef) -> None:
    """Clear an artifact's chunks from the broker. Raises `BrokerError`."""
    with _linked(link) as linked:
        _wait(linked.publish(artifact_chunk(ref.sha256, i), b"", retain=True) for i in range(ref.chunks))


@dataclass(frozen=True)
class Refusal:
    """A device said that it doesn't take an artifact, and why."""

    device: str
    reason: str


class Rollouts:
    """Deploys artifacts and follows them; each step is a row of the `rollouts` table.

    Args:
        link: a link to the broker.
        lake: where the steps go, and where the devices' events are.
        devices: the view of the devices' states, of an ingest that runs.
    """

    def __init__(self, link: Link, lake: Lake, devices: Devices) -> None:
        self._link, self._lake, self._devices = link, lake, devices
        self._deployed: dict[str, datetime] = {}

    def deploy(self, artifact: bytes, devices: Sequence[str], *, chunk_bytes: int = CHUNK_BYTES) -> ArtifactRef:
        """Publish an artifact and tell devices to run it; `wait_for` follows.

        Raises:
            ConfigError: a device's name can't be one.
            ArtifactError, BrokerError: see `publish_artifact`.
            LakeError: the step couldn't be written.
        """
        topics = [DeviceTopics(device) for device in devices]
        started = datetime.now(timezone.utc)
        ref = publish_artifact(self._link, artifact, chunk_bytes=chunk_bytes)
        self._deployed[ref.sha256] = started
        self._step(ref, [("", "published", f"{ref.chunks} chunks")])
        self._desire(ref, topics)
        self._step(ref, [(device, "desired", "") for device in devices])
        return ref

    def wait_for(self, ref: ArtifactRef, devices: Iterable[str], *, timeout_s: float) -> None:
        """Wait until all devices say that they run the artifact's version or a later one.

        Raises:
            GateError: a device refused it, or not all run it after `timeout_s`; says which, and why.
            ConfigError: it wasn't deployed by this object.
            BrokerError, LakeError: the broker or the lake failed.
        """
        if ref.sha256 not in self._deployed:
            raise ConfigError(f"{ref.name} {ref.version} wasn't deployed from here: deploy it first")
        since = self._deployed[ref.sha256]
        waiting = set(devices)
        heard: set[tuple[str, int, int]] = set()
        deadline = time.monotonic() + timeout_s
        while waiting:
            running = self._running(ref, waiting)
            self._step(ref, [(device, "running", "") for device in sorted(running)])
            waiting -= running
            for refusal in self._refusals(ref, waiting, since, heard):
                self._step(ref, [(refusal.device, "refused", refusal.reason)])
                raise GateError(f"device {refusal.device} refuses {ref.name} {ref.version}: {refusal.reason}")
            if waiting and time.monotonic() > deadline:
                names = ", ".join(sorted(waiting))
                raise GateError(f"{ref.name} {ref.version} doesn't run after {timeout_s:g} s on: {names}")

    def withdraw(self, ref: ArtifactRef) -> None:
        """Clear the artifact's chunks from the broker. Raises `BrokerError` or `LakeError`."""
        withdraw(self._link, ref)
        self._step(ref, [("", "withdrawn", "")])

    def _desire(self, ref: ArtifactRef, topics: Iterable[DeviceTopics]) -> None:
        payload = encode(Desired(artifact=ref))
        _wait(self._link.publish(topic.desired, payload, retain=True) for topic in topics)

    def _running(self, ref: ArtifactRef, devices: set[str]) -> set[str]:
        """Those of `devices` that run it; waits a moment for a first one."""
        self._devices.wait(lambda states: any(_runs(states.get(device), ref) for device in devices), _POLL_S)
        states = self._devices.snapshot()
        return {device for device in devices if _runs(states.get(device), ref)}

    def _refusals(
        self, ref: ArtifactRef, devices: set[str], since: datetime, heard: set[tuple[str, int, int]]
    ) -> Iterator[Refusal]:
        """The refusals of this artifact that haven't been heard yet."""
        where = f"event = 'artifact-refused' AND ingested >= TIMESTAMP '{since.isoformat()}'"
        for row in self._lake.read("events", ("device", "epoch", "seq", "detail"), where).to_pylist():
            identity = row["device"], row["epoch"], row["seq"]
            detail: dict[str, Any] = msgspec.json.decode(row["detail"])
            if row["device"] in devices and identity not in heard and detail.get("sha256", ref.sha256) == ref.sha256:
                heard.add(identity)
                yield Refusal(row["device"], str(detail.get("reason") or detail.get("error") or "it gave no reason"))

    def _step(self, ref: ArtifactRef, steps: Sequence[tuple[str, str, str]]) -> None:
        now = datetime.now(timezone.utc)
        rows = [
            {
                "device": device,
                "step": step,
                "name": ref.name,
                "version": ref.version,
                "sha256": ref.sha256,
                "time": now,
                "detail": detail,
            }
            for device, step, detail in steps
        ]
        if rows:
            self._lake.append("rollouts", pa.Table.from_pylist(rows, schema=SCHEMAS["rollouts"]))


def _runs(state: State | None, ref: ArtifactRef) -> bool:
    return (
        state is not None
        and state.online
        and state.model is not None
        and (state.model.name, state.model.version >= ref.version) == (ref.name, True)
    )


def _wait(futures: Iterable[Future[None]]) -> None:
    done, late = wait(list(futures), _PUBLISH_S)
    for future in done:
        future.result()
    if late:
        raise BrokerError(f"the broker didn't take {len(late)} of {len(done) + len(late)} messages in {_PUBLISH_S:g} s")


@contextmanager
def _linked(link: Link | str) -> Iterator[Link]:
    if isinstance(link, Link):
        yield link
        return
    with Link(link, f"edgeloop-rollout-{secrets.token_hex(4)}") as own:
        own.wait_connected()
        yield own
