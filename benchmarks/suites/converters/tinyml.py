"""MLPerf Tiny's AD and KWS through the converter, against the published int8 files.

`python benchmarks/suites/converters/tinyml.py`: for each, the size, and the output's error against the published float
file, on the same inputs. The inputs are drawn over the range that the published int8 file was calibrated for, since
the data sets aren't at hand; calibration takes others of the same kind, which the published files' calibration didn't
have. The axes of the search are the ranges, the scales of dense layers, and equalization. The table goes to standard
error, JSON to standard output.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.errors import EdgeloopError
from edgeloop_converters.evaluate import measure_speed
from edgeloop_converters.recipes import Compile, Recipe, RecipeData, apply_recipe
from edgeloop_converters.tflite import describe, run

REPO = Path(__file__).resolve().parents[3]
MODELS = {"ad01": 276_976, "kws": 53_936}
CALIBRATION, JUDGED = 200, 500


def folder() -> Path:
    path = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared")) / "models"
    if not path.is_dir():
        sys.exit(f"no models at {path}: set EDGELOOP_SHARED")
    return path


def inputs(published: bytes, count: int, seed: int) -> Any:
    """Samples with a level and a spread of their own, within the range of the published file's input."""
    facts = describe(published)
    tensor = facts.tensors[facts.inputs[0]]
    low, high = (tensor.scales[0] * (edge - tensor.zero_points[0]) for edge in (-128, 127))
    rng = np.random.default_rng(seed)
    shape = (count, *tensor.shape[1:])
    level = rng.uniform(0.35, 0.65, (count, *[1] * (len(shape) - 1)))
    spread = rng.uniform(0.05, 0.15, level.shape)
    unit = np.clip(level + spread * rng.standard_normal(shape), 0, 1)
    return (low + (high - low) * unit).astype(np.float32)


def error_of(model: bytes, x: Any, wanted: Any) -> float:
    return float(np.sqrt(np.mean(np.square(run(model, x)[0].astype(np.float64) - wanted))))


def compare(name: str) -> dict[str, Any]:
    published = (folder() / f"{name}_int8.tflite").read_bytes()
    original = (folder() / f"{name}_float32.tflite").read_bytes()
    x, calibration = inputs(published, JUDGED, 0), inputs(published, CALIBRATION, 1)
    wanted = run(original, x)[0]
    theirs = {"recipe": "published", "bytes": len(published), "rmse": error_of(published, x, wanted)}
    rows, made = [theirs], {"published": published}
    for ranges, scales, equalize in itertools.product(("min_max", "least_error"), ("channel", "tensor"), (False, True)):
        step = Compile(scheme="int8", tool="litert-quantizer", ranges=ranges, dense_scales=scales, equalize=equalize)
        title = f"{ranges}, {scales}{', equalize' * equalize}"
        try:
            model = apply_recipe(Recipe("r", (step,)), original, RecipeData(calibration, calibration), seed=0).model
        except EdgeloopError as refusal:
            rows.append({"recipe": title, "refused": str(refusal)})
            continue
        made[title] = model
        rows.append({"recipe": title, "bytes": len(model), "rmse": error_of(model, x, wanted)})
    holding = [r for r in rows[1:] if "rmse" in r and r["bytes"] <= MODELS[name] and r["rmse"] <= theirs["rmse"]]
    best = min(holding, key=lambda r: r["rmse"], default=None)
    own, speeds = measure_speed(original, made, x)
    for row in rows:
        if row["recipe"] in speeds:
            row["latency_us"] = speeds[row["recipe"]].latency.median_us
            print(
                f"{name:6}{row['recipe']:34}{row['bytes']:10,}{row['rmse']:12.5f}{row['latency_us']:9.1f} µs",
                file=sys.stderr,
            )
        else:
            print(f"{name:6}{row['recipe']:34} refused: {row['refused'][:120]}", file=sys.stderr)
    return {"limit_bytes": MODELS[name], "original_latency_us": own.median_us, "rows": rows, "best": best}


def main() -> None:
    print(json.dumps({name: compare(name) for name in MODELS}, indent=1))


if __name__ == "__main__":
    main()
