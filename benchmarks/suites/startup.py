"""How long `edgeloop --help` takes, beside a bare Python in the same run.

    python benchmarks/suites/startup.py [PATH/TO/edgeloop]

Give the `edgeloop` of an environment that holds the bare install alone: that is what a device has.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RUNS = 20


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    edgeloop = sys.argv[1] if len(sys.argv) > 1 else shutil.which("edgeloop")
    if edgeloop is None:
        sys.exit("no edgeloop on the path: name one")
    python = str(Path(edgeloop).with_name("python"))
    commands = {"edgeloop --help": [edgeloop, "--help"], "python -c pass": [python, "-c", "pass"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            times[name].append(seconds(command) * 1e3)
    found = {
        name: {"median_ms": round(float(np.median(t)), 1), "min_ms": round(min(t), 1)} for name, t in times.items()
    }
    print(json.dumps({"runs": RUNS, **found}, indent=2))


if __name__ == "__main__":
    main()
