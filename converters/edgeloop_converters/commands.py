"""`edgeloop convert`, `edgeloop targets`, `edgeloop runs`."""

from __future__ import annotations

import argparse

from edgeloop.cli import Command, Result

__all__ = ["CONVERT", "RUNS", "TARGETS"]

NEEDS = ("tensorflow", "litert_quantizer")


def configure_convert(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("model", help="the trained model: .keras, .h5, a SavedModel folder, .tflite, .onnx, .pt2")
    add(
        "--data",
        required=True,
        help="training data (.npz, .csv, .parquet, a folder of images; #SPLIT at its end)",
    )
    add("--eval", required=True, dest="evaluation", help="held-out data with labels, likewise")
    add("-o", "--output", required=True, help="the artifact to write")
    add("--name", help="the artifact's name (default: the model file's)")
    add("--version", type=int, default=1, dest="artifact_version", help="its version (default: 1)")
    add("--recipe", help="apply this recipe (a name of `edgeloop recipes`, or a .toml file) instead of searching")
    add("--target", help="what the device is (see `edgeloop targets`)")
    add(
        "--max-drop",
        default="1%",
        help="by how much the metric may get worse: of accuracy and other shares, 1%% is one percentage point; of "
        "errors such as RMSE, 1%% of the original's (default: 1%%)",
    )
    add("--max-size", help="of the artifact's file, its manifest included: 60kB, 64KiB")
    add("--max-latency", help="of one call on this machine, at the median: 2ms, 500us")
    add(
        "--output-name",
        dest="measured_output",
        metavar="NAME",
        help="of a model with several outputs, which is measured",
    )
    add("--metric", help="accuracy (default for classes), rmse (for values), roc_auc, …, or module:function")
    add(
        "--scale",
        type=parse_scale,
        action="append",
        default=[],
        metavar="[INPUT=]FACTOR[,OFFSET]",
        help="preprocessing: multiply the inputs by this (1/255), add what follows a comma; once an input",
    )
    add(
        "--preprocessing",
        metavar="FILE",
        help="more steps, before --scale: a .toml file (docs/reference/preprocessing.md)",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--images", action="store_true", help="profile the inputs as images, not column by column")
    kinds.add_argument("--signals", action="store_true", help="… or as windows of a signal: sound, vibration")
    add("--target-column", help="the column or key of the labels (for tables; default for .npz: y)")
    add("--groups", default="", help="columns or keys to slice the metric by, separated by commas")
    add("--nan", choices=("refuse", "drop"), default="refuse", help="rows with NaN or inf in them (default: refuse)")
    add("--strict", action="store_true", help="fail (exit 1) where the data sets have errors or warnings")
    add("--workers", type=int, default=2, help="trials at a time (default: 2)")
    add(
        "--on-ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="try recipes on a Ray cluster, as many at a time as it has CPUs (extra `cluster`; default: the one that "
        "runs here, or RAY_ADDRESS; `local` starts one)",
    )
    add("--threads", type=int, default=1, help="of the interpreter whose latency is measured (default: 1)")
    add("--time-limit", default="540s", help="of the search (default: 540s)")
    add(
        "--prove-on",
        action="append",
        default=[],
        metavar="PLACE",
        help="the metric must hold there, too: ssh://[USER@]HOST[:PORT][/PATH/TO/edgeloop], "
        "mqtt://BROKER[:PORT]/DEVICE, emulated-arm64[:BOARD] or emulated-armhf; may be given several times",
    )
    add(
        "--report",
        action="append",
        default=[],
        metavar="FILE",
        help="write a page with everything to this .html file, or the same to a .json file; may be given twice",
    )
    add("--c-array", help="also write the model as a C array: NAME.c and NAME.h beside the artifact, NAME being this")
    add("--runs", help="where conversions are recorded (default: $EDGELOOP_RUNS, or ~/.local/state/edgeloop/runs)")
    add("--key", help="sign it with this private key")
    add("--seed", type=int, default=0, help="of everything random (default: 0)")


def run_convert(args: argparse.Namespace) -> Result:
    """Convert, gate, write."""
    from edgeloop_converters.convert_command import convert_from

    return convert_from(args)


def parse_scale(text: str) -> tuple[str | None, float, float]:
    """`1/255`, `0.00392` or `image=1/127.5,-1` as an input's name, a factor and an offset.

    Raises `ValueError`, as argparse wants it.
    """
    name, _, numbers = text.rpartition("=")
    factor, _, offset = numbers.partition(",")
    above, _, below = factor.partition("/")
    return name or None, float(above) / float(below or 1), float(offset or 0)


def configure_targets(_parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run_targets(_args: argparse.Namespace) -> Result:
    """List the targets."""
    from edgeloop_converters.targets import TARGETS as KNOWN

    rows = [
        {
            "name": t.name,
            "what": t.what,
            "memory_bytes": t.memory_bytes,
            "threads": t.threads,
            "schemes": list(t.schemes) if t.schemes is not None else None,
            "ops": sorted(t.ops) if t.ops is not None else None,
            "checked": t.checked,
        }
        for t in KNOWN.values()
    ]
    lines = [f"{'target':13}{'memory':>9}  {'ops':8}what; what is checked"]
    lines += [
        f"{t.name:13}{t.memory_bytes >> 20:>5} MiB  {len(t.ops) if t.ops else 'all':<8}{t.what}; {t.checked}"
        for t in KNOWN.values()
    ]
    return Result(data={"targets": rows}, text="\n".join(lines))


def configure_runs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("run", nargs="*", help="show this run; or compare these two and more (ids, or their ends)")
    parser.add_argument("--runs", help="where they are (default: $EDGELOOP_RUNS, or ~/.local/state/edgeloop/runs)")


def run_runs(args: argparse.Namespace) -> Result:
    """List, show or compare recorded conversions."""
    from edgeloop_converters.runs import list_runs, read_run, runs_folder
    from edgeloop_converters.runs_table import brief, differences, table_of

    folder = runs_folder(args.runs)
    if len(args.run) == 1:
        facts = read_run(folder, args.run[0])
        return Result(data=facts, text=table_of([(args.run[0], facts)]))
    chosen = [(run, read_run(folder, run)) for run in args.run] if args.run else list_runs(folder)
    if not chosen:
        return Result(data={"runs": []}, text=f"no runs in {folder}")
    text = table_of(chosen) + ("\n" + differences(chosen) if args.run else "")
    return Result(data={"runs": [{"id": i, **brief(f)} for i, f in chosen]}, text=text)


CONVERT = Command(
    help="compress a trained model to an artifact that holds its budgets",
    configure=configure_convert,
    run=run_convert,
    extra="convert",
    needs=NEEDS,
)
TARGETS = Command(
    help="list the targets and what is checked for each",
    configure=configure_targets,
    run=run_targets,
    extra="convert",
    needs=NEEDS,
)
RUNS = Command(help="list, show and compare recorded conversions", configure=configure_runs, run=run_runs)
