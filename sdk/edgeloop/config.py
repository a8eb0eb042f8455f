"""The agent's configuration: one TOML file, validated before anything starts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edgeloop.bounded import Policy
from edgeloop.errors import ConfigError
from edgeloop.jobdesk import JobsConfig
from edgeloop.mqtt import BrokerAddress, parse_broker_url
from edgeloop.pacing import UplinkConfig, parse_quiet_hours
from edgeloop.runtime_config import RuntimeConfig
from edgeloop.sinks import AnySink
from edgeloop.sources import AnySource, Camera, PluginSource, PythonSource
from edgeloop.sources.plugin import plugin_kinds
from edgeloop.tls import TlsFiles
from edgeloop.topics import check_device_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "AgentConfig",
    "MetricsConfig",
    "ServiceConfig",
    "ShadowConfig",
    "StreamConfig",
    "load_config",
    "parse_listen",
]

S = TypeVar("S", bound=msgspec.Struct)

Positive = Annotated[float, msgspec.Meta(gt=0)]


class StreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands between the source and the model; see `edgeloop.stream.run_stream`.

    Args:
        queue_size: see there, as the next two.
        policy: see there.
        deadline_ms: see there.
        silent_s: see `edgeloop.stream.Progress`.
    """

    queue_size: Annotated[int, msgspec.Meta(ge=1)] = 64
    policy: Policy = "block"
    deadline_ms: Positive | None = None
    silent_s: Positive = 60.0


class ShadowConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second artifact on the same inputs; see `edgeloop.shadow`.

    Args:
        artifact: its file; signed by a trusted key, as the first one.
        cpu_percent: of one processor that it may take, at most.
        max_slowdown_percent: of the first model's mean latency; past it the shadow does less.
        tolerance: up to which outputs agree that are no classifier's, in real units.
    """

    artifact: str
    cpu_percent: Annotated[float, msgspec.Meta(gt=0, le=100)] = 10.0
    max_slowdown_percent: Positive = 5.0
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.1


class MetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Statistics for Prometheus to fetch: `listen` is HOST:PORT, "[::1]:9101" for IPv6."""

    listen: str


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `edgeloop agent --systemd` writes into the unit.

    Args:
        memory_max_mb: past it the kernel ends the agent, and systemd starts it again; in MB.
        watchdog_s: an agent whose loop stands still for so long is ended and started again; in seconds.
    """

    memory_max_mb: Annotated[int, msgspec.Meta(ge=64)] = 512
    watchdog_s: Annotated[int, msgspec.Meta(ge=5)] = 30


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the agent must know. Relative paths count from the file's own folder.

    Args:
        device: the device's name.
        directory: where the outbox and the artifacts live.
        broker: `mqtt://host:port`.
        trusted_keys: public key files; an artifact must be signed by one of them.
        source: where inputs come from; see `edgeloop.sources`.
        artifact: the artifact to start with, where the store holds none that is newer.
        runtime: the backend, its threads, kernels and delegate; see `edgeloop.runtime_config`.
        predictions: a file to which predictions are appended as JSON lines; "-" is standard output.
        sinks: where else they go; see `edgeloop.sinks`.
        stream: what happens when inputs come faster than the model answers, or not at all.
        shadow: a second artifact that is compared with the one that runs.
        metrics: where Prometheus may ask for statistics.
        service: what the systemd unit says.
        log: "json" for one JSON document a line on standard error, statistics among them once a window.
        window_s: how long a profile's window is.
        metrics_file: where to put statistics in Prometheus' text format, anew each window, for node_exporter's textfile
            collector.
        sample_bytes_per_day: the budget for picked inputs; 0 sends none.
        observe_cpu_percent: of one processor that profiling and sampling may take; past it a random part of the inputs
            is looked at.
        outbox_bytes: what may wait on disk.
        jobs: what other machines may have this one compute; see `edgeloop.jobdesk`.
        redact: `module:function` that each message is given to before it is queued; see `edgeloop.redaction`.
        uplink: what may be used of the network; see `edgeloop.pacing`.
        tls: who we are at a broker that asks for a certificate; see `edgeloop.tls`.
    """

    device: str
    directory: str
    broker: str
    trusted_keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    source: AnySource
    artifact: str | None = None
    runtime: RuntimeConfig = RuntimeConfig()
    predictions: str | None = None
    sinks: tuple[AnySink, ...] = ()
    stream: StreamConfig = StreamConfig()
    shadow: ShadowConfig | None = None
    metrics: MetricsConfig | None = None
    service: ServiceConfig = ServiceConfig()
    log: Literal["text", "json"] = "text"
    window_s: Positive = 60.0
    metrics_file: str | None = None
    sample_bytes_per_day: Annotated[float, msgspec.Meta(ge=0)] = 1e6
    observe_cpu_percent: Annotated[float, msgspec.Meta(gt=0, le=100)] = 10.0
    outbox_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = 64 << 20
    jobs: JobsConfig = JobsConfig()
    redact: str | None = None
    uplink: UplinkConfig = UplinkConfig()
    tls: TlsFiles | None = None

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is, and who we are there."""
        return replace(parse_broker_url(self.broker), files=self.tls)


def load_config(path: str | Path) -> AgentConfig:
    """Read the agent's configuration, paths made absolute.

    Raises:
        OSError: the file can't be read.
        ConfigError: no TOML, an unknown or missing field, a wrong type or value; the message names it.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if isinstance(source := table.get("source"), dict) and "call" in source:
            source.setdefault("kind", "python")
        if isinstance(source, dict) and source.get("kind") in plugin_kinds():
            table["source"] = {"kind": "plugin", "name": source.pop("kind"), "options": source}
        config = msgspec.convert(table, AgentConfig)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if isinstance(config.source, PluginSource):
        config.source.load()  # for what is wrong with its options
    config.runtime.check()
    check_device_name(config.device)
    parse_broker_url(config.broker)
    if isinstance(config.source, PythonSource) and config.source.call.count(":") != 1:
        raise ConfigError(f"{path}: source.call is {config.source.call!r}: write 'module:function'")
    if config.metrics is not None:
        parse_listen(config.metrics.listen)
    if config.uplink.quiet_hours is not None:
        parse_quiet_hours(config.uplink.quiet_hours)
    if config.tls is not None:
        _check_tls(path, config)
    base = path.resolve().parent
    shadow = config.shadow

    def absolute(name: str | None) -> str | None:
        return name if name in (None, "-") else str(base / name)

    return msgspec.structs.replace(
        config,
        directory=str(base / config.directory),
        trusted_keys=tuple(str(base / key) for key in config.trusted_keys),
        artifact=absolute(config.artifact),
        runtime=_with_delegate(config.runtime, base),
        predictions=absolute(config.predictions),
        metrics_file=absolute(config.metrics_file),
        tls=config.tls and TlsFiles(*(str(base / name) for name in msgspec.structs.astuple(config.tls))),
        shadow=shadow and msgspec.structs.replace(shadow, artifact=str(base / shadow.artifact)),
        source=_completed(config.source, base, config.broker),
        sinks=tuple(_completed(sink, base, config.broker) for sink in config.sinks),
    )


def _with_delegate(runtime: RuntimeConfig, base: Path) -> RuntimeConfig:
    """With the delegate's file counted from `base`; a name without a slash is the dynamic linker's to find."""
    if runtime.delegate is None or "/" not in runtime.delegate:
        return runtime
    return msgspec.structs.replace(runtime, delegate=str(base / runtime.delegate))


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9101" or "[::1]:9101". Raises `ConfigError`."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) >= 1 << 16:
        raise ConfigError(f"metrics.listen is {listen!r}: write HOST:PORT, as in 127.0.0.1:9101")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_tls(path: Path, config: AgentConfig) -> None:
    if not config.address.tls:
        raise ConfigError(f"{path}: [tls], and a broker without it: write mqtts:// in `broker`")
    for part in (config.source, *config.sinks):
        # One certificate is one connection: the broker would end the agent's own.
        if getattr(part, "broker", "") is None:
            raise ConfigError(f"{path}: with [tls] the agent's broker is for the agent alone: name another `broker`")


def _completed(part: S, base: Path, broker: str) -> S:
    """A source or a sink with its file counted from `base`, and the agent's broker where it names none."""
    changes: dict[str, Any] = {}
    for field in ("path", "device") if isinstance(part, Camera) else ("path",):
        name = getattr(part, field, None)
        if isinstance(name, str) and name != "-":
            changes[field] = str(base / name)
    if getattr(part, "broker", broker) is None:
        changes["broker"] = broker
    return msgspec.structs.replace(part, **changes)
