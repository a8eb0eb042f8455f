"""The agent: source, model, observation, uplink and updates together, for years and unattended."""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeloop.artifact import read_artifact
from edgeloop.config import AgentConfig
from edgeloop.errors import DataError, EdgeloopError, InputError
from edgeloop.files import write_atomic
from edgeloop.messages import EventMessage, ModelRef
from edgeloop.mqtt import parse_broker_url
from edgeloop.observer import Observer
from edgeloop.outbox import Outbox
from edgeloop.runtime import Runtime
from edgeloop.signing import load_public_key
from edgeloop.sinks import Fanout, JsonLinesSink, Sink
from edgeloop.sources import Item, SourceItem, open_source
from edgeloop.stats import RuntimeStats, StatsCollector, read_board, to_prometheus
from edgeloop.stream import StreamReport, run_stream
from edgeloop.updates import ArtifactStore
from edgeloop.uplink import Uplink

__all__ = ["Agent", "AgentReport"]

log = logging.getLogger(__name__)

_OBSERVE_S = 0.5


@dataclass(frozen=True)
class AgentReport:
    """What a run did, told at its end.

    Args:
        device: the device's name.
        epoch: the outbox's.
        inferences: see `StreamReport`, as the next five.
        refused_inputs: see there.
        skipped_inputs: what the source couldn't read, counted by reason.
        dropped_inputs: see there.
        missed_deadlines: see there.
        lost_predictions: see there.
        switches: how many newer artifacts it took.
        outbox: the outbox's counters.
        stats: see `RuntimeStats`, of the artifact that ran last.
    """

    device: str
    epoch: int
    inferences: int
    refused_inputs: int
    skipped_inputs: dict[str, int]
    dropped_inputs: int
    missed_deadlines: int
    lost_predictions: int
    switches: int
    outbox: dict[str, int]
    stats: dict[str, Any]


class Agent:
    """Runs one device. `run` returns when the source ends or `stop` was called (SIGTERM and SIGINT do).

    Raises, at the start only:
        ConfigError: a key, the source or the outbox can't be used.
        ArtifactError: no artifact verifies.
    """

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._stopping = threading.Event()
        self._refused = self._switches = 0

    def stop(self) -> None:
        """Ask `run` to end after the inference that is under way."""
        self._stopping.set()

    def run(self, *, drain_s: float = 10.0) -> AgentReport:
        """Run until the source ends or `stop` is called, then send what waits, for up to `drain_s` seconds.

        Raises:
            DataError: the source failed while it ran; all else has ended in order then.
        """
        config = self._config
        keys = [load_public_key(path) for path in config.trusted_keys]
        store = ArtifactStore(Path(config.directory) / "artifacts", keys)
        runtime = store.start(None if config.artifact is None else read_artifact(config.artifact))
        with ExitStack() as stack:
            outbox = stack.enter_context(
                Outbox(Path(config.directory) / "outbox.sqlite", max_bytes=config.outbox_bytes)
            )
            uplink = Uplink(outbox, parse_broker_url(config.broker), config.device)
            stack.callback(lambda: uplink.stop(drain_s=drain_s))
            sink = Fanout([stack.enter_context(closing(each)) for each in self._sinks()])
            source = open_source(config.source)  # last, since the stream closes it
            line = _Line(config, outbox, uplink)
            report = self._loop(runtime, source, store, line, sink)
            uplink.stop(drain_s=drain_s)
            counters = asdict(outbox.counters())
            epoch = outbox.epoch
        if report.error is not None:
            raise DataError(f"the source failed: {type(report.error).__name__}: {report.error}") from report.error
        return AgentReport(
            device=config.device,
            epoch=epoch,
            inferences=report.inferences,
            refused_inputs=report.refused,
            skipped_inputs=report.skipped,
            dropped_inputs=report.dropped,
            missed_deadlines=report.missed_deadlines,
            lost_predictions=sink.lost,
            switches=self._switches,
            outbox=counters,
            stats=line.stats().to_dict(),
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
        self, runtime: Runtime, source: Iterator[Item], store: ArtifactStore, line: _Line, sink: Sink
    ) -> StreamReport:
        line.started(runtime)
        current, next_look_s = runtime, time.monotonic() + _OBSERVE_S

        def between(runtime: Runtime) -> Runtime:
            nonlocal current, next_look_s
            if runtime.is_half_full or time.monotonic() >= next_look_s:
                line.observe(runtime)
                next_look_s = time.monotonic() + _OBSERVE_S
            if not line.uplink.arrived.empty():
                current = self._switch(runtime, store, line, line.uplink.arrived.get())
            return current

        report = run_stream(
            runtime,
            source,
            sink,
            **msgspec.structs.asdict(self._config.stream),
            stop=self._stopping,
            between=between,
            on_refused=lambda item, error: self._refuse(line, item, error),
        )
        if report.error is not None:
            line.event("source-failed", kind=type(report.error).__name__, reason=str(report.error)[:500])
        line.observe(current, final=True)
        return report

    def _refuse(self, line: _Line, item: SourceItem, error: InputError) -> None:
        self._refused += 1
        line.collector.count_error(error)
        log.log(logging.WARNING if self._refused == 1 else logging.DEBUG, "%s: %s", item.ref, error)

    def _switch(self, runtime: Runtime, store: ArtifactStore, line: _Line, data: bytes) -> Runtime:
        """Switch to an artifact that arrived; the running one goes on where it is refused."""
        line.observe(runtime, final=True)
        try:
            new = store.switch(data, runtime.artifact)
        except (EdgeloopError, OSError) as error:
            log.warning("artifact refused: %s", error)
            line.event(
                "artifact-refused",
                kind=type(error).__name__,
                reason=str(error)[:500],
                sha256=hashlib.sha256(data).hexdigest(),
            )
            return runtime
        self._switches += 1
        line.event("artifact-switched", **{"from": runtime.manifest.version, "to": new.manifest.version})
        runtime.close()
        line.observe_with(new)
        return new


class _Line:
    """The way from the loop to the outbox: observer and statistics of the model that runs, and the events."""

    def __init__(self, config: AgentConfig, outbox: Outbox, uplink: Uplink) -> None:
        self.uplink = uplink
        self._config = config
        self._outbox = outbox
        self._rng = np.random.default_rng()

    def started(self, runtime: Runtime) -> None:
        self.observe_with(runtime)
        self.event("started", version=runtime.manifest.version, backend=runtime.backend)
        self.uplink.start()

    def observe_with(self, runtime: Runtime) -> None:
        self._observer = Observer(self._config, runtime.manifest, self._rng)
        manifest = runtime.manifest
        self.collector = StatsCollector(manifest.name, manifest.version, monotonic_s=time.monotonic())
        self._next_metrics_s = 0.0
        self.uplink.set_model(ModelRef(manifest.name, manifest.version, manifest.model.sha256))

    def observe(self, runtime: Runtime, *, final: bool = False) -> None:
        """Take what the runtime has seen, and queue what is worth sending."""
        seen = runtime.take_seen()
        self.collector.observe(seen)
        if self._config.metrics_file and (final or time.monotonic() >= self._next_metrics_s):
            self._write_metrics(self._config.metrics_file)
        messages, values = self._observer.observe(
            seen, now_s=time.time(), monotonic_s=time.monotonic(), close_window=final
        )
        if messages:
            self._outbox.put(messages, values)
            self.uplink.wake()

    def stats(self) -> RuntimeStats:
        return self.collector.stats(read_board(), monotonic_s=time.monotonic())

    def _write_metrics(self, path: str) -> None:
        self._next_metrics_s = time.monotonic() + self._config.window_s
        try:
            write_atomic(path, to_prometheus(self.stats()))
        except OSError as error:  # a full disk is no reason to stop seeing
            log.warning("metrics: %s", error)

    def event(self, event: str, **detail: Any) -> None:
        self._outbox.put([EventMessage(device=self._config.device, time_s=time.time(), event=event, detail=detail)])
        self.uplink.wake()
