from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import InputError
from edgeloop.histogram import unpack_histogram
from edgeloop.ring import Seen
from edgeloop.runtime import Runtime
from edgeloop.stats import Board, StatsCollector, read_board

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


def test_several_who_look_see_the_same_throughput() -> None:
    collector = StatsCollector("m", 1, monotonic_s=0)
    rates = []
    for tick in range(1, 200):
        collector.observe(seen_in([1] * 10))
        rates += [collector.stats(SILENT, monotonic_s=tick / 10 + late).runs_per_s for late in (0, 1e-4)]
    assert rates[20:] == pytest.approx([100] * len(rates[20:]), rel=0.15)
    assert len(collector._marks) < 20


def test_the_histograms_of_two_devices_add_up() -> None:
    rng = np.random.default_rng(0)
    latency_us = [rng.lognormal(3, 1, 500).astype(np.float32) for _ in range(2)]
    packed = []
    for of_one in latency_us:
        collector = StatsCollector("m", 1, monotonic_s=0)
        collector.observe(seen_in([999, *of_one.tolist()]))
        packed.append(base64.b64decode(collector.stats(SILENT, monotonic_s=1).to_dict()["latency"]))
    together = unpack_histogram(packed[0]) + unpack_histogram(packed[1])
    assert together.n == 1000
    exact = np.quantile(np.concatenate(latency_us), 0.99, method="lower")
    assert together.quantile_us(0.99) == pytest.approx(exact, rel=0.0101)


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
