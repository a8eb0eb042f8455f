"""What observing takes of a processor, and what it leaves for the model: with its cap and without, in turns.

    python benchmarks/suites/observing.py [--models FOLDER] [--seconds S] [--rounds N] [--json]

`ad01_int8.tflite` (640 features, a baseline of all of them) answers as fast as it can on one thread, which also
observes, as an agent does: at `observe_cpu_percent` 100, which looks at all where it can, and at 10, the default.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from runtime_overhead import SHARED, runtime_of

from edgeloop.baseline import fit_baseline
from edgeloop.config import AgentConfig
from edgeloop.machine import describe_machine
from edgeloop.observer import Observer
from edgeloop.runtime import Runtime

MODEL = "ad01_int8"
LOOK_S = 0.5  # as the agent's


def turn(runtime: Runtime, percent: float, seconds: float) -> dict[str, float]:
    """Run for so long; how many a second were answered, what part was profiled, what share observing took."""
    spec = runtime.manifest.inputs[0]
    rows = np.random.default_rng(0).integers(-128, 128, (64, 1, *spec.shape[1:])).astype(spec.dtype)
    fields = {"device": "bench", "directory": "", "broker": "mqtt://h", "trusted_keys": ["k"]}
    source = {"kind": "arrays", "path": "x.npy"}
    config = msgspec.convert({**fields, "source": source, "observe_cpu_percent": percent}, AgentConfig)
    observer = Observer(config, runtime.manifest, np.random.default_rng(0))
    start_s = now_s = time.monotonic()
    next_s, runs = start_s + LOOK_S, 0
    while now_s - start_s < seconds:
        for row in rows:
            runtime.run_stored(row)
        runs += len(rows)
        now_s = time.monotonic()
        if runtime.is_half_full or now_s >= next_s:
            observer.observe(runtime.take_seen(), now_s=now_s, monotonic_s=now_s)
            next_s = now_s + LOOK_S
    stats, taken_s = observer.stats(), time.monotonic() - start_s
    seen = stats.profiled + stats.left_out
    return {
        "runs_per_s": runs / taken_s,
        "profiled": stats.profiled / seen,
        "share": stats.cpu_s / taken_s,
        "profiled_us": stats.cpu_s / stats.profiled * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    features = np.random.default_rng(0).normal(size=(500, 640)).astype(np.float32)
    baseline = fit_baseline(features, None, summary="columns", bins=20)
    runtime = runtime_of((args.models / f"{MODEL}.tflite").read_bytes(), baseline=baseline)
    found: dict[str, list[dict[str, float]]] = {"100 %": [], "10 %": []}
    for _ in range(args.rounds):
        for name, turns in found.items():
            turns.append(turn(runtime, float(name.split()[0]), args.seconds))
    medians: dict[str, Any] = {
        name: {key: float(np.median([each[key] for each in turns])) for key in turns[0]}
        for name, turns in found.items()
    }
    if args.json:
        print(json.dumps({"machine": msgspec.to_builtins(describe_machine()), "model": MODEL, **medians}))
        return
    for name, its in medians.items():
        print(
            f"{name:>6}  {its['runs_per_s']:9,.0f} inferences/s   {its['profiled']:6.1%} profiled at "
            f"{its['profiled_us']:.0f} µs each   observing took {its['share']:.1%} of a processor"
        )


if __name__ == "__main__":
    main()
