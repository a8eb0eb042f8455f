"""MLPerf Tiny's AD and KWS through the converter, against the published int8 files.

`python benchmarks/suites/converters/tinyml.py`: for each, the size, and the output's error against the published float
file, on the same inputs. Their data sets aren't at hand, so there are two groups of inputs, `sounds` and `filled`: the
features of two kinds of made-up sounds, and five ways to fill the range of the published file's input with numbers. A
file is judged on each kind after calibration on the others of its group: on none that it was calibrated on.

Filled inputs drive the activations out of the ranges of the published file, which was calibrated on real sounds, and so
they flatter us; the row "inside" says for which share of the samples no activation does, and only where that is high is
the comparison fair. Each figure is a mean over seeds, with its standard deviation: of the root of the mean squared
error, and of the largest one. A table goes to standard output, or JSON with `--json`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from printing import give, table
from sounds import FEATURES, SOUNDS

from edgeloop_converters.evaluate import measure_speed
from edgeloop_converters.recipes import Compile, Recipe, RecipeData, apply_recipe
from edgeloop_converters.tflite import describe, run
from edgeloop_converters.tflite.interpreter import invoke, open_interpreter, samples_of, set_sample
from edgeloop_converters.tflite.match import match

REPO = Path(__file__).resolve().parents[3]
LIMITS = {"ad01": 276_976, "kws": 53_936}
CALIBRATION, JUDGED = 200, 100
Generator = np.random.Generator
Shape = tuple[int, ...]


def folder() -> Path:
    path = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared")) / "models"
    if not path.is_dir():
        sys.exit(f"no models at {path}: set EDGELOOP_SHARED")
    return path


def per_sample(rng: Generator, shape: Shape, low: float, high: float) -> Any:
    """One value for each sample, which broadcasts over it."""
    return rng.uniform(low, high, (shape[0], *[1] * (len(shape) - 1)))


def levels(rng: Generator, shape: Shape) -> Any:
    """A level and a spread of its own for each sample."""
    return per_sample(rng, shape, 0.35, 0.65) + per_sample(rng, shape, 0.05, 0.15) * rng.standard_normal(shape)


def uniform(rng: Generator, shape: Shape) -> Any:
    """Each value anywhere in the range."""
    return rng.random(shape)


def smooth(rng: Generator, shape: Shape) -> Any:
    """Neighbours are alike, as in a spectrogram: a random walk, stretched over a part of the range."""
    walk = np.cumsum(rng.standard_normal((shape[0], int(np.prod(shape[1:])))), axis=1)
    walk -= walk.min(axis=1, keepdims=True)
    walk /= walk.max(axis=1, keepdims=True)
    low = per_sample(rng, shape, 0.0, 0.4)
    return low + per_sample(rng, shape, 0.3, 0.6) * walk.reshape(shape)


def bursts(rng: Generator, shape: Shape) -> Any:
    """Quiet, but for three in a hundred values that reach up to the top."""
    quiet = per_sample(rng, shape, 0.2, 0.4) + 0.03 * rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.03, rng.uniform(0.6, 1.0, shape), quiet)


def saturated(rng: Generator, shape: Shape) -> Any:
    """A twentieth of all values at either end of the range."""
    return 0.5 + 0.3 * rng.standard_normal(shape)


FILLED: dict[str, Callable[[Generator, Shape], Any]] = {
    f.__name__: f for f in (levels, uniform, smooth, bursts, saturated)
}


def kinds_of(name: str) -> dict[str, tuple[str, ...]]:
    """Every kind of input that a model is judged on, and the others of its group, for calibration."""
    groups = (tuple(sound.__name__ for sound in SOUNDS[name]), tuple(FILLED))
    return {kind: tuple(k for k in group if k != kind) for group in groups for kind in group}


def inputs(name: str, published: bytes, kinds: tuple[str, ...], count: int, seed: int) -> Any:
    """(count, …) float32, equally many of each kind."""
    facts = describe(published)
    tensor = facts.tensors[facts.inputs[0]]
    low, high = (tensor.scales[0] * (edge - tensor.zero_points[0]) for edge in (-128, 127))
    rng = np.random.default_rng(seed)
    sounds = {sound.__name__: sound for sound in SOUNDS[name]}
    shape = (count // len(kinds), *tensor.shape[1:])
    parts = [
        FEATURES[name](sounds[kind](rng, shape[0]))
        if kind in sounds
        else low + (high - low) * np.clip(FILLED[kind](rng, shape), 0, 1)
        for kind in kinds
    ]
    return np.concatenate(parts).astype(np.float32)


def share_inside(published: bytes, original: bytes, x: Any) -> float:
    """The share of samples that drive no activation out of the published file's ranges by over a tenth of them."""
    real, quantized = describe(original), describe(published)
    ranges = {
        ours: [t.scales[0] * (edge - t.zero_points[0]) for edge in (-128, 127)]
        for theirs, ours in match(real, quantized).tensors.items()
        for t in [quantized.tensors[theirs]]
        if t.scales
    }
    interpreter = open_interpreter(original, preserve=True)
    arrays = samples_of(interpreter, x)
    inside = 0
    for sample in range(len(x)):
        set_sample(interpreter, arrays, sample)
        invoke(interpreter)
        inside += all(
            low - (high - low) / 10 <= values.min() and values.max() <= high + (high - low) / 10
            for tensor, (low, high) in ranges.items()
            for values in [interpreter.get_tensor(tensor)]
        )
    return inside / len(x)


def errors(model: bytes, x: Any, wanted: Any) -> tuple[float, float]:
    off = run(model, x)[0].astype(np.float64) - wanted
    return float(np.sqrt(np.mean(np.square(off)))), float(np.abs(off).max())


def candidates(name: str) -> dict[str, Recipe]:
    """The converter's axes, one by one: equalization (which KWS has no pair for), ranges, rounding.

    AD's dense layers have one scale each: with one for each channel its file has 294,816 bytes, over the limit.
    """
    scales = "tensor" if name == "ad01" else "channel"
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "equalized": {"equalize": True},
        "least-error ranges": {"ranges": "least_error"},
        "compensated": {"rounding": "compensated"},
        "compensated, least-error ranges": {"rounding": "compensated", "ranges": "least_error"},
    }
    if name == "kws":
        del options["equalized"]
    return {
        title: Recipe(title, (Compile(scheme="int8", tool="litert-quantizer", dense_scales=scales, **its),))
        for title, its in options.items()
    }


def compare(name: str, seeds: int) -> dict[str, Any]:
    published = (folder() / f"{name}_int8.tflite").read_bytes()
    original = (folder() / f"{name}_float32.tflite").read_bytes()
    recipes = candidates(name)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    files: dict[str, bytes] = {}
    kinds = kinds_of(name)
    inside: dict[str, float] = {}
    for seed, kind in itertools.product(range(seeds), kinds):
        x = inputs(name, published, (kind,), JUDGED, 2 * seed)
        inside[kind] = inside.get(kind, 0.0) + share_inside(published, original, x) / seeds
        wanted = run(original, x)[0].astype(np.float64)
        others = inputs(name, published, kinds[kind], CALIBRATION, 2 * seed + 1)
        made = {"published": published}
        for title, recipe in recipes.items():
            made[title] = apply_recipe(recipe, original, RecipeData(others, others), seed=seed).model
        for title, model in made.items():
            found.setdefault((title, kind), []).append(errors(model, x, wanted))
        files = made
    own, speeds = measure_speed(original, files, x[:1], min_time_s=0.5)
    rows = []
    for title, model in files.items():
        row: dict[str, Any] = {
            "recipe": title,
            "bytes": len(model),
            "fits": len(model) <= LIMITS[name],
            "by_inputs": {},
        }
        for kind in kinds:
            ours, theirs = np.array(found[title, kind]), np.array(found["published", kind])
            row["by_inputs"][kind] = {
                what: {
                    "mean": float(ours[:, i].mean()),
                    "sd": float(ours[:, i].std(ddof=1)) if seeds > 1 else None,
                    "no_worse_than_published": int((ours[:, i] <= theirs[:, i]).sum()),
                }
                for i, what in enumerate(("rmse", "max"))
            }
        row["of_float_latency"] = speeds[title].of_original
        worst = [d[what]["no_worse_than_published"] for d in row["by_inputs"].values() for what in ("rmse", "max")]
        row["no_worse"] = f"{sum(worst)} of {seeds * len(worst)}"
        row["holds"] = row["fits"] and min(worst) == seeds
        rows.append(row)
    return {
        "limit_bytes": LIMITS[name],
        "seeds": seeds,
        "float_latency_us": own.median_us,
        "inside": inside,
        "rows": rows,
    }


def lines(name: str, found: dict[str, Any]) -> str:
    head = ["recipe", "bytes", "latency/float", *(f"{k}: RMSE, max" for k in found["inside"]), "no worse"]
    body = [["inside", "", "", *(f"{share:.0%}" for share in found["inside"].values()), ""]]
    for row in found["rows"]:
        latency = row["of_float_latency"]
        cells = [row["recipe"], f"{row['bytes']:,}{'' if row['fits'] else ' (too large)'}"]
        cells.append(f"{latency.value:.2f} [{latency.ci[0]:.2f}, {latency.ci[1]:.2f}]" if latency.ci else "")
        cells += [
            ", ".join(f"{by[w]['mean']:.3g}±{by[w]['sd'] or 0:.1g}" for w in ("rmse", "max"))
            for by in row["by_inputs"].values()
        ]
        body.append([*cells, row["no_worse"] if row["recipe"] != "published" else ""])
    held = [row["recipe"] for row in found["rows"] if row["holds"] and row["recipe"] != "published"]
    verdict = f"{name}: " + (
        f"no larger, and no worse in RMSE and in the largest error on all inputs and seeds: {'; '.join(held)}"
        if held
        else "no recipe is no larger and no worse everywhere: see the column"
    )
    return f"{name}, {found['seeds']} seeds, limit {found['limit_bytes']:,} bytes\n{table(head, body)}\n{verdict}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--json", action="store_true", help="JSON instead of tables")
    args = parser.parse_args()
    found = {name: compare(name, args.seeds) for name in LIMITS}
    give(found, "\n".join(lines(name, facts) for name, facts in found.items()), as_json=args.json)


if __name__ == "__main__":
    main()
