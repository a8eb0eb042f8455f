"""An agent's status as Prometheus reads it: the text exposition format, version 0.0.4, in base units."""

from __future__ import annotations

from typing import NamedTuple

from edgeloop.stats import THROTTLING, RuntimeStats
from edgeloop.status import Status

__all__ = ["CONTENT_TYPE", "to_prometheus"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Sample(NamedTuple):
    """One line: None is what isn't known, and is left out."""

    value: float | None
    labels: dict[str, str] = {}  # noqa: RUF012  # nobody changes it
    suffix: str = ""


class _Family(NamedTuple):
    name: str
    kind: str
    help: str
    samples: list[_Sample]


def to_prometheus(status: Status) -> str:
    """The text; what is unknown is left out."""
    lines = []
    families = [
        *_of_runtime(status.runtime),
        *_of_execution(status),
        *_of_board(status.runtime),
        *_of_agent(status),
        *_of_shadow(status),
    ]
    for family in families:
        known = [sample for sample in family.samples if sample.value is not None]
        if known:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
            lines += [f"{family.name}{s.suffix}{_labels(s.labels)} {s.value!r}" for s in known]
    return "\n".join(lines) + "\n"


def _of_runtime(stats: RuntimeStats) -> list[_Family]:
    of = {"model": stats.model, "version": str(stats.version)}
    timed = {"0.5": stats.p50_us, "0.9": stats.p90_us, "0.99": stats.p99_us}
    latency = [_Sample(_seconds(us), {**of, "quantile": q}) for q, us in timed.items()]
    latency += [_Sample(_seconds(stats.total_us), of, "_sum"), _Sample(stats.timed, of, "_count")]
    errors = [_Sample(n, {**of, "kind": kind}) for kind, n in sorted(stats.errors.items())]
    return [
        _Family("edgeloop_runs_total", "counter", "Inputs that the model has answered.", [_Sample(stats.runs, of)]),
        _Family("edgeloop_errors_total", "counter", "Inputs that it has not, by kind.", errors),
        _Family(
            "edgeloop_overwritten_total",
            "counter",
            "Answers that nobody observed in time.",
            [_Sample(stats.overwritten, of)],
        ),
        _Family("edgeloop_latency_seconds", "summary", "From an input to its answer.", latency),
        _Family(
            "edgeloop_first_call_seconds",
            "gauge",
            "The first call's latency.",
            [_Sample(_seconds(stats.first_call_us), of)],
        ),
        _Family("edgeloop_uptime_seconds", "gauge", "Since the model was loaded.", [_Sample(stats.uptime_s, of)]),
    ]


def _of_execution(status: Status) -> list[_Family]:
    execution, placement = status.execution, status.execution.placement
    of = {"model": status.runtime.model, "version": str(status.runtime.version)}
    how = {
        "backend": execution.backend,
        "threads": str(execution.threads),
        "delegate": placement.delegate or "cpu",
        "fallback": placement.fallback or "",
        "outside": placement.counted(),
    }
    fallback = _Sample(int(placement.fallback is not None), of)
    outside = _Sample(len(placement.outside) if placement.operators else None, of)
    operators = _Sample(placement.operators or None, of)
    return [
        _Family("edgeloop_runtime_info", "gauge", "How the model is being run.", [_Sample(1, {**of, **how})]),
        _Family("edgeloop_delegate_fallback", "gauge", "Whether a delegate was asked for and isn't used.", [fallback]),
        _Family("edgeloop_operators", "gauge", "The model's operators.", [operators]),
        _Family("edgeloop_operators_outside", "gauge", "Of them, those that no delegate has taken.", [outside]),
    ]


def _of_board(stats: RuntimeStats) -> list[_Family]:
    board = stats.board
    now, ever = (
        []
        if reasons is None
        else [_Sample(int(reason in reasons), {"reason": reason}) for reason in THROTTLING.values()]
        for reasons in (board.throttled, board.throttled_since_boot)
    )
    return [
        _Family("process_resident_memory_bytes", "gauge", "Resident memory.", [_Sample(board.memory_bytes)]),
        _Family("edgeloop_cpu_frequency_hertz", "gauge", "The first core's clock.", [_Sample(board.cpu_hz)]),
        _Family("edgeloop_temperature_celsius", "gauge", "The hottest zone's.", [_Sample(board.temperature_c)]),
        _Family("edgeloop_throttled", "gauge", "What slows the processor now.", now),
        _Family("edgeloop_throttled_since_boot", "gauge", "What has slowed it.", ever),
    ]


def _of_agent(status: Status) -> list[_Family]:
    stream, outbox = status.stream, status.outbox
    skipped = [_Sample(n, {"reason": reason}) for reason, n in sorted(stream.skipped.items())]
    source, backend = (
        [_Sample(n, {"name": name}) for name, n in sorted(counted.items())]
        for counted in (stream.source, status.backend)
    )
    counters = {
        "inputs": (stream.came, "Inputs that the source gave."),
        "refused": (stream.refused, "Inputs that didn't fit the model."),
        "failed": (stream.failed, "Inputs that the backend had no answer to."),
        "dropped": (stream.dropped, "Inputs that the queue's policy dropped."),
        "missed_deadlines": (stream.missed_deadlines, "Answers that came too late."),
        "lost_predictions": (stream.lost, "Predictions that a sink couldn't keep."),
        "source_silences": (stream.silences, "How often the source fell silent."),
        "profiled": (status.observer.profiled, "Inputs that went into profiles."),
        "left_out": (status.observer.left_out, "Inputs that didn't, since observing has its share of a processor."),
        "observer_cpu_seconds": (status.observer.cpu_s, "What observing the model has taken."),
        "switches": (status.switches, "Newer artifacts that were taken."),
        "messages_put": (outbox.put, "Messages for the centre."),
        "messages_acknowledged": (outbox.acknowledged, "Messages that the centre has stored."),
        "messages_dropped": (outbox.dropped, "Samples that made room in a full outbox."),
        "messages_merged": (outbox.merged, "Profiles that were added to others in a full outbox."),
        "messages_damaged": (outbox.damaged, "Messages that the disk has damaged."),
        "messages_lost": (outbox.lost, "Messages that neither the disk nor memory had room for."),
        "messages_withheld": (outbox.withheld, "Messages that the redaction hook has kept back."),
        "outbox_set_aside": (outbox.set_aside, "How often the outbox's file was damaged."),
    }
    gauges = {
        "queue_depth": (stream.waiting, "Inputs that wait for the model."),
        "source_silent_seconds": (stream.silent_s, "For how long the source has been silent; 0 where it isn't."),
        "messages_pending": (outbox.pending, "Messages that wait for the centre."),
        "messages_pending_bytes": (outbox.pending_bytes, "Their size."),
        "messages_held": (outbox.held, "Messages that wait in memory, since the disk takes none."),
        "connected": (int(status.is_connected), "Whether there is a connection to the broker."),
        "agent_uptime_seconds": (status.uptime_s, "Since the agent was started."),
    }
    return [
        _Family("edgeloop_skipped_total", "counter", "Inputs that the source couldn't read.", skipped),
        _Family("edgeloop_source", "gauge", "What the source counts itself.", source),
        _Family("edgeloop_backend", "gauge", "What the backend counts itself.", backend),
        *(_Family(f"edgeloop_{n}_total", "counter", text, [_Sample(v)]) for n, (v, text) in counters.items()),
        *(_Family(f"edgeloop_{n}", "gauge", text, [_Sample(v)]) for n, (v, text) in gauges.items()),
    ]


def _of_shadow(status: Status) -> list[_Family]:
    shadow = status.shadow
    if shadow is None:
        return []
    of = {"model": shadow.model, "version": str(shadow.version)}
    looked, agreed = [_Sample(shadow.looked, of)], [_Sample(shadow.agreed, of)]
    return [
        _Family("edgeloop_shadow_looked_total", "counter", "Inputs that the shadow has answered, too.", looked),
        _Family("edgeloop_shadow_agreed_total", "counter", "Of them, those on which they agree.", agreed),
        _Family("edgeloop_shadow_cpu_seconds_total", "counter", "What it took.", [_Sample(shadow.cpu_s, of)]),
        _Family("edgeloop_shadow_cpu_share", "gauge", "What it may take.", [_Sample(shadow.share, of)]),
        _Family("edgeloop_shadow_slowdown", "gauge", "Of the model that runs.", [_Sample(shadow.slowdown, of)]),
    ]


def _seconds(us: float | None) -> float | None:
    return None if us is None else us / 1e6


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = {k: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
