"""The agent: source, model, observation, uplink and updates together, for years and unattended."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeloop.artifact import read_artifact
from edgeloop.config import AgentConfig
from edgeloop.endpoint import MetricsEndpoint
from edgeloop.errors import DataError, EdgeloopError, InputError
from edgeloop.execution import execution_of
from edgeloop.failing import Failing
from edgeloop.fallback import open_outbox
from edgeloop.jobdesk import JobDesk
from edgeloop.line import Line
from edgeloop.notify import Notifier
from edgeloop.prometheus import to_prometheus
from edgeloop.redaction import load_redact
from edgeloop.runtime import Runtime
from edgeloop.signing import load_public_key
from edgeloop.sinks import Fanout, JsonLinesSink, Sink
from edgeloop.sources import Item, SourceItem, open_source
from edgeloop.sources.opening import open_within
from edgeloop.status import StatusServer
from edgeloop.stream import StreamReport, run_stream
from edgeloop.topics import DeviceTopics
from edgeloop.updates import ArtifactStore

__all__ = ["Agent", "AgentReport"]

log = logging.getLogger(__name__)

_OBSERVE_S = 0.5
_OPEN_S = 5.0  # what a source may take to open before the agent goes on without it


@dataclass(frozen=True)
class AgentReport:
    """What a run did, told at its end.

    Args:
        device: the device's name.
        epoch: the outbox's.
        inferences: see `StreamReport`, as the next six.
        refused_inputs: see there.
        failed_inputs: see there.
        skipped_inputs: what the source couldn't read, counted by reason.
        dropped_inputs: see there.
        missed_deadlines: see there.
        lost_predictions: see there.
        silences: see there.
        switches: how many newer artifacts it took.
        outbox: the outbox's counters.
        stats: see `RuntimeStats`, of the artifact that ran last.
        shadow: see `ShadowStats`; None without one.
    """

    device: str
    epoch: int
    inferences: int
    refused_inputs: int
    failed_inputs: int
    skipped_inputs: dict[str, int]
    dropped_inputs: int
    missed_deadlines: int
    lost_predictions: int
    silences: int
    switches: int
    outbox: dict[str, int]
    stats: dict[str, Any]
    shadow: dict[str, Any] | None


class Agent:
    """Runs one device. `run` returns when the source ends or `stop` was called (SIGTERM and SIGINT do).

    Raises, at the start only:
        ConfigError: a key, the source or the outbox can't be used, or another agent runs from the same folder.
        ArtifactError: no artifact verifies.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._stopping = threading.Event()
        self._refused = 0
        self._failing = Failing()

    def stop(self) -> None:
        """Ask `run` to end after the inference that is under way."""
        self._stopping.set()

    def run(self, *, drain_s: float = 10.0) -> AgentReport:
        """Run until the source ends or `stop` is called, then send what waits, for up to `drain_s` seconds.

        Raises:
            DataError: the source failed while it ran; all else has ended in order then.
        """
        config = self._config
        directory = Path(config.directory)
        keys = [load_public_key(path) for path in config.trusted_keys]
        store = ArtifactStore(directory / "artifacts", keys, config.runtime)
        with ExitStack() as stack:
            line = Line(config)
            server = stack.enter_context(StatusServer(directory, line.status))
            runtime = store.start(None if config.artifact is None else read_artifact(config.artifact))
            desk = JobDesk(config.jobs, DeviceTopics(config.device), keys)
            redact = None if config.redact is None else load_redact(config.redact)
            line.use(*open_outbox(directory / "outbox.sqlite", max_bytes=config.outbox_bytes, redact=redact), desk)
            stack.enter_context(line.outbox)
            stack.callback(lambda: line.uplink.stop(drain_s=drain_s))
            stack.callback(desk.close)
            sink = Fanout([stack.enter_context(closing(each)) for each in self._sinks()])
            if config.shadow is not None:
                line.start_shadow(config.shadow, keys, runtime)
                stack.callback(line.stop_shadow)
            line.observe_with(runtime)
            server.start()
            if config.metrics is not None:
                listen = config.metrics.listen
                stack.enter_context(MetricsEndpoint(listen, lambda: to_prometheus(line.status())))
            source = open_within(lambda: open_source(config.source), _OPEN_S)  # last, since the stream closes it
            notifier = stack.enter_context(Notifier(os.environ))
            notifier.ready(f"{runtime.manifest.name} version {runtime.manifest.version}")
            report = self._loop(runtime, source, store, line, sink, notifier)
            notifier.stopping()
            desk.close()
            line.uplink.stop(drain_s=drain_s)
            status = line.status()
        if report.error is not None:
            raise DataError(f"the source failed: {type(report.error).__name__}: {report.error}") from report.error
        return AgentReport(
            device=config.device,
            epoch=line.outbox.epoch,
            inferences=report.inferences,
            refused_inputs=report.refused,
            failed_inputs=report.failed,
            skipped_inputs=report.skipped,
            dropped_inputs=report.dropped,
            missed_deadlines=report.missed_deadlines,
            lost_predictions=sink.lost,
            silences=report.silences,
            switches=line.switches,
            outbox=asdict(status.outbox),
            stats=status.runtime.to_dict(),
            shadow=None if status.shadow is None else asdict(status.shadow),
        )

    def run_until_signalled(self, *, drain_s: float = 10.0) -> AgentReport:
        """`run`, with SIGTERM and SIGINT asking for the end; for the main thread of a process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        return self.run(drain_s=drain_s)

    def _sinks(self) -> Iterator[Sink]:
        if self._config.predictions is not None:
            yield JsonLinesSink(self._config.predictions)
        for sink in self._config.sinks:
            yield sink.open(self._config.device)

    def _loop(
        self,
        runtime: Runtime,
        source: Iterator[Item],
        store: ArtifactStore,
        line: Line,
        sink: Sink,
        notifier: Notifier,
    ) -> StreamReport:
        line.started(runtime, store)
        current, next_look_s = runtime, time.monotonic() + _OBSERVE_S

        def between(runtime: Runtime) -> Runtime:
            nonlocal current, next_look_s
            if runtime.is_half_full or time.monotonic() >= next_look_s:
                notifier.alive()
                line.observe(runtime)
                self._tell_if_back(line)
                next_look_s = time.monotonic() + _OBSERVE_S
            if not line.uplink.arrived.empty():
                current = self._switch(runtime, store, line, line.uplink.arrived.get())
            return current

        report = run_stream(
            runtime,
            source,
            sink,
            **_stream_options(self._config),
            stop=self._stopping,
            progress=line.progress,
            between=between,
            on_refused=lambda item, error: self._refuse(line, item, error),
            on_failed=lambda item, error: self._fail(line, item, error),
        )
        if report.error is not None:
            line.event("source-failed", kind=type(report.error).__name__, reason=str(report.error)[:500])
        line.stop_shadow()
        line.observe(current, final=True)
        return report

    def _refuse(self, line: Line, item: SourceItem, error: InputError) -> None:
        self._refused += 1
        line.collector.count_error(error)
        log.log(logging.WARNING if self._refused == 1 else logging.DEBUG, "%s: %s", item.ref, error)

    def _fail(self, line: Line, item: SourceItem, error: Exception) -> None:
        line.collector.count_error(error)
        if self._failing.failed(line.progress.inferences, time.monotonic()):
            log.warning("%s: the backend failed: %s: %s", item.ref, type(error).__name__, error)
            line.event("backend-failed", kind=type(error).__name__, reason=str(error)[:500])

    def _tell_if_back(self, line: Line) -> None:
        failed_s = self._failing.over(line.progress.inferences, time.monotonic())
        if failed_s is not None:
            log.warning("the backend answers again, after %.0f s", failed_s)
            line.event("backend-back", failed_s=round(failed_s, 1))

    def _switch(self, runtime: Runtime, store: ArtifactStore, line: Line, data: bytes) -> Runtime:
        """Switch to an artifact that arrived; the running one goes on where it is refused."""
        line.observe(runtime, final=True)
        try:
            new = store.switch(data, runtime.artifact)
        except (EdgeloopError, OSError) as error:
            log.warning("artifact refused: %s", error)
            line.refused(error, hashlib.sha256(data).hexdigest())
            return runtime
        line.switches += 1
        versions = {"from": runtime.manifest.version, "to": new.manifest.version}
        line.event("artifact-switched", **versions, **execution_of(new).to_detail())
        runtime.close()
        line.observe_with(new)
        return new


def _stream_options(config: AgentConfig) -> dict[str, Any]:
    stream = config.stream
    return {"queue_size": stream.queue_size, "policy": stream.policy, "deadline_ms": stream.deadline_ms}
