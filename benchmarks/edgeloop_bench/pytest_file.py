"""pytest-benchmark's files, in and out: its benchmarks as subjects, our subjects as its benchmarks.

Source: the JSON that pytest-benchmark 5 writes with `--benchmark-json` and reads with `pytest-benchmark compare`.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from typing import Any

import msgspec
import numpy as np

from edgeloop.errors import DataError
from edgeloop.histogram import LatencyHistogram, histogram, unpack_histogram
from edgeloop.latency import Latency
from edgeloop.machine import Machine
from edgeloop.order import median_interval
from edgeloop_bench.result import (
    SCHEMA,
    BenchResult,
    Scenario,
    Settings,
    SubjectResult,
    Throughput,
    Verdict,
    Vitals,
)

__all__ = ["from_pytest", "to_pytest"]

_ENOUGH_FOR_P99 = 1000
_US = 1e6


class _Stats(msgspec.Struct):
    """In seconds; `data` is there unless only statistics were saved."""

    min: float
    max: float
    median: float
    ops: float
    rounds: int
    iterations: int
    data: list[float] | None = None


class _Benchmark(msgspec.Struct):
    fullname: str
    stats: _Stats
    options: dict[str, Any] = {}


class _File(msgspec.Struct):
    benchmarks: list[_Benchmark]
    machine_info: dict[str, Any]
    datetime: str
    commit_info: dict[str, Any] = {}
    version: str = ""


def from_pytest(raw: bytes, where: str) -> BenchResult:
    """A run of pytest-benchmark as one of ours: a subject for each benchmark; what it doesn't tell is None, 0 or "".

    Its 90 % and 99 % are of the single rounds, which `--benchmark-json` writes; a file without them has the slowest
    round in place of the 90 %, and says so in the verdict.

    Raises:
        DataError: it is no such file; `where` it stands begins the error.
    """
    try:
        file = msgspec.json.decode(raw, type=_File)
        start_s = datetime.fromisoformat(file.datetime.replace("Z", "+00:00")).timestamp()
    except (msgspec.ValidationError, ValueError) as error:
        raise DataError(f"{where}: no file of pytest-benchmark that is known: {error}") from error
    options = file.benchmarks[0].options if file.benchmarks else {}
    bare = [b.fullname for b in file.benchmarks if not b.stats.data]
    reasons = (f"{len(bare)} benchmarks without single rounds: their 90 % is the slowest",) if bare else ()
    return BenchResult(
        schema=SCHEMA,
        id=hashlib.sha256(raw).hexdigest()[:16],
        start_s=start_s,
        machine=_machine(file),
        settings=Settings(
            seconds=float(options.get("max_time") or 0),
            min_runs=int(options.get("min_rounds") or 0),
            openings=1,
            backend="pytest-benchmark",
        ),
        results=tuple(_subject(b, where) for b in file.benchmarks),
        vitals=Vitals(),
        verdict=Verdict(valid=True, reasons=reasons),
        instrument_us=0.0,
        label=str(file.commit_info.get("id") or "")[:12],
    )


def _machine(file: _File) -> Machine:
    info = file.machine_info
    cpu = info.get("cpu") if isinstance(info.get("cpu"), dict) else {}
    assert isinstance(cpu, dict)  # noqa: S101  # mypy doesn't follow the line above
    return Machine(
        board=None,
        cpu=str(cpu.get("brand_raw") or info.get("processor") or "unknown"),
        arch=str(info.get("machine") or "unknown"),
        cores=int(cpu.get("count") or 0),
        memory_bytes=0,
        governor=None,
        kernel=str(info.get("release") or ""),
        python=str(info.get("python_version") or ""),
        libraries={"pytest-benchmark": file.version} if file.version else {},
        load_1m=0.0,
    )


def _subject(benchmark: _Benchmark, where: str) -> SubjectResult:
    stats = benchmark.stats
    if not stats.median > 0:
        raise DataError(f"{where}: {benchmark.fullname} takes {stats.median} s: nothing takes no time")
    times_us = np.array(stats.data or [], dtype=np.float64) * _US
    median_us = stats.median * _US
    latency = Latency(
        n=stats.rounds * stats.iterations,
        rounds=stats.rounds,
        median_us=median_us,
        median_ci_us=median_interval(times_us),
        min_us=stats.min * _US,
        p90_us=float(np.percentile(times_us, 90)) if len(times_us) else stats.max * _US,
        p99_us=float(np.percentile(times_us, 99)) if len(times_us) >= _ENOUGH_FOR_P99 else None,
    )
    scenario = Scenario("single-stream", 1, 1, latency, Throughput(stats.ops), histogram(times_us).pack())
    return SubjectResult(name=benchmark.fullname, sha256="", file_bytes=0, scenarios=(scenario,))


def to_pytest(result: BenchResult) -> bytes:
    """One of our runs as pytest-benchmark's file: a benchmark for each scenario of each subject.

    Its statistics are of the histogram, so within 1 %; a round is a call. The host's name, which it has room for, is
    left empty.

    Raises:
        DataError: a scenario has no histogram.
    """
    machine, settings = result.machine, result.settings
    when = datetime.fromtimestamp(result.start_s, timezone.utc)
    document = {
        "machine_info": {
            "node": "",
            "processor": machine.cpu,
            "machine": machine.arch,
            "python_version": machine.python,
            "python_implementation": "CPython",
            "release": machine.kernel,
            "system": "Linux",
            "cpu": {"brand_raw": machine.cpu, "count": machine.cores, "arch_string_raw": machine.arch},
        },
        "commit_info": {
            "id": result.label or result.id,
            "time": when.isoformat(),
            "author_time": when.isoformat(),
            "dirty": False,
            "project": "edgeloop",
            "branch": "",
        },
        "benchmarks": [
            {
                "group": scenario.kind,
                "name": _name(subject, scenario),
                "fullname": _name(subject, scenario),
                "params": None,
                "param": None,
                "extra_info": {"sha256": subject.sha256, "file_bytes": subject.file_bytes, "run": result.id},
                "options": {
                    "disable_gc": False,
                    "timer": "perf_counter_ns",
                    "min_rounds": settings.min_runs,
                    "max_time": settings.seconds,
                    "min_time": 0.0,
                    "warmup": True,
                },
                "stats": _statistics(subject, scenario),
            }
            for subject in result.results
            for scenario in subject.scenarios
        ],
        "datetime": when.isoformat(),
        "version": "5.1.0",
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _name(subject: SubjectResult, scenario: Scenario) -> str:
    return f"{subject.name}[{scenario.kind}-{scenario.threads}-{scenario.batch}]"


def _statistics(subject: SubjectResult, scenario: Scenario) -> dict[str, Any]:
    counted = unpack_histogram(scenario.histogram)
    if not counted.n:
        raise DataError(f"{subject.name}: its {scenario.kind} scenario has no distribution to write")
    times_us, weights = counted.used()
    times = times_us / _US
    q1, median, q3 = (_quantile_s(counted, q) for q in (0.25, 0.5, 0.75))
    mean = float(np.average(times, weights=weights))
    deviation = float(np.sqrt(np.average((times - mean) ** 2, weights=weights)))
    fences = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = int(weights[np.abs(times - mean) > deviation].sum())
    outside = int(weights[(times < fences[0]) | (times > fences[1])].sum())
    within = times[(times >= fences[0]) & (times <= fences[1])]
    return {
        "min": min(scenario.latency.min_us / _US, float(times[0])),
        "max": float(times[-1]),
        "mean": mean,
        "stddev": deviation,
        "rounds": counted.n,
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outside,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outside}",
        "ld15iqr": float(within[0]),
        "hd15iqr": float(within[-1]),
        "ops": 1 / mean,
        "total": mean * counted.n,
        "iterations": 1,
    }


def _quantile_s(counted: LatencyHistogram, q: float) -> float:
    value = counted.quantile_us(q)
    assert value is not None  # noqa: S101  # there is at least one
    return value / _US
