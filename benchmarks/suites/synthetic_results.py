"""Results that nobody measured, for pages and tests: plausible ones, drawn at random, and named "synthetic"."""

from __future__ import annotations

import numpy as np

from edgeloop.histogram import histogram
from edgeloop.latency import Latency, Ratio
from edgeloop.machine import Machine
from edgeloop.order import median_interval
from edgeloop_bench.result import (
    SCHEMA,
    Accuracy,
    BenchResult,
    Energy,
    Memory,
    Operator,
    Scenario,
    Settings,
    Stage,
    SubjectResult,
    Throughput,
    Verdict,
    Vitals,
    Warmup,
)

__all__ = ["synthetic_results", "synthetic_run"]

BOARDS = (("Synthetic Board 4", "synthetic core A72", 4, 1.0), ("Synthetic Board 5", "synthetic core A76", 4, 0.45),
          ("Synthetic Zero 2", "synthetic core A53", 4, 2.6), ("Synthetic PC", "synthetic x86", 8, 0.12))  # fmt: skip
MODELS = tuple(
    (f"synthetic-{net}-{recipe}.tflite", net_us * speed, int(size * share), top - drop)
    for net, net_us, size, top in (
        ("keywords", 900.0, 210_000, 0.951), ("digits", 130.0, 48_000, 0.987), ("anomaly", 95.0, 1_070_000, 0.912),
        ("person", 9_500.0, 1_280_000, 0.884), ("gesture", 2_300.0, 560_000, 0.934),
    )
    for recipe, speed, share, drop in (
        ("float32", 1.0, 1.0, 0.0), ("float16", 1.01, 0.52, 0.0004), ("int8", 0.42, 0.29, 0.006),
        ("int8-pruned", 0.40, 0.2, 0.014), ("int16", 0.83, 0.31, 0.001), ("int4", 0.61, 0.18, 0.031),
    )
)  # fmt: skip
FIRST_S, RUN_EVERY_S = 1_770_000_000.0, 2_400.0
STEP_AT, STEP = 0.7, 1.09
INVALID_SHARE = 0.01
WHY_INVALID = ("the processor was throttled: under-voltage", "the load before the run was 3.8, on 4 cores",
               "the governor is powersave: set performance")  # fmt: skip


def synthetic_results(count: int, *, seed: int) -> list[BenchResult]:
    """`count` runs of one artifact each over some months; one model on each board gets slower on the way."""
    rng = np.random.default_rng(seed)
    pairs = len(MODELS) * len(BOARDS)
    return [
        synthetic_run(
            rng,
            board=i % len(BOARDS),
            models=((i // len(BOARDS)) % len(MODELS),),
            at=i / count,
            slower=STEP if i > STEP_AT * count and i % pairs < len(BOARDS) else 1.0,
            label=f"commit-{i // pairs:04d}",
        )
        for i in range(count)
    ]


def synthetic_run(
    rng: np.random.Generator,
    *,
    board: int,
    models: tuple[int, ...],
    at: float = 0.0,
    slower: float = 1.0,
    label: str = "",
    is_whole: bool = False,
) -> BenchResult:
    """One run.

    Args:
        rng: draws it.
        board: of `BOARDS`.
        models: of `MODELS`.
        at: when, from 0 to 1.
        slower: times as slow as the model is.
        label: the run's.
        is_whole: with stages, operators, threads and batches, a fixed rate, and energy.
    """
    name, cpu, cores, speed = BOARDS[board]
    invalid = rng.random() < INVALID_SHARE
    reason = (WHY_INVALID[rng.integers(len(WHY_INVALID))],) if invalid else ()
    machine = Machine(
        board=name,
        cpu=cpu,
        arch="x86_64" if "PC" in name else "aarch64",
        cores=cores,
        memory_bytes=4 << 30,
        governor="performance",
        kernel="6.6.31-synthetic" if at < STEP_AT else "6.12.2-synthetic",
        python="3.11.2",
        libraries={"edgeloop": "0.1.0", "ai-edge-litert": "2.1.0" if at < STEP_AT else "2.3.0", "numpy": "2.4.6"},
        load_1m=float(rng.gamma(2, 0.1)),
    )
    subjects = tuple(
        _subject(rng, MODELS[m], speed * slower * (1.15 if invalid else 1), cores, is_first=n == 0, is_whole=is_whole)
        for n, m in enumerate(models)
    )
    clock = 1.5e9 if cores == 4 else 3.4e9
    return BenchResult(
        schema=SCHEMA,
        id=rng.bytes(8).hex(),
        start_s=FIRST_S + at * 10_000 * RUN_EVERY_S,
        machine=machine,
        settings=Settings(threads=(1, 2, 4) if is_whole else (1,), batches=(1, 8) if is_whole else (1,)),
        results=subjects,
        vitals=Vitals((clock, clock), (48.0, 55.0), ("under-voltage",) if invalid else (), machine.load_1m, 0.4),
        verdict=Verdict(valid=not invalid, reasons=reason),
        instrument_us=0.12,
        label=label,
    )


def _subject(
    rng: np.random.Generator,
    model: tuple[str, float, int, float],
    speed: float,
    cores: int,
    *,
    is_first: bool,
    is_whole: bool,
) -> SubjectResult:
    name, us, size, accuracy = model
    us *= speed
    single = _scenario(rng, us)
    scenarios = [single]
    if is_whole:
        for threads in (1, 2, 4):
            for batch in (1, 8):
                gain = min(threads, cores) ** 0.8
                scenarios.append(_scenario(rng, us * batch * 0.93 / gain, "offline", threads, batch))
        scenarios.append(_scenario(rng, us * 1.05, "multi-stream", 1, 1))
    shares = (("CONV_2D", 0.55, 5), ("DEPTHWISE_CONV_2D", 0.25, 4), ("FULLY_CONNECTED", 0.12, 2), ("SOFTMAX", 0.02, 1))
    return SubjectResult(
        name=name,
        sha256=f"{abs(hash_of(name)):064x}",
        file_bytes=size,
        load_us=us * 1.8 + 300,
        first_us=us * 1.6,
        warmup=Warmup(int(rng.integers(5, 60)), us),
        scenarios=tuple(scenarios),
        stages=(
            Stage("preprocessing", _scenario(rng, us * 0.08).latency),
            Stage("invoke", single.latency),
            Stage("postprocessing", _scenario(rng, us * 0.02).latency),
        )
        if is_whole
        else (),
        operators=tuple(
            Operator(kind, f"synthetic/{kind.lower()}_{i}", us * share / n * float(rng.uniform(0.5, 1.5)))
            for kind, share, n in shares
            for i in range(n)
        )
        if is_whole
        else (),
        memory=Memory(31_000_000, size * 3 + 1_000_000, size * 4 + 1_600_000),
        energy=Energy("synthetic meter", "the whole board", us * 3.1, 2.4) if is_whole else None,
        accuracy=Accuracy("accuracy", accuracy, (accuracy - 0.006, accuracy + 0.006), 4_000),
        ratio=None if is_first else Ratio(float(rng.normal(0.5, 0.01)), (0.48, 0.52), 12),
    )


def hash_of(name: str) -> int:
    """The same in every process, as Python's own isn't."""
    return int.from_bytes(name.encode()[-16:], "big")


def _scenario(
    rng: np.random.Generator, us: float, kind: str = "single-stream", threads: int = 1, batch: int = 1
) -> Scenario:
    """A log-normal body, a slow mode and a heavy tail, as real calls have."""
    n = 1200
    calls = us * np.exp(rng.normal(0, 0.012, n) + rng.normal(0, 0.012))
    calls *= np.where(rng.random(n) < 0.06, 1.22, 1.0)
    calls *= np.where(rng.random(n) < 0.01, 1 + rng.pareto(2.0, n), 1.0)
    rounds = np.median(calls.reshape(12, -1), axis=1)
    latency = Latency(
        n=n,
        rounds=12,
        median_us=float(np.median(rounds)),
        median_ci_us=median_interval(rounds),
        min_us=float(calls.min()),
        p90_us=float(np.percentile(calls, 90)),
        p99_us=float(np.percentile(calls, 99)),
    )
    per_s = batch * 1e6 / latency.median_us
    is_rated = kind == "multi-stream"
    return Scenario(
        kind,  # type: ignore[arg-type]  # one of the three
        threads,
        batch,
        latency,
        Throughput(per_s, (per_s * 0.985, per_s * 1.012)),
        histogram(calls).pack(),
        missed=int(rng.integers(0, 30)) if is_rated else None,
        offered_per_s=round(per_s * 0.7, 1) if is_rated else None,
    )
