"""What edgeloop adds to a process and to a disk, over numpy and LiteRT alone.

    python benchmarks/suites/footprint.py [--models FOLDER] [--runs N] [--json]

In fresh processes, in turns: the processor time to import, and the resident memory of a process that has run 5,000
calls: the bare loop; a `Runtime`; a `Runtime` that is observed, with a baseline of all features, a profile and a
sampler. Of a small classifier of 10 features, and of `ad01_int8.tflite`, which has 640. On disk: the installed files of
edgeloop and of what it requires, beside those of numpy and LiteRT.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from runtime_overhead import REPO, SHARED, runtime_of
from throughput import classifier

from edgeloop.artifact import write_artifact
from edgeloop.baseline import fit_baseline

MODEL = "ad01_int8"
BASE = ("numpy", "ai-edge-litert")
OURS = ("msgspec", "paho-mqtt", "cryptography", "cffi", "pycparser")

LOOP = """
for _ in range(5000):
    r.run_stored(x)
"""
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
    if r.is_half_full:
        r.take_seen()
""",
    "observed loop": """
import msgspec
import numpy as np
from edgeloop.config import AgentConfig
from edgeloop.observer import Observer
from edgeloop.runtime import Runtime
from edgeloop.stats import StatsCollector
r = Runtime(PATH); a = r.manifest.inputs[0]; x = np.zeros((1, *a.shape[1:]), a.dtype)
source = {"kind": "arrays", "path": "x.npy"}
fields = {"device": "bench", "directory": "", "broker": "mqtt://h", "trusted_keys": ["k"], "source": source}
observer = Observer(msgspec.convert(fields, AgentConfig), r.manifest, np.random.default_rng(0))
collector = StatsCollector("bench", 1, monotonic_s=0)
for n in range(5000):
    r.run_stored(x)
    if r.is_half_full:
        seen = r.take_seen()
        collector.observe(seen)
        observer.observe(seen, now_s=n, monotonic_s=n)
""",
}
MEASURED = """
import time, os
start = time.process_time()
{code}
taken = time.process_time() - start
pages = int(open("/proc/self/statm").read().split()[1])
print(taken * 1e3, pages * os.sysconf("SC_PAGE_SIZE"))
"""


def fresh(artifact: Path, model: Path, runs: int) -> dict[str, dict[str, float]]:
    """By name: the median milliseconds and resident bytes of processes that run the code of `FRESH`, in turns."""
    found: dict[str, list[list[float]]] = {name: [] for name in FRESH}
    for _ in range(runs):
        for name, code in FRESH.items():
            path = model if name == "bare loop" else artifact
            program = MEASURED.format(code=code.replace("PATH", repr(str(path))))
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            found[name].append([float(word) for word in done.stdout.split()])
    return {
        name: {"median_ms": float(ms), "median_bytes": float(size)}
        for name, (ms, size) in ((name, np.median(runs, axis=0)) for name, runs in found.items())
    }


def installed_bytes(name: str) -> int | None:
    """Of a distribution's files; None where it isn't installed."""
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in found.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file())


def disk() -> dict[str, int | None]:
    """By distribution; edgeloop is this tree's SDK and what else the wheel brings, without caches."""
    tree = [REPO / root for root in ("sdk", "converters", "firmware_bridge", "benchmarks/edgeloop_bench", "fleet")]
    files = [path for root in tree for path in root.rglob("*.py")]
    return {name: installed_bytes(name) for name in (*BASE, *OURS)} | {
        "edgeloop": sum(path.stat().st_size for path in files)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    models = {"10 features": classifier((10,)), "640 features": (args.models / f"{MODEL}.tflite").read_bytes()}
    processes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            path, plain = Path(folder) / "artifact.tflite", Path(folder) / "model.tflite"
            features = np.random.default_rng(0).normal(size=(500, int(name.split()[0]))).astype(np.float32)
            baseline = fit_baseline(features, None, summary="columns", bins=20)
            write_artifact(path, runtime_of(model, baseline=baseline).artifact)
            plain.write_bytes(model)
            processes[name] = fresh(path, plain, args.runs)
    found: dict[str, Any] = {"runs": args.runs, "processes": processes, "disk_bytes": disk()}
    if args.json:
        sys.stdout.write(json.dumps(found, indent=2) + os.linesep)
        return
    for title, its in processes.items():
        ms = {name: each["median_ms"] for name, each in its.items()}
        mb = {name: each["median_bytes"] / 1e6 for name, each in its.items()}
        print(title)
        print(
            f"  import edgeloop          {ms['edgeloop'] - ms['interpreter']:+7.1f} ms over {ms['interpreter']:.1f} ms"
        )
        print(f"  import edgeloop.runtime  {ms['runtime'] - ms['interpreter']:+7.1f} ms")
        print(
            f"  memory, Runtime          {mb['Runtime loop'] - mb['bare loop']:+7.1f} MB over {mb['bare loop']:.1f} MB"
        )
        print(f"  memory, observed         {mb['observed loop'] - mb['bare loop']:+7.1f} MB")
    sizes = {name: None if size is None else size / 1e6 for name, size in found["disk_bytes"].items()}
    ours = sum(size for name, size in sizes.items() if name not in BASE and size is not None)
    listed = ", ".join(f"{name} {'not installed' if size is None else f'{size:.1f}'}" for name, size in sizes.items())
    print(f"disk                     {ours:+7.1f} MB: {listed}")


if __name__ == "__main__":
    main()
