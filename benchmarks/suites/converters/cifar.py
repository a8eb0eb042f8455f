"""A residual CNN on real images, through the converter: `python benchmarks/suites/converters/cifar.py PART`.

PART is one of
  train    the model, on 8,500 images;
  int8     against float32 in one run;
  tune     choose the compact recipe among `CHOICES`, by 1,500 images held out of the training ones;
  compact  the recipe chosen (`COMPACT`), judged on the 2,000 test images, beside float32 and int8;
  search   three budgets, and how long it takes;
  peers    other converters' recipes beside ours, and which of them are on the front.

The test images are used for no choice: `search`, which chooses by what it is judged on, has the validation images, and
what it found is then judged on the test images. A table goes to standard output, or JSON with `--json`; progress to
standard error. The data is a subset of CIFAR-10 (Krizhevsky, 2009), `../shared/data/cifar10.npz`; EDGELOOP_SHARED names
another folder than `../shared`. `peers` needs tensorflow-model-optimization, which gets an environment of its own under
the user's cache, or is taken from the Python that EDGELOOP_TFMOT_PYTHON names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cifar_model import Part, images, train
from cifar_peers import peers
from front import front_table, side_by_side
from printing import give, table

from edgeloop.artifact import read_artifact, write_artifact
from edgeloop.preprocessing import Scale
from edgeloop_converters.attempts import Limits
from edgeloop_converters.conversion import Converted, try_convert
from edgeloop_converters.facts import candidate_facts
from edgeloop_converters.packaging import Label
from edgeloop_converters.prepare import Prepared, prepare
from edgeloop_converters.proof import Drop
from edgeloop_converters.quiet import quiet_tensorflow
from edgeloop_converters.recipes import Compile, Distil, Prune, Recipe
from edgeloop_converters.report import render

TIMES_SMALLER = 6
# ResNet8's prunable groups: the stream of a stage, or what is inside its block; by a layer of each, its channels.
GROUPS = {"conv2d": 16, "conv2d_1": 16, "conv2d_3": 32, "conv2d_4": 32, "conv2d_6": 64, "conv2d_7": 64}


def compact_recipe(*channels: int, epochs: int, label_weight: float = 0.0) -> Recipe:
    """So many channels of each group stay, trained by the original, then int8.

    Multiples of 8: XNNPACK's int8 kernels for x86 compute 8 at once, so that 12 take as long as 16.
    """
    ratio = {name: 1 - kept / GROUPS[name] for name, kept in zip(GROUPS, channels, strict=True) if kept < GROUPS[name]}
    distil = Distil(epochs=epochs, learning_rate=5e-3, augment="flip_shift", label_weight=label_weight)
    labels = f"-labels-{label_weight:g}" * (label_weight > 0)
    name = f"keep-{'-'.join(map(str, channels))}-distil-{epochs}{labels}-int8"
    return Recipe(name, (Prune(ratio=ratio, round_to=8), distil, Compile(scheme="int8")))


CHOICES = (
    compact_recipe(16, 8, 24, 24, 40, 48, epochs=12),
    compact_recipe(8, 8, 24, 24, 48, 48, epochs=12),
    compact_recipe(16, 8, 24, 24, 40, 48, epochs=30, label_weight=0.3),
)
COMPACT = CHOICES[2]


def prepared_from(path: Path, judged_on: Part) -> Prepared:
    import keras

    model = keras.models.load_model(path, compile=False)
    return prepare(model, images("train"), images(judged_on), preprocessing=(Scale(1 / 255),), seed=0)


def tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)


def by_recipe(prepared: Prepared, recipe: Recipe | str) -> Converted:
    return try_convert(
        prepared, Label("resnet8", summary="image"), max_drop=Drop(0.01, relative=False), recipe=recipe, tell=tell
    )


def beside(prepared: Prepared, files: dict[str, bytes]) -> tuple[dict[str, Any], str]:
    """The files, the first of which is float32, side by side."""
    rows = side_by_side(files, list(files)[1:], prepared.x_eval, prepared.y_eval)
    smaller = [f"{name}: {len(files['float32']) / len(model):.2f} times smaller" for name, model in files.items()]
    return {"judged_on": prepared.evaluation.source, "rows": rows}, front_table(rows) + "\n" + "\n".join(smaller[1:])


def int8(prepared: Prepared) -> tuple[dict[str, Any], str]:
    files = {"float32": by_recipe(prepared, "float32").artifact.model}
    for name in ("int8", "int8-litert", "dynamic-int8"):
        files[name] = by_recipe(prepared, name).artifact.model
    return beside(prepared, files)


def tune(prepared: Prepared, artifact: Path | None) -> tuple[dict[str, Any], str]:
    """Of the choices that are small enough, the one with the best validation accuracy."""
    rows, best = [], None
    for recipe in CHOICES:
        made = by_recipe(prepared, recipe)
        smaller = made.before.size_bytes / made.after.size_bytes
        rows.append({"recipe": recipe.name, "accuracy": made.after.value, "lost": made.drop, "times_smaller": smaller})
        if smaller >= TIMES_SMALLER and (best is None or made.after.value > best.after.value):
            best = made
    if best is not None and artifact is not None:
        write_artifact(artifact, best.artifact)
    chosen = best.recipe.name if best is not None else None
    head = ["recipe", "validation accuracy", "points lost", "times smaller"]
    body = [[r["recipe"], f"{r['accuracy']:.2%}", f"{100 * r['lost']:+.2f}", f"{r['times_smaller']:.2f}"] for r in rows]
    return {"rows": rows, "chosen": chosen}, f"{table(head, body)}\nchosen: {chosen}"


def compact(prepared: Prepared, artifact: Path | None) -> tuple[dict[str, Any], str]:
    """The compact recipe's file (of an earlier run, where there is one), judged on images that chose nothing."""
    if artifact is not None and artifact.exists():
        small = read_artifact(artifact)
    else:
        small = by_recipe(prepared, COMPACT).artifact
        if artifact is not None:
            write_artifact(artifact, small)
    files = {name: by_recipe(prepared, name).artifact.model for name in ("float32", "int8")}
    return beside(prepared, files | {small.manifest.recipe.name: small.model})


def search(prepared: Prepared, judge: Prepared, report: Path | None) -> tuple[dict[str, Any], str]:
    """`--max-drop 1% --max-size 62kB --max-latency 2ms`, on two workers, nothing cached."""
    start = time.monotonic()
    found = try_convert(
        prepared,
        Label("resnet8", summary="image"),
        max_drop=Drop(0.01, relative=False),
        max_size_bytes=62_000,
        max_latency_us=2000.0,
        limits=Limits(workers=2),
        thorough=report is not None,
        tell=tell,
    )
    seconds = time.monotonic() - start
    if report is not None:
        report.write_text(render(found), encoding="utf-8")
    files = {"float32": by_recipe(judge, "float32").artifact.model, found.recipe.name: found.artifact.model}
    facts, judged = beside(judge, files)
    facts |= {
        "seconds": seconds,
        "holds": found.verdict.holds,
        "verdict": found.verdict.text.splitlines(),
        "tried": [{**candidate_facts(c), "recipe": c.recipe.name} for c in found.candidates],
    }
    head = ["tried", "validation accuracy", "bytes"]
    body = [[c.recipe.name, f"{c.measurement.value:.2%}", f"{c.size_bytes:,}"] for c in found.candidates]
    text = f"{table(head, body)}\n{found.verdict.text}\n{seconds:.0f} seconds\n\njudged on the test images:\n{judged}"
    return facts, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "int8", "tune", "compact", "search", "peers"))
    parser.add_argument("--model", type=Path, default=Path(tempfile.gettempdir()) / "resnet8.keras")
    parser.add_argument("--epochs", type=int, default=25, help="of `train` (default: 25)")
    parser.add_argument("--artifact", type=Path, help="`tune` and `compact` write it, `compact` and `peers` judge it")
    parser.add_argument("--report", type=Path, help="of `search`: write its page here")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    args = parser.parse_args()
    quiet_tensorflow()
    if args.part == "train":
        found: dict[str, Any] = train(args.model, args.epochs)
        text = "\n".join(f"{name:22}{value}" for name, value in found.items())
    elif args.part in ("tune", "search"):
        prepared = prepared_from(args.model, "validation")
        found, text = (
            tune(prepared, args.artifact)
            if args.part == "tune"
            else search(prepared, prepared_from(args.model, "test"), args.report)
        )
    else:
        prepared = prepared_from(args.model, "test")
        parts = {
            "int8": lambda: int8(prepared),
            "compact": lambda: compact(prepared, args.artifact),
            "peers": lambda: peers(prepared, args.artifact, lambda recipe: by_recipe(prepared, recipe).artifact.model),
        }
        found, text = parts[args.part]()
    give(found, text, as_json=args.json)


if __name__ == "__main__":
    main()
