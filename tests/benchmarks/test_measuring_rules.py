"""The rules that figures follow from, on clocks and boards that a test makes: arrivals, warm-up, energy, verdicts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.latency import Latency
from edgeloop.machine import Machine, describe_machine
from edgeloop_bench.instrument import instrument_us
from edgeloop_bench.meters import CounterMeter, PowerMeter, find_meter, pmic_watts
from edgeloop_bench.passes.energy import draw_at_rest, measure_energy
from edgeloop_bench.passes.multi_stream import answer_arrivals
from edgeloop_bench.passes.warmup import steady_from, warm_up
from edgeloop_bench.result import Scenario, Settings, SubjectResult, Throughput, Verdict, Vitals
from edgeloop_bench.verdict import judge
from edgeloop_bench.vitals import Watch


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += max(1, round(seconds * 1e9))

    def looked_at(self) -> int:
        self.ns += 1000
        return self.ns


def test_an_answer_that_takes_long_makes_those_behind_it_late() -> None:
    clock, took = Clock(), iter([1_000_000, 35_000_000, *[1_000_000] * 8])

    def call() -> None:
        clock.ns += next(took)

    answered = answer_arrivals(call, 10, 10_000_000, clock=clock.looked_at, sleep=clock.sleep)
    ms = np.round(answered.latency_ns / 1e6).astype(int)
    assert ms.tolist() == [1, 35, 26, 17, 8, 1, 1, 1, 1, 1]
    assert answered.elapsed_s == pytest.approx(0.091, abs=0.001)


def test_a_model_slower_than_its_inputs_falls_behind_more_and_more() -> None:
    clock = Clock()

    def call() -> None:
        clock.ns += 15_000_000

    answered = answer_arrivals(call, 20, 10_000_000, clock=clock.looked_at, sleep=clock.sleep)
    assert (np.diff(answered.latency_ns) > 4_900_000).all()


def test_the_steady_state_begins_after_the_slow_calls() -> None:
    rng = np.random.default_rng(0)
    times = rng.normal(100_000, 1000, 400)
    assert steady_from(times) in range(50)
    times[:60] += np.linspace(200_000, 20_000, 60)
    assert steady_from(times) in range(55, 80)
    times[[100, 222, 350]] *= 50  # others ran meanwhile
    assert steady_from(times) in range(55, 80)


def test_times_that_still_fall_are_not_steady() -> None:
    assert steady_from(np.linspace(400_000, 100_000, 400)) is None
    assert steady_from([1, 2, 3]) is None


@given(st.lists(st.integers(0, 10**12), min_size=10, max_size=200))
def test_any_times_have_a_cut_in_the_first_half_or_none(times: list[int]) -> None:
    cut = steady_from(times)
    assert cut is None or 0 <= cut <= len(times) / 2 + 5


def test_a_model_that_never_settles_ends_the_warm_up() -> None:
    clock, calls = Clock(), [0]

    def call() -> None:
        calls[0] += 1
        clock.ns += round(1000 * 1.02 ** calls[0])

    warmup, is_steady = warm_up(call, clock=clock)
    assert not is_steady
    assert warmup.calls == calls[0] <= 12_800


def test_the_instrument_is_as_light_as_promised() -> None:
    assert 0 < instrument_us() < 5  # on any machine; the promise of 0.3 µs is printed with each run


def written(root: Path, files: dict[str, str]) -> Path:
    """A tree with these files, in the kernel's formats; not recorded from a board."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


RAPL = {
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "262143000000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "5\n",
}


def test_rapl_counts_packages_and_survives_its_wrap(tmp_path: Path) -> None:
    meter, note = find_meter(written(tmp_path, RAPL))
    assert isinstance(meter, CounterMeter)
    assert (meter.source, meter.domain, note) == ("RAPL", "processor package", None)
    written(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "671150\n"})
    assert meter.joules() == pytest.approx(1.0)
    written(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "1671150\n"})
    assert meter.joules() == pytest.approx(2.0)


def test_a_shunt_tells_power(tmp_path: Path) -> None:
    files = {"sys/class/hwmon/hwmon0/name": "cpu_thermal\n", "sys/class/hwmon/hwmon1/name": "ina219\n"}
    meter, _ = find_meter(written(tmp_path, files | {"sys/class/hwmon/hwmon1/power1_input": "2500000\n"}))
    assert isinstance(meter, PowerMeter)
    assert meter.source == "INA219"


def test_no_meter_is_no_error_and_a_forbidden_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_meter(tmp_path) == (None, None)
    root, read = written(tmp_path, RAPL), Path.read_text

    def forbidden(self: Path, **options: str) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, **options)

    monkeypatch.setattr(Path, "read_text", forbidden)
    meter, note = find_meter(root)
    assert meter is None
    assert note is not None
    assert "energy_uj is for root only" in note


def test_a_raspberry_pi_5_lists_its_rails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rails = ("3V7_WL_SW_A current(0)=0.1A", "VDD_CORE_A current(7)=2A", "3V7_WL_SW_V volt(8)=3.7V")
    said = "\n ".join([*rails, "VDD_CORE_V volt(15)=0.9V", "EXT5V_V volt(24)=5.1V"])
    assert pmic_watts(said) == pytest.approx(0.37 + 1.8)
    command = tmp_path / "bin/vcgencmd"
    written(tmp_path, {"bin/vcgencmd": f"#!/bin/sh\nprintf '%s' '{said}'\n"})
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    meter, _ = find_meter(tmp_path)
    assert meter is not None
    assert meter.source == "vcgencmd pmic_read_adc"


def test_energy_is_what_calls_draw_beyond_rest() -> None:
    """2 W at rest and 5 W while calling, a millisecond a call: 3 mJ each."""
    clock, busy = Clock(), [False]
    meter = PowerMeter("made up", "all", lambda: 5.0 if busy[0] else 2.0, clock=lambda: clock.ns / 1e9)
    idle_w = draw_at_rest(meter, 1.0, sleep=clock.sleep, clock=clock)
    assert idle_w == pytest.approx(2.0)
    busy[0] = True
    meter.joules()

    def call() -> None:
        clock.ns += 1_000_000

    found = measure_energy(call, meter, idle_w=idle_w, seconds=2, clock=clock)
    assert found.uj_per_call == pytest.approx(3000, rel=0.01)
    assert found.idle_w == idle_w


@pytest.fixture
def machine() -> Machine:
    return msgspec.structs.replace(describe_machine(), cores=2, governor="performance")


def result(n: int = 100, rounds: int = 12) -> SubjectResult:
    latency = Latency(n, rounds, 10, (9, 11), 8, 12, None)
    return SubjectResult("a.tflite", "0" * 64, 1, scenarios=(Scenario("single-stream", 1, 1, latency, Throughput(1)),))


@pytest.mark.parametrize(
    ("vitals", "figures", "reason"),
    [
        (Vitals(throttled=("throttled",)), result(), "slowed down: throttled"),
        (Vitals(cpu_hz=(600e6, 1500e6)), result(), "the clock fell by 60%"),
        (Vitals(load_1m=2.0), result(), "the load was 2.0 on 2 cores"),
        (Vitals(stolen_percent=25.0), result(), "25 % of the processor's time"),
        (Vitals(), result(n=99), "99 calls of the 100"),
        (Vitals(), result(rounds=5), "5 openings carry no interval"),
        (Vitals(), msgspec.structs.replace(result(), error="it broke"), "a.tflite: it broke"),
    ],
)
def test_what_spoils_a_run_is_named(machine: Machine, vitals: Vitals, figures: SubjectResult, reason: str) -> None:
    verdict = judge(machine, vitals, Settings(), [figures])
    assert not verdict.valid
    assert len(verdict.reasons) == 1
    assert reason in verdict.reasons[0]


def test_a_quiet_run_is_valid_and_powersave_is_a_note(machine: Machine) -> None:
    calm = Vitals(cpu_hz=(1.45e9, 1.5e9), throttled=(), load_1m=0.3, stolen_percent=1.0)
    assert judge(machine, calm, Settings(), [result()]) == Verdict(valid=True)
    saving = judge(msgspec.structs.replace(machine, governor="powersave"), calm, Settings(), [result()])
    assert saving.valid
    assert "powersave" in saving.reasons[0]


def test_a_board_is_watched_from_the_first_look_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    board = {
        "proc/stat": "cpu 100 0 0 100 0 0 0 0 0 0\n",
        "proc/thread-self/schedstat": "1000 0 5\n",
        "proc/self/statm": "100 25 3 4 0 5 0\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
        "sys/class/thermal/thermal_zone0/temp": "50000\n",
    }
    watch = Watch(0.5, written(tmp_path, board))
    watch.look()
    hot = {
        "proc/stat": "cpu 180 0 0 110 0 0 0 10 0 0\n",
        "proc/thread-self/schedstat": "10000 1000 9\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000\n",
        "sys/class/thermal/thermal_zone0/temp": "81000\n",
    }
    written(tmp_path, hot)
    watch.look()
    seen = watch.vitals()
    assert (seen.cpu_hz, seen.temperature_c) == ((1e9, 1.5e9), (50, 81))
    assert seen.stolen_percent == pytest.approx(10 + 10)
    assert seen.throttled is None


def test_a_board_that_tells_nothing_leaves_it_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    watch = Watch(0.5, tmp_path)
    watch.look()
    assert watch.vitals() == Vitals(load_1m=0.5)
