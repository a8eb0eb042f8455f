"""What `Runtime` costs over a hand-written loop on the same interpreter, with everything switched on.

    python benchmarks/suites/runtime_overhead.py [--models FOLDER] [--seconds S] [--calls N] [--json]

FOLDER holds the MLPerf Tiny models (`ad01_int8.tflite`, `ad01_float32.tflite`, `kws_int8.tflite`). Each row of the
table names a call, and what it includes; all calls of one model are measured in turns in one run, and each ratio and
each extra is taken within a round, against the row "bare":

- bare: `set_tensor`, `invoke`, `get_tensor`, on stored values that already have their batch axis.
- bare, quantized: the same from float32 values, which numpy quantizes as LiteRT's documentation does. What `run
  float32` does too, so that is the row to hold it against.
- in place: bare, but written to and read from the interpreter's own memory, as `Runtime` does it.
- run_stored: `Runtime.run_stored` of the same array: check, invoke, copies of input and output into the ring, clock.
- run …: `Runtime.run` of what a sensor gives, encoding included.
- …, taken: also `take_seen`, whenever the ring is half full, within the timed call.

Then, for loops in turns, with a baseline, statistics, profile and sampler as the agent has them: what a call takes
while what was seen is observed twice a second, between calls as the agent does it or on a thread of its own; and the
processor time of it all, by call. Then a million calls of `run_stored`: how the resident memory grows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeloop.artifact import pack_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.config import AgentConfig
from edgeloop.latency import Rounds, ratio, sample_rounds, summarize
from edgeloop.machine import describe_machine
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.observer import Observer
from edgeloop.order import median_interval
from edgeloop.preprocessing import Scale, Step
from edgeloop.quantization import dequantize
from edgeloop.runtime import Runtime
from edgeloop.stats import StatsCollector

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared"))
MODELS = ("ad01_int8", "ad01_float32", "kws_int8")
OBSERVE_S = 0.5  # as the agent does

Call = Callable[[], object]


def bare_call(model: bytes, x: Any, scale: float | None = None, zero_point: int = 0) -> Call:
    """The hand-written call on `x`: as it is stored, or where a scale is given real values, quantized at each call."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    index_in, index_out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    set_tensor, invoke, get_tensor = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor

    def bare() -> object:
        set_tensor(index_in, x)
        invoke()
        return get_tensor(index_out)

    def bare_quantized() -> object:
        set_tensor(index_in, np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8))
        invoke()
        return get_tensor(index_out)

    return bare if scale is None else bare_quantized


def runtime_of(model: bytes, steps: tuple[Step, ...] = (), baseline: Baseline | None = None) -> Runtime:
    backend = open_backend(model)
    manifest = Manifest(
        name="bench",
        version=1,
        created=utc_now(),
        model=ModelFile(hashlib.sha256(model).hexdigest(), len(model)),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="regression",
        preprocessing=steps,
        baseline=baseline,
    )
    return Runtime(pack_artifact(model, manifest))


def calls_of(model: bytes, seed: int) -> dict[str, Call]:
    backend = open_backend(model)
    spec = backend.inputs[0]
    rng, shape = np.random.default_rng(seed), (1, *spec.shape[1:])
    if spec.scale is None:
        real = rng.normal(size=shape).astype(np.float32)
        stored = real
    else:
        stored = rng.integers(-128, 128, shape).astype(np.int8)
        real = dequantize(spec, stored)
    sample = real[0].copy()
    # Each has a runtime of its own: a program makes one kind of call, and its ring's rows are all of one size.
    on_stored, taken, on_real, read = (runtime_of(model) for _ in range(4))

    as_bytes, target = stored.tobytes(), backend.memory.reshape(-1).view(np.uint8).data
    invoke_memory, read_memory = backend.invoke_memory, backend.read

    def in_place() -> object:
        target[:] = as_bytes
        invoke_memory()
        return read_memory()

    def run_taken() -> object:
        prediction = taken.run_stored(stored)
        if taken.is_half_full:
            taken.take_seen()
        return prediction

    calls: dict[str, Call] = {
        "bare": bare_call(model, stored),
        "in place": in_place,
        "run_stored": lambda: on_stored.run_stored(stored),
        "run_stored, taken": run_taken,
        "run float32": lambda: on_real.run(sample),
        "run float32, .output": lambda: read.run(sample).output,
    }
    if spec.scale is not None:
        calls["bare, quantized"] = bare_call(model, real, spec.scale, spec.zero_point or 0)
        as_stored = runtime_of(model, (Scale(spec.scale, -spec.scale * (spec.zero_point or 0)),))
        half = runtime_of(model, (Scale(spec.scale / 2, -spec.scale * (spec.zero_point or 0)),))
        flipped = runtime_of(model, (Scale(spec.scale, -spec.scale * (128 + (spec.zero_point or 0))),))
        int8, uint8 = stored[0].copy(), (stored[0].astype(np.int16) + 128).astype(np.uint8)
        calls |= {
            "run int8, scaled as stored": lambda: as_stored.run(int8),
            "run uint8, scaled as stored": lambda: flipped.run(uint8),
            "run int8, scaled otherwise": lambda: half.run(int8),
        }
    return calls


def rows_of(rounds: dict[str, Rounds]) -> list[dict[str, Any]]:
    bare = rounds["bare"]
    bare_p99 = np.percentile(np.concatenate(bare), 99)
    rows = []
    for name, its in rounds.items():
        latency, against = summarize(its), ratio(its, bare)
        extra_us = [(np.median(a) - np.median(b)) / 1e3 for a, b in zip(its, bare, strict=True)]
        rows.append(
            {
                "call": name,
                "median_us": latency.median_us,
                "median_ci_us": latency.median_ci_us,
                "extra_us": float(np.median(extra_us)),
                "extra_ci_us": median_interval(extra_us),
                "ratio": against.value,
                "ratio_ci": against.ci,
                "p99_us": latency.p99_us,
                "p99_ratio": float(np.percentile(np.concatenate(its), 99) / bare_p99),
                "n": latency.n,
                "rounds": latency.rounds,
            }
        )
    return rows


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_growth(model: bytes, calls: int) -> dict[str, Any]:
    """Of `calls` calls, after as many as fill the ring twice."""
    runtime = runtime_of(model)
    spec = runtime.manifest.inputs[0]
    x = np.zeros((1, *spec.shape[1:]), spec.dtype)

    def run(count: int) -> None:
        for _ in range(count):
            runtime.run_stored(x)
            if runtime.is_half_full:
                runtime.take_seen()

    run(5000)
    start_bytes, start_s = resident_bytes(), time.perf_counter()
    points = [0]
    for _ in range(10):
        run(calls // 10)
        points.append(resident_bytes() - start_bytes)
    return {"calls": calls, "growth_bytes": points[-1], "most_bytes": max(points), "s": time.perf_counter() - start_s}


def observed(model: bytes, seconds: float, seed: int) -> list[dict[str, Any]]:
    """By the way of observing: a call's median and 99th percentile, and the processor time of a call with all of it."""
    rng = np.random.default_rng(seed)
    spec = open_backend(model).inputs[0]
    x = rng.integers(-128, 128, (1, *spec.shape[1:])).astype(np.int8)
    training = dequantize(spec, rng.integers(-128, 128, (500, *spec.shape[1:])).astype(np.int8))
    baseline = fit_baseline(training, None, summary="columns", bins=20)
    ways = {
        "bare": Way(model, None, x),
        "run_stored, nothing taken": Way(model, None, x, runs=True),
        "observed between calls": Way(model, baseline, x, runs=True, observes=True),
        "observed on a thread": Way(model, baseline, x, runs=True, observes=True, threaded=True),
    }
    for _ in range(max(3, round(seconds))):
        for way in ways.values():
            way.turn(1.2)
    return [{"way": name, **way.found()} for name, way in ways.items()]


class Way:
    """One way of observing, and what its calls have taken."""

    def __init__(
        self,
        model: bytes,
        baseline: Baseline | None,
        x: Any,
        *,
        runs: bool = False,
        observes: bool = False,
        threaded: bool = False,
    ) -> None:
        self.observes, self.threaded = observes, threaded
        self.runtime = runtime_of(model, baseline=baseline)
        source = {"kind": "arrays", "path": "x.npy"}
        fields = {"device": "bench", "directory": "", "broker": "mqtt://h", "trusted_keys": ["k"], "source": source}
        config = msgspec.convert(fields, AgentConfig)
        self.observer = Observer(config, self.runtime.manifest, np.random.default_rng(0))
        self.collector = StatsCollector("bench", 1, monotonic_s=time.monotonic())
        self.call = partial(self.runtime.run_stored, x) if runs else bare_call(model, x)
        self.times: list[Any] = []
        self.calls = self.cpu_ns = self.rows = 0

    def observe(self) -> None:
        seen = self.runtime.take_seen()
        self.rows += len(seen)
        self.collector.observe(seen)
        self.observer.observe(seen, now_s=time.time(), monotonic_s=time.monotonic())

    def turn(self, seconds: float) -> None:
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(OBSERVE_S):
                self.observe()

        thread = threading.Thread(target=watch)
        clock, call, times = time.perf_counter_ns, self.call, []
        cpu = time.process_time_ns()
        if self.threaded:
            thread.start()
        end, next_look = clock() + seconds * 1e9, clock() + OBSERVE_S * 1e9
        while (start := clock()) < end:
            call()
            times.append(clock() - start)
            if self.observes and not self.threaded and start > next_look:
                self.observe()
                next_look = clock() + OBSERVE_S * 1e9
        stop.set()
        if self.threaded:
            thread.join()
        self.cpu_ns += time.process_time_ns() - cpu
        self.calls += len(times)
        self.times.append(np.array(times))

    def found(self) -> dict[str, Any]:
        return {
            "median_us": float(np.median([np.median(t) for t in self.times])) / 1e3,
            "p99_us": float(np.percentile(np.concatenate(self.times), 99)) / 1e3,
            "cpu_us": self.cpu_ns / self.calls / 1e3,
            "calls": self.calls,
            "observed": self.rows,
        }


def show(models: dict[str, list[dict[str, Any]]]) -> None:
    for name, rows in models.items():
        heads = (
            f"{'median µs (95 % CI)':>24}{'extra µs (95 % CI)':>25}{'ratio (95 % CI)':>22}{'p99 µs':>15}{'p99 ×':>7}"
        )
        print(f"\n{name:30}{heads}")
        for r in rows:
            median, extra, times = r["median_ci_us"], r["extra_ci_us"], r["ratio_ci"]
            print(
                f"  {r['call']:28}{r['median_us']:9.2f} ({median[0]:.2f}–{median[1]:.2f})".ljust(58)
                + f"{r['extra_us']:+7.2f} ({extra[0]:+.2f} – {extra[1]:+.2f})".ljust(27)
                + f"{r['ratio']:7.3f} ({times[0]:.3f}–{times[1]:.3f})".ljust(24)
                + f"{r['p99_us']:8.2f}{r['p99_ratio']:7.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each call of each model")
    parser.add_argument("--calls", type=int, default=1_000_000, help="for the growth of memory")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for name in MODELS:
        calls = calls_of((args.models / f"{name}.tflite").read_bytes(), seed=0)
        found[name] = rows_of(sample_rounds(calls, min_time_s=args.seconds, min_runs=1000, warmup=200))
    model = args.models / f"{MODELS[0]}.tflite"
    watched = observed(model.read_bytes(), args.seconds, seed=0)
    growth = memory_growth(model.read_bytes(), args.calls)
    if args.json:
        machine = msgspec.to_builtins(describe_machine())
        print(json.dumps({"machine": machine, "models": found, "growth": growth, "observed": watched}, indent=2))
        return
    show(found)
    print(
        f"\n{growth['calls']:,} calls: resident memory {growth['growth_bytes'] / 1e6:+.2f} MB, "
        f"at most {growth['most_bytes'] / 1e6:+.2f} MB"
    )
    heads = f"{'median µs':>12}{'p99 µs':>10}{'processor µs':>14}{'calls':>12}{'observed':>10}"
    print(f"\n{MODELS[0] + ', observed':38}{heads}")
    for w in watched:
        took = f"{w['median_us']:12.2f}{w['p99_us']:10.2f}{w['cpu_us']:14.2f}"
        print(f"  {w['way']:36}{took}{w['calls']:12,}{w['observed']:10,}")


if __name__ == "__main__":
    main()
