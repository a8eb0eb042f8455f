"""What `Runtime` costs over a hand-written loop on the same interpreter, with its ring on.

    python benchmarks/suites/runtime_overhead.py [--models FOLDER] [--seconds S] [--calls N] [--json]

FOLDER holds the MLPerf Tiny models (`ad01_int8.tflite`, `ad01_float32.tflite`, `kws_int8.tflite`). Each row of the
table names a call, and what it includes; all calls of one model are measured in turns in one run, and each ratio and
each extra is taken within a round, against the row "bare":

- bare: `set_tensor`, `invoke`, `get_tensor`, on stored values that already have their batch axis.
- unwrapped: the same, on the methods inside of the interpreter's Python class.
- run_stored: `Runtime.run_stored` of the same array: check, invoke, copies of input and output into the ring, clock.
- run …: `Runtime.run` of what a sensor gives, encoding included. What was seen is taken off the path: see `take_seen`.
- …, taken: also `take_seen`, whenever the ring is half full, within the timed call.

Then a million calls of `run_stored` (with `take_seen` when half full): how the resident memory grows. Then, in fresh
processes: what importing edgeloop's runtime takes over importing the interpreter, and what memory it takes over it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeloop.artifact import pack_artifact
from edgeloop.backends import InterpreterBackend, open_backend
from edgeloop.latency import Rounds, ratio, sample_rounds, summarize
from edgeloop.machine import describe_machine
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.order import median_interval
from edgeloop.preprocessing import Scale, Step
from edgeloop.quantization import dequantize
from edgeloop.runtime import Runtime

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared"))
MODELS = ("ad01_int8", "ad01_float32", "kws_int8")
FRESH_RUNS = 15

Call = Callable[[], object]


def runtime_of(model: bytes, steps: tuple[Step, ...] = ()) -> Runtime:
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
    )
    return Runtime(pack_artifact(model, manifest))


def calls_of(model: bytes, seed: int) -> dict[str, Call]:
    backend = open_backend(model)
    assert isinstance(backend, InterpreterBackend)
    spec = backend.inputs[0]
    rng, shape = np.random.default_rng(seed), (1, *spec.shape[1:])
    if spec.scale is None:
        real = rng.normal(size=shape).astype(np.float32)
        stored = real
    else:
        stored = rng.integers(-128, 128, shape).astype(np.int8)
        real = dequantize(spec, stored)
    sample = real[0].copy()
    plain = runtime_of(model)
    taken = runtime_of(model)

    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    index_in, index_out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    set_tensor, invoke, get_tensor = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor

    def bare() -> object:
        set_tensor(index_in, stored)
        invoke()
        return get_tensor(index_out)

    def run_taken() -> object:
        prediction = taken.run_stored(stored)
        if taken.is_half_full:
            taken.take_seen()
        return prediction

    calls: dict[str, Call] = {
        "bare": bare,
        "unwrapped": lambda: backend.invoke_one(stored),
        "run_stored": lambda: plain.run_stored(stored),
        "run_stored, taken": run_taken,
        "run float32": lambda: plain.run(sample),
        "run float32, .output": lambda: plain.run(sample).output,
    }
    if spec.scale is not None:
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


FRESH = {
    "interpreter": "import numpy, ai_edge_litert.interpreter",
    "edgeloop": "import numpy, ai_edge_litert.interpreter, edgeloop",
    "runtime": "import numpy, ai_edge_litert.interpreter, edgeloop.runtime",
    "bare loop": """
from ai_edge_litert.interpreter import Interpreter
import numpy as np
i = Interpreter(model_path=PATH, num_threads=1); i.allocate_tensors()
a = i.get_input_details()[0]; x = np.zeros(a["shape"], a["dtype"]); b = i.get_output_details()[0]["index"]
for _ in range(5000):
    i.set_tensor(a["index"], x); i.invoke(); i.get_tensor(b)
""",
    "Runtime loop": """
from edgeloop.runtime import Runtime
import numpy as np
r = Runtime(PATH); a = r.manifest.inputs[0]; x = np.zeros((1, *a.shape[1:]), a.dtype)
for _ in range(5000):
    r.run_stored(x)
r.take_seen()
""",
}
MEASURED = """
import time, os
start = time.perf_counter()
{code}
taken = time.perf_counter() - start
pages = int(open("/proc/self/statm").read().split()[1])
print(taken * 1e3, pages * os.sysconf("SC_PAGE_SIZE"))
"""


def fresh(artifact: Path, model: Path) -> dict[str, dict[str, float]]:
    """By name: the median milliseconds and resident bytes of processes that run the code of `FRESH`, in turns."""
    found: dict[str, list[list[float]]] = {name: [] for name in FRESH}
    for _ in range(FRESH_RUNS):
        for name, code in FRESH.items():
            path = artifact if name == "Runtime loop" else model
            program = MEASURED.format(code=code.replace("PATH", repr(str(path))))
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            found[name].append([float(word) for word in done.stdout.split()])
    return {
        name: {"median_ms": float(ms), "median_bytes": float(size)}
        for name, (ms, size) in ((name, np.median(runs, axis=0)) for name, runs in found.items())
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
    growth = memory_growth(model.read_bytes(), args.calls)
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "bench.tflite"
        artifact.write_bytes(runtime_of(model.read_bytes()).artifact.to_bytes())
        processes = fresh(artifact, model)
    if args.json:
        machine = msgspec.to_builtins(describe_machine())
        print(json.dumps({"machine": machine, "models": found, "growth": growth, "processes": processes}, indent=2))
        return
    show(found)
    print(
        f"\n{growth['calls']:,} calls: resident memory {growth['growth_bytes'] / 1e6:+.2f} MB, "
        f"at most {growth['most_bytes'] / 1e6:+.2f} MB"
    )
    ms = {name: each["median_ms"] for name, each in processes.items()}
    size = {name: each["median_bytes"] / 1e6 for name, each in processes.items()}
    print(
        f"import edgeloop: {ms['edgeloop'] - ms['interpreter']:+.1f} ms, edgeloop.runtime: "
        f"{ms['runtime'] - ms['interpreter']:+.1f} ms, over {ms['interpreter']:.1f} ms of numpy and the interpreter"
    )
    print(
        f"memory of a process in a loop: {size['Runtime loop'] - size['bare loop']:+.1f} MB over "
        f"{size['bare loop']:.1f} MB"
    )


if __name__ == "__main__":
    main()
