"""How fast a table is profiled, and what a window's profile takes on the wire, beside whylogs in the same run.

    python benchmarks/suites/profiling.py [--rows N] [--rounds N] [--no-peer] [--json]

10 features of 20 bins. The two take turns on the same table, each in a process of its own, since whylogs wants an older
numpy and pandas (see `edgeloop_bench.peers`). Where it can't be installed its row says why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.baseline import fit_baseline
from edgeloop.profile import Profiler, pack_counts
from edgeloop_bench.peers import PEERS, PeerUnavailableError, clean_environment, peer_python

FEATURES, BINS = 10, 20

# Reads the table, profiles it once for each line that comes in, and answers with seconds and bytes.
PEER = """
import sys, time
import numpy as np, pandas as pd
import whylogs as why
x = np.load(sys.argv[1])
table = pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
why.log(table.head(1000))
print(why.__version__, flush=True)
for _ in sys.stdin:
    start, cpu = time.perf_counter(), time.process_time()
    view = why.log(table).view()
    print(time.perf_counter() - start, time.process_time() - cpu, len(view.serialize()), flush=True)
"""


class Whylogs:
    """whylogs in its own process, one profile for each call."""

    def __init__(self, python: Path, table: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), "-c", PEER, str(table)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.version = self._out.readline().strip()

    def __call__(self) -> tuple[float, float, int]:
        self._in.write("go\n")
        self._in.flush()
        seconds, cpu, size = self._out.readline().split()
        return float(seconds), float(cpu), int(size)

    def close(self) -> None:
        self._in.close()
        self._process.wait(timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(args.rows, FEATURES)).astype(np.float32)
    training = rng.normal(size=(5000, FEATURES)).astype(np.float32)
    profiler = Profiler(fit_baseline(training, None, summary="columns", bins=BINS))

    def ours() -> tuple[float, float, int]:
        start, cpu = time.perf_counter(), time.process_time()
        packed = pack_counts(profiler.profile(x, None).counts)
        return time.perf_counter() - start, time.process_time() - cpu, len(packed)

    calls: dict[str, Any] = {"edgeloop": ours}
    reason = "left out"
    peer = None
    with tempfile.TemporaryDirectory() as folder:
        if not args.no_peer:
            try:
                python = peer_python(PEERS["whylogs"])
                table = Path(folder) / "table.npy"
                np.save(table, x)
                peer = Whylogs(python, table)
                calls[f"whylogs {peer.version}"] = peer
            except PeerUnavailableError as error:
                reason = str(error)
        times: dict[str, list[tuple[float, float, int]]] = {name: [] for name in calls}
        for _ in range(args.rounds):
            for name, call in calls.items():
                times[name].append(call())
        if peer:
            peer.close()
    rows = {}
    for name, its in times.items():
        seconds, cpu, size = np.median(np.array(its), axis=0)
        rows[name] = {
            "rows_per_s": args.rows / seconds,
            "rows_per_cpu_s": args.rows / cpu,
            "bytes": int(size),
        }
    skipped = {} if peer else {"whylogs": reason}
    if args.json:
        print(
            json.dumps(
                {"rows": args.rows, "features": FEATURES, "bins": BINS, "found": rows, "skipped": skipped}, indent=2
            )
        )
        return
    print(f"{args.rows:,} rows of {FEATURES} features, {BINS} bins; medians of {args.rounds} rounds in turns")
    print(f"{'':20}{'rows/s':>14}{'rows/s of processor':>22}{'bytes':>10}")
    for name, row in rows.items():
        print(f"{name:20}{row['rows_per_s']:14,.0f}{row['rows_per_cpu_s']:22,.0f}{row['bytes']:10,}")
    if peer is None:
        print(f"whylogs: {reason}")


if __name__ == "__main__":
    main()
