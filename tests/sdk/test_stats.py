from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import InputError
from edgeloop.ring import Seen
from edgeloop.runtime import Runtime
from edgeloop.stats import Board, StatsCollector, read_board, to_prometheus

SILENT = Board(None, None, None, None, None)


def seen_in(latency_us: list[float], overwritten: int = 0) -> Seen:
    n = len(latency_us)
    return Seen(np.zeros((n, 1)), np.zeros((n, 1), np.float32), [""] * n, np.array(latency_us, np.float32), overwritten)


def test_the_first_call_stands_apart_from_the_steady_ones() -> None:
    collector = StatsCollector("m", 3, monotonic_s=100)
    collector.observe(seen_in([5000] + [10] * 98 + [40]))
    collector.observe(seen_in([10] * 100))
    stats = collector.stats(SILENT, monotonic_s=110)
    assert (stats.runs, stats.timed, stats.first_call_us) == (200, 200, 5000)
    assert stats.p50_us == pytest.approx(10, rel=0.01)
    assert stats.max_us == pytest.approx(40, rel=0.01)
    assert stats.total_us == pytest.approx(5000 + 198 * 10 + 40)
    assert (stats.uptime_s, stats.runs_per_s) == (10, 20)


def test_throughput_is_over_the_time_since_the_statistics_before() -> None:
    collector = StatsCollector("m", 1, monotonic_s=0)
    collector.observe(seen_in([1] * 50, overwritten=50))
    assert collector.stats(SILENT, monotonic_s=10).runs_per_s == 10
    collector.observe(seen_in([1] * 4))
    stats = collector.stats(SILENT, monotonic_s=12)
    assert (stats.runs_per_s, stats.runs, stats.overwritten, stats.timed) == (2, 104, 50, 54)


def test_a_first_call_that_was_overwritten_is_not_made_up() -> None:
    collector = StatsCollector("m", 1, monotonic_s=0)
    collector.observe(seen_in([7], overwritten=1))
    collector.observe(seen_in([9]))
    assert collector.stats(SILENT, monotonic_s=1).first_call_us is None


def test_a_real_runtime_s_runs_and_errors_are_counted(make_artifact) -> None:
    runtime, collector = Runtime(make_artifact()), StatsCollector("tiny", 1, monotonic_s=0)
    for _ in range(20):
        runtime.run(np.zeros(4, np.float32))
    for bad in (np.zeros(5), np.full(4, np.nan)):
        try:
            runtime.run(bad)
        except InputError as error:
            collector.count_error(error)
    collector.observe(runtime.take_seen())
    stats = collector.stats(read_board(), monotonic_s=1)
    assert (stats.runs, stats.errors) == (20, {"InputError": 2})
    assert stats.first_call_us > 0
    assert stats.board.memory_bytes > 10e6
    assert json.loads(json.dumps(stats.to_dict()))["p99_us"] == stats.p99_us


def fake_pi(root: Path, monkeypatch: pytest.MonkeyPatch, throttled: str) -> Path:
    files = {
        "proc/self/statm": "100 25 3 4 0 5 0\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone1/temp": "61000\n",
        "sys/class/thermal/thermal_zone2/temp": "not available\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    command = root / "bin/vcgencmd"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\n[ "$1" = get_throttled ] && echo "{throttled}"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return root


def test_a_raspberry_pi_tells_frequency_temperature_and_throttling(tmp_path, monkeypatch) -> None:
    board = read_board(fake_pi(tmp_path, monkeypatch, "throttled=0x50005"))
    assert (board.cpu_hz, board.temperature_c) == (1_500_000_000, 61)
    assert board.throttled == board.throttled_since_boot == ("under_voltage", "throttled")
    assert board.memory_bytes > 0


def test_a_board_that_tells_nothing_or_nonsense_gives_none(tmp_path, monkeypatch) -> None:
    assert read_board(fake_pi(tmp_path, monkeypatch, "error=1 VCHI")).throttled is None
    monkeypatch.setenv("PATH", "")
    assert read_board(tmp_path / "nowhere") == SILENT


def test_prometheus_gets_base_units_escaped_labels_and_nothing_unknown() -> None:
    collector = StatsCollector('a "b"\\', 2, monotonic_s=0)
    collector.observe(seen_in([100, 10, 10]))
    collector.count_error(InputError("no"))
    text = to_prometheus(collector.stats(SILENT, monotonic_s=4))
    of = r'model="a \"b\"\\",version="2"'
    assert f"# TYPE edgeloop_runs_total counter\nedgeloop_runs_total{{{of}}} 3\n" in text
    assert f'edgeloop_errors_total{{{of},kind="InputError"}} 1\n' in text
    assert f"edgeloop_latency_seconds_count{{{of}}} 3\n" in text
    assert f"edgeloop_first_call_seconds{{{of}}} 0.0001\n" in text
    assert "celsius" not in text
    assert "throttled" not in text


def test_prometheus_says_of_every_throttling_reason_whether_it_holds() -> None:
    board = Board(1, 2, 3.5, ("throttled",), ())
    text = to_prometheus(StatsCollector("m", 1, monotonic_s=0).stats(board, monotonic_s=1))
    assert 'edgeloop_throttled{reason="throttled"} 1\n' in text
    assert 'edgeloop_throttled{reason="under_voltage"} 0\n' in text
    assert "edgeloop_temperature_celsius 3.5\n" in text
    assert "edgeloop_first_call_seconds" not in text
