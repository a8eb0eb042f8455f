"""`Runtime` beside bare loops on LiteRT and on tflite-runtime: the same files, one thread, in turns.

    python benchmarks/suites/interpreters.py [--models FOLDER] [--turns N] [--json]

FOLDER holds the MLPerf Tiny models. tflite-runtime wants numpy 1 and a Python up to 3.11, so it has an environment of
its own (`edgeloop_bench.peers`) and a process, which takes its turns when it is asked; where it can't be had its rows
say why. A turn is 50 ms of `set_tensor`, `invoke`, `get_tensor`; ratios are taken between the turns of a round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from runtime_overhead import SHARED, runtime_of

from edgeloop.latency import Rounds, ratio, summarize
from edgeloop.machine import describe_machine
from edgeloop_bench.peers import PEERS, PeerUnavailableError, clean_environment, peer_python

MODELS = ("ad01_int8", "ad01_float32", "kws_int8")
TURN_NS = 50_000_000

# Runs in either environment: gives the nanoseconds of a turn's calls for each line that comes in.
BARE = """
import sys, time
import numpy as np
try:
    import tflite_runtime as module
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    import ai_edge_litert as module
    from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
rng = np.random.default_rng(0)
shape, index = given["shape"], given["index"]
x = rng.integers(-128, 128, shape).astype(np.int8) if given["dtype"] == np.int8 else rng.normal(size=shape).astype("f4")
set_tensor, invoke, get_tensor = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
clock = time.perf_counter_ns
print(getattr(module, "__version__", ""), flush=True)
for line in sys.stdin:
    times, end = [], clock() + int(line)
    while True:
        start = clock()
        set_tensor(index, x); invoke(); get_tensor(found)
        now = clock()
        times.append(now - start)
        if now > end:
            break
    sys.stdout.write(" ".join(map(str, times[1:] or times)) + "\\n")
    sys.stdout.flush()
"""


class Bare:
    """A bare loop in a process of its own."""

    def __init__(self, python: Path | str, model: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), "-c", BARE, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.version = self._out.readline().strip()

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_: object) -> None:
        self._in.close()
        self._process.wait(timeout=60)

    def __call__(self) -> Any:
        self._in.write(f"{TURN_NS}\n")
        self._in.flush()
        return np.array(self._out.readline().split(), dtype=np.int64)


def ours(model: Path) -> Callable[[], Any]:
    """Turns of `Runtime.run_stored`, in this process."""
    import time

    runtime = runtime_of(model.read_bytes())
    spec, rng = runtime.manifest.inputs[0], np.random.default_rng(0)
    shape = (1, *spec.shape[1:])
    x = rng.normal(size=shape).astype("f4") if spec.scale is None else rng.integers(-128, 128, shape).astype(np.int8)
    clock = time.perf_counter_ns

    def turn() -> Any:
        times, end = [], clock() + TURN_NS
        while True:
            start = clock()
            runtime.run_stored(x)
            now = clock()
            times.append(now - start)
            if runtime.is_half_full:
                runtime.take_seen()
            if now > end:
                return np.array(times[1:] or times, dtype=np.int64)

    return turn


def measure(model: Path, peer: Path | None, turns: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        ways: dict[str, Callable[[], Any]] = {
            "Runtime.run_stored": ours(model),
            "LiteRT, bare": stack.enter_context(Bare(sys.executable, model)),
        }
        if peer:
            bare = stack.enter_context(Bare(peer, model))
            ways[f"tflite-runtime {bare.version}, bare"] = bare
        times: dict[str, Rounds] = {name: [] for name in ways}
        order = list(ways)
        for way in ways.values():
            way()
        for _ in range(turns):
            for name in order:
                times[name].append(ways[name]())
            order.reverse()
    first = times["Runtime.run_stored"]
    return [
        {
            "way": name,
            "latency": msgspec.to_builtins(summarize(its)),
            "ratio_of_ours": msgspec.to_builtins(ratio(first, its)),
        }
        for name, its in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    skipped: dict[str, str] = {}
    peer = None
    try:
        peer = peer_python(PEERS["tflite-runtime"])
    except PeerUnavailableError as error:
        skipped["tflite-runtime"] = str(error)
    machine = msgspec.to_builtins(describe_machine())
    found = {name: measure(args.models / f"{name}.tflite", peer, args.turns) for name in MODELS}
    if args.json:
        print(json.dumps({"machine": machine, "models": found, "skipped": skipped}, indent=2))
        return
    for name, rows in found.items():
        print(name)
        for row in rows:
            times = row["ratio_of_ours"]
            print(f"  {row['way']:34}{row['latency']['median_us']:10.2f} µs   Runtime takes {times['value']:.3f} of it")
    for name, reason in skipped.items():
        print(f"{name}: {reason}")


if __name__ == "__main__":
    main()
