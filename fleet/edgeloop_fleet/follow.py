"""A deployment from a process of its own, beside a centre that runs: it hears the devices' states by itself."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

from edgeloop.errors import ConfigError, MessageError
from edgeloop.link import Link
from edgeloop.messages import ArtifactRef, State, decode
from edgeloop.topics import ROOT, parse_up
from edgeloop_fleet.devices import Devices, load_devices
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rollout import Rollouts

__all__ = ["deploy"]

log = logging.getLogger(__name__)


def deploy(
    broker_url: str, lake: Lake, artifact: bytes, names: Sequence[str] | None, *, timeout_s: float
) -> tuple[ArtifactRef, list[str]]:
    """Deploy an artifact and wait until the devices run it.

    Args:
        broker_url: `mqtt://…`.
        lake: where the steps go; an ingest that writes to it tells the reason of a refusal.
        artifact: the whole file.
        names: the devices; None for all that the lake knows as online.
        timeout_s: how long to wait for them.

    Returns:
        What was deployed, and to which devices.

    Raises:
        ConfigError: there is no device to deploy to.
        GateError: a device refused it, or they didn't all run it in time.
        ArtifactError, BrokerError, LakeError: see `Rollouts`.
    """
    devices = load_devices(lake)
    chosen = sorted(set(names) if names is not None else {d for d, s in devices.snapshot().items() if s.online})
    if not chosen:
        raise ConfigError("no device to deploy to: name some, or run `edgeloop ingest` so that the lake knows them")

    def hear(topic: str, payload: bytes) -> None:
        _hear(devices, topic, payload)

    name = f"edgeloop-deploy-{secrets.token_hex(4)}"
    with Link(broker_url, name, on_message=hear, subscriptions=[f"{ROOT}/+/+/state"]) as link:
        link.wait_connected()
        rollouts = Rollouts(link, lake, devices)
        ref = rollouts.deploy(artifact, chosen)
        rollouts.wait_for(ref, chosen, timeout_s=timeout_s)
    return ref, chosen


def _hear(devices: Devices, topic: str, payload: bytes) -> None:
    try:
        state = decode(payload, State)
        if state.device == parse_up(topic).device:
            devices.update(state)
    except MessageError as error:  # ingest keeps it aside
        log.info("%s: %s", topic, error)
