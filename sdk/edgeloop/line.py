"""The line from the agent's loop to the outbox: what the model saw, how it goes, and what happened."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgeloop.artifact import read_artifact
from edgeloop.config import AgentConfig, ShadowConfig
from edgeloop.errors import ConfigError, EdgeloopError
from edgeloop.execution import execution_of
from edgeloop.files import write_atomic
from edgeloop.inputs import sample_shapes
from edgeloop.jobdesk import JobDesk
from edgeloop.messages import EventMessage, ModelRef, Up
from edgeloop.observer import Observer
from edgeloop.outbox import Outbox
from edgeloop.prometheus import to_prometheus
from edgeloop.runtime import Runtime
from edgeloop.shadow import Shadow, ShadowStats, check_comparable
from edgeloop.signing import PublicKey
from edgeloop.stats import Board, StatsCollector, read_board
from edgeloop.status import Status
from edgeloop.stream import Progress
from edgeloop.updates import ArtifactStore
from edgeloop.uplink import Uplink

__all__ = ["Line"]

log = logging.getLogger(__name__)

_BOARD_S = 1.0


class Line:
    """Observer, statistics and shadow of the model that runs, and the events of an agent.

    For the agent's thread; `status` is for any.
    """

    def __init__(self, config: AgentConfig) -> None:
        self.progress = Progress(config.stream.silent_s)
        self.switches = 0
        self._config = config
        self._rng = np.random.default_rng()
        self._shadow: Shadow[Observer] | None = None
        self._shadow_stats: ShadowStats | None = None
        self._oversized = 0
        self._start_s = time.monotonic()
        self._next_metrics_s = 0.0
        self._untold = False
        self._told: dict[str, dict[str, int]] = {"source-statistics": {}, "backend-statistics": {}}
        self._board_lock = threading.Lock()
        self._board: tuple[float, Board] | None = None

    def use(self, outbox: Outbox, kind: str, desk: JobDesk) -> None:
        """Take the outbox and the desk for jobs, and make the uplink that empties the one and fills the other."""
        config = self._config
        self.outbox, self._outbox_kind = outbox, kind
        self.uplink = Uplink(outbox, config.address, config.device, desk=desk, config=config.uplink)

    def started(self, runtime: Runtime, store: ArtifactStore) -> None:
        """Tell what runs and what couldn't, and begin to send."""
        detail = execution_of(runtime).to_detail()
        self.event("started", version=runtime.manifest.version, outbox=self._outbox_kind, **detail)
        for error, sha256 in store.refused:
            self.refused(error, sha256)
        self.uplink.start()

    def observe_with(self, runtime: Runtime) -> None:
        """Observe this runtime from now on."""
        manifest = runtime.manifest
        shadow = None if self._shadow is None else self._shadow.ref
        if shadow is not None and shadow.sha256 == manifest.model.sha256:
            self.stop_shadow(why="it is what runs now")
        elif self._shadow is not None:
            try:
                check_comparable(manifest, self._shadow.manifest)
            except ConfigError as error:
                log.warning("no shadow any more: %s", error)
                self.stop_shadow(why=str(error))
        shadow = None if self._shadow is None else self._shadow.ref
        self._observer = Observer(self._config, manifest, self._rng, shadow)
        self._shapes = sample_shapes(manifest)
        self._execution, self._count_backend = execution_of(runtime), runtime.count_backend
        self.collector = StatsCollector(manifest.name, manifest.version, monotonic_s=time.monotonic())
        self.uplink.set_model(ModelRef(manifest.name, manifest.version, manifest.model.sha256))

    def start_shadow(self, wanted: ShadowConfig, keys: Sequence[PublicKey], runtime: Runtime) -> None:
        """Start the shadow; one that can't be used is told, and the device runs without."""
        try:
            artifact = read_artifact(wanted.artifact)
            artifact.verify(keys)
            second = self._config.runtime.open_shadow(artifact)
            check_comparable(runtime.manifest, second.manifest)
        except (EdgeloopError, OSError) as error:
            log.warning("no shadow: %s", error)
            self.event("shadow-refused", kind=type(error).__name__, reason=str(error)[:500])
            return
        self._shadow = Shadow(
            second,
            share=wanted.cpu_percent / 100,
            max_slowdown=wanted.max_slowdown_percent / 100,
            tolerance=wanted.tolerance,
            rng=np.random.default_rng(self._rng.integers(2**63)),
        )

    def stop_shadow(self, why: str = "") -> None:
        """End the shadow, if there is one, and send what it still has to say."""
        if self._shadow is not None:
            self._shadow.close()
            self._take_compared()
            stats = self._shadow.stats()
            self._shadow_stats, self._shadow = replace(stats, ended=stats.ended or why), None

    def observe(self, runtime: Runtime, *, final: bool = False) -> None:
        """Take what the runtime has seen, and queue what is worth sending."""
        seen = runtime.take_seen()
        self.collector.observe(seen)
        self._tell_of_silence()
        self._take_compared()
        shadow = self._shadow
        messages, values = self._observer.observe(
            seen, now_s=time.time(), monotonic_s=time.monotonic(), close_window=final, sample=shadow is None
        )
        self._put(messages, values)
        if shadow is not None and len(seen):
            shadow.offer(seen, self._observer, self._shapes)
        self._oversized = self._observer.oversized
        if time.monotonic() >= self._next_metrics_s or final:
            self._next_metrics_s = time.monotonic() + self._config.window_s
            self._tell_counts("source-statistics", self.progress.report().source)
            self._tell_counts("backend-statistics", self._count_backend())
            self._tell_statistics()

    def status(self) -> Status:
        """How it goes; from any thread."""
        shadow = self._shadow
        return Status(
            device=self._config.device,
            pid=os.getpid(),
            time_s=time.time(),
            uptime_s=time.monotonic() - self._start_s,
            is_connected=self.uplink.is_connected,
            execution=self._execution,
            runtime=self.collector.stats(self._read_board(), monotonic_s=time.monotonic()),
            stream=self.progress.report(),
            outbox=self.outbox.counters(),
            outbox_kind=self._outbox_kind,
            oversized=self._oversized,
            observer=self._observer.stats(),
            switches=self.switches,
            shadow=self._shadow_stats if shadow is None else shadow.stats(),
            backend=self._count_backend(),
        )

    def event(self, event: str, **detail: Any) -> None:
        """Tell the centre that something happened; see `EventMessage`."""
        self._put([EventMessage(device=self._config.device, time_s=time.time(), event=event, detail=detail)], [None])

    def refused(self, error: Exception, sha256: str) -> None:
        """Tell the centre of an artifact that can't run here."""
        self.event("artifact-refused", kind=type(error).__name__, reason=str(error)[:500], sha256=sha256)

    def _take_compared(self) -> None:
        for batch in self._shadow.finished() if self._shadow is not None else ():
            messages, values = batch.owner.compared(
                batch.seen, batch.looked, batch.disagrees, now_s=time.time(), monotonic_s=time.monotonic()
            )
            self._put(messages, values)

    def _put(self, messages: Sequence[Up], values: Sequence[float | None]) -> None:
        """Queue messages; without any, what a full disk didn't take before."""
        if self.outbox.offer(messages, values) and messages:
            self.uplink.wake()

    def _tell_of_silence(self) -> None:
        changes = self.progress.changes
        while changes:
            is_silent, silent_s = changes.popleft()
            self.event("source-silent" if is_silent else "source-back", silent_s=round(silent_s, 1))

    def _tell_counts(self, event: str, counted: dict[str, int]) -> None:
        """What a source or a backend counts itself (a microcontroller's line does), where it has changed."""
        if counted != self._told[event]:
            self._told[event] = counted
            self.event(event, **counted)

    def _tell_statistics(self) -> None:
        if not (self._config.metrics_file or log.isEnabledFor(logging.INFO)):
            return
        try:
            status = self.status()
            log.info("statistics", extra={"statistics": status.to_dict()})
            if self._config.metrics_file:
                write_atomic(self._config.metrics_file, to_prometheus(status))
            self._untold = False
        except OSError as error:  # a full disk, or one that fails, is no reason to stop seeing
            log.log(logging.DEBUG if self._untold else logging.WARNING, "statistics: %s", error)
            self._untold = True

    def _read_board(self) -> Board:
        """Once a second at most, however many ask: it starts a process on a Raspberry Pi."""
        with self._board_lock:
            now_s = time.monotonic()
            if self._board is None or now_s - self._board[0] >= _BOARD_S:
                self._board = now_s, read_board()
            return self._board[1]
