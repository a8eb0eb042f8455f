"""What Prometheus reads, held against the format's grammar and what a reader would add up."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgeloop.delegates import Placement
from edgeloop.errors import InputError
from edgeloop.execution import Execution
from edgeloop.observer import ObserverStats
from edgeloop.outbox import OutboxCounters
from edgeloop.prometheus import to_prometheus
from edgeloop.ring import Seen
from edgeloop.shadow import ShadowStats
from edgeloop.stats import Board, StatsCollector
from edgeloop.status import Status
from edgeloop.stream import StreamReport

SILENT = Board(None, None, None, None, None)
LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*")*)\})?'
    r" (?P<value>[+-]?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))"
)
SUFFIXES = {"summary": ("", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def read(text: str) -> dict[str, float]:
    """The samples by name and labels; fails on what the text format (0.0.4) doesn't allow, or Prometheus frowns on."""
    found: dict[str, float] = {}
    families: dict[str, str] = {}
    helped = None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped = line.split(" ", 3)[2]
            assert helped not in families, "one group for each family"
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            assert family == helped
            assert (kind == "counter") == family.endswith("_total")
            families[family] = kind
        else:
            match = LINE.fullmatch(line)
            assert match, line
            family, kind = list(families.items())[-1]
            assert match["name"].removeprefix(family) in SUFFIXES[kind], line
            key = f"{match['name']}{{{match['labels'] or ''}}}"
            assert key not in found, "each sample once"
            found[key] = float(match["value"])
    return found


def status(collector: StatsCollector, board: Board = SILENT, **changes: object) -> Status:
    stream = StreamReport(
        came=9,
        inferences=7,
        refused=1,
        skipped={'a "torn" one': 2},
        dropped=1,
        missed_deadlines=3,
        lost=4,
        waiting=5,
        silences=6,
        silent_s=7.5,
        duration_s=1.0,
        error=None,
        source={"device_resets": 2},
    )
    fields: dict[str, object] = {
        "device": "cam-1",
        "pid": 1,
        "time_s": 1.7e9,
        "uptime_s": 8.0,
        "is_connected": True,
        "execution": Execution("litert", 2, Placement(None, 'no "gpu"', ("SOFTMAX", "SOFTMAX"), 5)),
        "runtime": collector.stats(board, monotonic_s=4),
        "stream": stream,
        "outbox": OutboxCounters(9, 3, 1, 1, 100, held=2, merged=3, damaged=1, set_aside=4, lost=5, withheld=6),
        "outbox_kind": "disk",
        "oversized": 0,
        "observer": ObserverStats(5, 2, 0.25),
        "switches": 1,
    }
    return Status(**(fields | changes))


@pytest.fixture
def collector() -> StatsCollector:
    return StatsCollector("m", 1, monotonic_s=0)


def test_base_units_escaped_labels_and_nothing_unknown() -> None:
    collector = StatsCollector('a "b"\\\n', 2, monotonic_s=0)
    latency = np.array([100, 10, 10], np.float32)
    collector.observe(Seen(np.zeros((3, 1)), np.zeros((3, 1), np.float32), [""] * 3, latency, 0))
    collector.count_error(InputError("no"))
    found = read(to_prometheus(status(collector)))
    of = r'model="a \"b\"\\\n",version="2"'
    assert found[f"edgeloop_runs_total{{{of}}}"] == 3
    assert found[f'edgeloop_errors_total{{{of},kind="InputError"}}'] == 1
    how = r'backend="litert",threads="2",delegate="cpu",fallback="no \"gpu\"",outside="SOFTMAX × 2"'
    assert found[f"edgeloop_runtime_info{{{of},{how}}}"] == 1
    assert found[f"edgeloop_delegate_fallback{{{of}}}"] == 1
    assert (found["edgeloop_left_out_total{}"], found["edgeloop_observer_cpu_seconds_total{}"]) == (2, 0.25)
    assert found[f"edgeloop_operators_outside{{{of}}}"] == 2
    assert found[f"edgeloop_latency_seconds_count{{{of}}}"] == 3
    assert found[f"edgeloop_first_call_seconds{{{of}}}"] == pytest.approx(1e-4)
    assert found[f'edgeloop_latency_seconds{{{of},quantile="0.5"}}'] == pytest.approx(1e-5, rel=0.01)
    assert not [name for name in found if "celsius" in name or "throttled" in name or "shadow" in name]


def test_the_stream_and_the_outbox_are_told(collector: StatsCollector) -> None:
    found = read(to_prometheus(status(collector)))
    assert found["edgeloop_queue_depth{}"] == 5
    assert found["edgeloop_source_silent_seconds{}"] == 7.5
    assert found["edgeloop_source_silences_total{}"] == 6
    assert found[r'edgeloop_skipped_total{reason="a \"torn\" one"}'] == 2
    assert found['edgeloop_source{name="device_resets"}'] == 2
    assert found["edgeloop_messages_pending{}"] == 1
    told = {name: found[f"edgeloop_messages_{name}{{}}"] for name in ("held", "merged_total", "lost_total")}
    assert told == {"held": 2, "merged_total": 3, "lost_total": 5}
    assert found["edgeloop_messages_damaged_total{}"] == 1
    assert found["edgeloop_messages_withheld_total{}"] == 6
    assert found["edgeloop_outbox_set_aside_total{}"] == 4
    assert found["edgeloop_connected{}"] == 1


def test_every_throttling_reason_is_told_whether_it_holds(collector: StatsCollector) -> None:
    found = read(to_prometheus(status(collector, Board(1, 2, 3.5, ("throttled",), ("under_voltage",)))))
    assert found['edgeloop_throttled{reason="throttled"}'] == 1
    assert found['edgeloop_throttled{reason="under_voltage"}'] == 0
    assert found['edgeloop_throttled_since_boot{reason="under_voltage"}'] == 1
    assert found["edgeloop_temperature_celsius{}"] == 3.5


def test_a_shadow_is_told(collector: StatsCollector) -> None:
    shadow = ShadowStats("n", 2, 100, 90, 0, 10, 1.5, 0.1, None, "")
    found = read(to_prometheus(status(collector, shadow=shadow)))
    assert found['edgeloop_shadow_agreed_total{model="n",version="2"}'] == 90
    assert not [name for name in found if "slowdown" in name]
