"""The centre in one object: ingest, monitor, rollouts and labels over one lake and one broker."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from edgeloop.artifact import Artifact
from edgeloop.link import Link
from edgeloop.messages import ArtifactRef
from edgeloop.topics import SHARDS
from edgeloop_fleet.devices import Devices, load_devices
from edgeloop_fleet.errors import LakeError
from edgeloop_fleet.incident import Alarm, Rules
from edgeloop_fleet.ingest import Ingester
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.monitor import Monitor, Report
from edgeloop_fleet.rollout import CHUNK_BYTES, Rollouts

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Centre"]

log = logging.getLogger(__name__)

_OWN_REFERENCE_N = 300


class Centre:
    """Runs for as long as the context lasts.

    Args:
        lake: a lake, or the folder of one.
        broker_url: `mqtt://…`.
        artifact: what the monitor watches from the start; `watch` sets another one.
        rules: of the monitor.
        evaluate_s: how often it evaluates, seconds.
        on_report: called with each evaluation that found new windows, on the monitor's thread.
        shards: whose devices.
        client_id: of the ingest's session at the broker, see `Ingester`.
        batch_s: see `Ingester`.

    Raises:
        LakeError: the lake can't be read.
    """

    def __init__(
        self,
        lake: Lake | str | os.PathLike[str],
        broker_url: str,
        *,
        artifact: Artifact | None = None,
        rules: Rules | None = None,
        evaluate_s: float = 5.0,
        on_report: Callable[[Report], None] | None = None,
        shards: Iterable[int] = range(SHARDS),
        client_id: str | None = None,
        batch_s: float = 0.5,
    ) -> None:
        self.lake = lake if isinstance(lake, Lake) else Lake(lake)
        self.devices: Devices = load_devices(self.lake)
        self.ingester = Ingester(
            broker_url, self.lake, shards=shards, client_id=client_id, batch_s=batch_s, devices=self.devices
        )
        self._link = Link(broker_url, f"edgeloop-centre-{secrets.token_hex(4)}")
        self.rollouts = Rollouts(self._link, self.lake, self.devices)
        self._rules, self._evaluate_s, self._on_report = rules or Rules(), evaluate_s, on_report
        self._monitors: list[Monitor] = []
        self._evaluating = threading.Lock()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="monitor", daemon=True)
        self._stack = ExitStack()
        if artifact is not None:
            self.watch(artifact)

    def __enter__(self) -> Self:
        """Connect, and start to ingest and to evaluate. Raises `BrokerError` where there is no broker."""
        with ExitStack() as stack:
            stack.enter_context(self.ingester)
            stack.enter_context(self._link)
            self.ingester.wait_connected()
            self._link.wait_connected()
            self._thread.start()
            stack.callback(self._stop_monitor)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop all; what has come is committed first. Raises what made a thread fail."""
        self._stack.__exit__(kind, error, traceback)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise what made a thread of the centre fail, if anything did."""
        self.ingester.check()
        if self._failure is not None:
            raise self._failure

    @property
    def report(self) -> Report | None:
        """The last report on the artifact that is watched last; None while none is."""
        return self._monitors[-1].report if self._monitors else None

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        """The open alarms of all artifacts that are watched, as of the last evaluation."""
        return tuple(alarm for monitor in self._monitors for alarm in monitor.report.open)

    def watch(self, artifact: Artifact, *, own_reference_n: int = 0) -> None:
        """Watch an artifact too; earlier ones are watched on, since not all devices may leave them.

        Args:
            artifact: it must carry a baseline.
            own_reference_n: see `Rules`.

        Raises:
            ConfigError: it has no baseline.
        """
        monitor = Monitor(self.lake, artifact, rules=replace(self._rules, own_reference_n=own_reference_n))
        with self._evaluating:
            self._monitors = [*self._monitors, monitor]

    def evaluate(self) -> Report | None:
        """Evaluate now, and give the report on the artifact that is watched last. Raises `LakeError`."""
        with self._evaluating:
            for monitor in self._monitors:
                monitor.evaluate()
            return self.report

    def deploy(
        self, artifact: Artifact, devices: Sequence[str], *, timeout_s: float, chunk_bytes: int = CHUNK_BYTES
    ) -> ArtifactRef:
        """Deploy an artifact, wait until all devices run it, and watch it from then on.

        Where it follows one that is watched, each device is judged against its own first 300 samples with it.

        Raises:
            GateError: a device refused it, or they didn't all run it in time.
            ArtifactError, BrokerError, LakeError, ConfigError: see `Rollouts`.
        """
        ref = self.rollouts.deploy(artifact.to_bytes(), devices, chunk_bytes=chunk_bytes)
        self.rollouts.wait_for(ref, devices, timeout_s=timeout_s)
        if artifact.manifest.baseline is not None:
            self.watch(artifact, own_reference_n=_OWN_REFERENCE_N if self._monitors else 0)
        return ref

    def _stop_monitor(self) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._closing.wait(self._evaluate_s):
                before = self.report
                report = self._evaluate_or_none()
                if report is not None and report != before and self._on_report is not None:
                    self._on_report(report)
        except BaseException as error:
            self._failure = error
            log.exception("the monitor has stopped")

    def _evaluate_or_none(self) -> Report | None:
        try:
            return self.evaluate()
        except LakeError as error:
            log.warning("monitor: %s; trying again", error)
            return None
