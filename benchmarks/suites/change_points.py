"""What `edgeloop_bench.change_points` finds, and what it makes of noise.

    python benchmarks/suites/change_points.py [--series N] [--json]

Series with a noise of 2 % (log-normal): with steps, of which the share is told that is found no more than 2 runs from
where it is, and with nothing else found; and without any, of that noise and of one with heavy tails (Student's t of 2
degrees of freedom), of which the share is told in which a change is seen all the same.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from edgeloop_bench.change_points import ALPHA, change_points

NOISE = 0.02
NEAR_RUNS = 2
STEPS: tuple[tuple[int, dict[int, float]], ...] = (
    (20, {10: 1.05}),
    (50, {25: 1.05}),
    (50, {44: 1.1}),
    (50, {20: 1.1, 30: 1 / 1.1}),
    (200, {150: 1.05}),
)
LENGTHS = (11, 12, 19, 28, 50, 100, 200)


def main() -> int:
    """Measure and print; fails where noise is taken for change more often than is said."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--series", type=int, default=1000, metavar="N", help="of each kind")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    found = [
        {
            "runs": n,
            "steps": {str(at): round(step, 3) for at, step in steps.items()},
            "found": _found(n, steps, args.series, rng),
        }
        for n, steps in STEPS
    ]
    alarms = [
        {"runs": n, "normal": _alarms(n, 0, args.series, rng), "heavy_tails": _alarms(n, 2, args.series, rng)}
        for n in LENGTHS
    ]
    if args.json:
        sys.stdout.write(json.dumps({"series": args.series, "found": found, "alarms": alarms}, indent=2) + "\n")
    else:
        for row in found:
            sys.stdout.write(f"{row['runs']:>4} runs, steps {row['steps']}: found {row['found']:.1%}\n")
        for row in alarms:
            sys.stdout.write(
                f"{row['runs']:>4} runs of noise: seen {row['normal']:.1%}, with heavy tails {row['heavy_tails']:.1%}\n"
            )
    # Three deviations of a share of ALPHA above it.
    most = ALPHA + 3 * (ALPHA * (1 - ALPHA) / args.series) ** 0.5
    return 0 if all(max(row["normal"], row["heavy_tails"]) <= most for row in alarms) else 1


def _found(n: int, steps: dict[int, float], series: int, rng: np.random.Generator) -> float:
    hits = 0
    for _ in range(series):
        values = np.exp(rng.normal(0, NOISE, n))
        for at, step in steps.items():
            values[at:] *= step
        told = [change.index for change in change_points(values)]
        hits += len(told) == len(steps) and all(abs(a - b) <= NEAR_RUNS for a, b in zip(told, steps, strict=True))
    return hits / series


def _alarms(n: int, freedom: int, series: int, rng: np.random.Generator) -> float:
    draws = rng.standard_t(freedom, (series, n)) if freedom else rng.normal(0, 1, (series, n))
    return float(np.mean([bool(change_points(np.exp(NOISE * row))) for row in draws]))


if __name__ == "__main__":
    raise SystemExit(main())
