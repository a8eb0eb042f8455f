"""What a shadow does to the first model's latency: alone and beside the shadow, in turns of half a second, in one run.

    python benchmarks/suites/shadow.py [--models FOLDER] [--seconds S] [--rate-hz HZ] [--one-core] [--json]

FOLDER holds the MLPerf Tiny models. The first model answers HZ inputs a second, as a sensor gives them; the shadow has
its share of one processor, and more inputs than it can look at. In the first rows nothing holds the shadow back but
that share; in the last one the bound of 5 % on the mean latency does, too (`edgeloop.shadow.Pace`). `--one-core` keeps
the process on one core, as a small board has it. The last pair is a small network beside a heavy one of 80
convolutions.

Ratios are taken between neighbouring turns: of their medians, with a 95 % interval, and of their means.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from runtime_overhead import SHARED, runtime_of
from throughput import classifier

from edgeloop.latency import Rounds, ratio, summarize
from edgeloop.machine import describe_machine
from edgeloop.order import median_interval
from edgeloop.ring import Seen
from edgeloop.runtime import Runtime
from edgeloop.shadow import Shadow

PAIRS = (("ad01_int8", "ad01_float32"), ("kws_int8", "kws_float32"))
HEAVY = ("1 convolution", "80 convolutions")
SETTINGS = ((0.1, 1e9), (0.5, 1e9), (0.5, 0.05))  # share of a processor, most slowdown
TURN_S = 0.5
ENOUGH = 20_000


def turn(first: Runtime, x: list[Any], rate_hz: float) -> Any:
    """Half a second of inputs; what was seen of them."""
    start_s = time.monotonic()
    for i in range(int(TURN_S * rate_hz)):
        time.sleep(max(0.0, start_s + i / rate_hz - time.monotonic()))
        first.run(x[i % len(x)])
    return first.take_seen()


def enough(seen: Seen) -> Seen:
    """So many inputs that the shadow has work for the whole of a turn, whatever its share."""
    times = -(-ENOUGH // len(seen))
    inputs, outputs = np.concatenate([seen.inputs] * times), np.concatenate([seen.outputs] * times)
    return Seen(inputs, outputs, seen.refs * times, np.tile(seen.latency_us, times), 0)


def measure(first: Runtime, second: Callable[[], Runtime], share: float, bound: float, args: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = list(rng.normal(size=(64, *first.manifest.inputs[0].shape[1:])).astype(np.float32))
    shadow: Shadow[None] = Shadow(second(), share=share, max_slowdown=bound, tolerance=0.1, rng=rng)
    alone: Rounds = []
    beside: Rounds = []
    offered = enough(turn(first, x, args.rate_hz))
    cpu_s, worked_s = 0.0, 0.0
    while len(alone) * 2 * TURN_S < args.seconds:
        turns = {}
        for works in (True, False) if len(alone) % 2 else (False, True):
            before = shadow.stats()
            if works:
                shadow.offer(offered, None)
            seen = turn(first, x, args.rate_hz)
            after = shadow.stats()
            turns[works] = (seen.latency_us * 1e3).astype(np.int64)
            if works and after.looked == before.looked:  # it rested
                del turns[works]
            elif works:
                cpu_s, worked_s = cpu_s + after.cpu_s - before.cpu_s, worked_s + TURN_S
        if len(turns) == 2:
            alone.append(turns[False])
            beside.append(turns[True])
    shadow.close()
    means = [float(b.mean() / a.mean()) for a, b in zip(alone, beside, strict=True)]
    return {
        "alone": msgspec.to_builtins(summarize(alone)),
        "beside": msgspec.to_builtins(summarize(beside)),
        "median_ratio": msgspec.to_builtins(ratio(beside, alone)),
        "mean_ratio": {"value": float(np.median(means)), "ci": median_interval(means)},
        "cpu_share": cpu_s / worked_s,
        "share_at_the_end": shadow.stats().share,
        "compared": shadow.stats().looked,
    }


def show(name: str, share: float, bound: float, found: dict[str, Any]) -> None:
    alone, beside, ratios, means = (found[k] for k in ("alone", "beside", "median_ratio", "mean_ratio"))
    setting = f"{share:.0%}" + (f", bound {bound:.0%}" if bound < 1 else "")
    low, high = means["ci"] or (float("nan"),) * 2
    print(
        f"{name:31} {setting:15} p50 {alone['median_us']:7.1f} → {beside['median_us']:7.1f} µs   "
        f"p90 {alone['p90_us']:7.1f} → {beside['p90_us']:7.1f}   p99 {alone['p99_us'] or 0:7.1f} → "
        f"{beside['p99_us'] or 0:7.1f}   median × {ratios['value']:.3f}   mean × {means['value']:.3f} "
        f"[{low:.3f}, {high:.3f}]   took {found['cpu_share']:.1%}, {found['compared']:,} compared"
    )


def model_of(name: str, folder: Path) -> bytes:
    """One of MLPerf Tiny's, or a network of so many convolutions."""
    if name in HEAVY:
        return classifier((49, 10, 1), int(name.split(maxsplit=1)[0]))
    return (folder / f"{name}.tflite").read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    parser.add_argument("--rate-hz", type=float, default=200.0)
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for first, second in (*PAIRS, HEAVY):
        model, other = (model_of(name, args.models) for name in (first, second))
        runtime = runtime_of(model)
        for share, bound in SETTINGS:
            found = measure(runtime, lambda other=other: runtime_of(other), share, bound, args)  # type: ignore[misc]
            rows.append({"first": first, "shadow": second, "share": share, "bound": bound, **found})
            if not args.json:
                show(f"{first} / {second}", share, bound, found)
    if args.json:
        machine = msgspec.to_builtins(describe_machine())
        print(json.dumps({"machine": machine, "rate_hz": args.rate_hz, "one_core": args.one_core, "rows": rows}))


if __name__ == "__main__":
    main()
