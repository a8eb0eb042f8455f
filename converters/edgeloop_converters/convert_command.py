"""What `edgeloop convert` does with its arguments."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeloop.cli import Result
from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop.files import check_writable, write_all_atomic
from edgeloop.preprocessing import Scale, Step, load_steps
from edgeloop.signing import load_private_key
from edgeloop_converters.attempts import Limits, Tell
from edgeloop_converters.conversion import Converted, default_recipe, try_convert
from edgeloop_converters.data import ImageMode, load_dataset
from edgeloop_converters.elsewhere import line_of as place_line
from edgeloop_converters.facts import facts_of
from edgeloop_converters.micro import MicroRun, run_micro
from edgeloop_converters.models import LoadedModel, load_model
from edgeloop_converters.packaging import Label
from edgeloop_converters.places import open_place
from edgeloop_converters.ports import Steps
from edgeloop_converters.prepare import Prepared, prepare, read_drop
from edgeloop_converters.progress import telling
from edgeloop_converters.proof import find_metric, parse_bytes, parse_us
from edgeloop_converters.report import render
from edgeloop_converters.runs import record_run, runs_folder, track_in_mlflow
from edgeloop_converters.targets import Target, find_target
from edgeloop_converters.tflite import model_to_c, run
from edgeloop_converters.trials import OnRay, cache_folder

__all__ = ["convert_from"]

MICRO_SAMPLES = 20
FEW = 2  # the original and one recipe


def convert_from(args: argparse.Namespace) -> Result:
    """Convert, gate, write; the artifact is written only where every budget holds.

    Raises:
        EdgeloopError, OSError: as the parts do.
    """
    target = find_target(args.target) if args.target else None
    max_size = parse_bytes(args.max_size) if args.max_size else None
    max_latency = parse_us(args.max_latency) if args.max_latency else None
    time_limit_s = parse_us(args.time_limit) / 1e6
    key = load_private_key(args.key) if args.key else None
    places = [open_place(text) for text in args.prove_on]
    is_search = args.recipe is None and (target is not None or max_size is not None or max_latency is not None)
    for path in (args.output, *args.report):
        check_writable(path)  # before the work, not after it
    with contextlib.ExitStack() as stack:
        tell, watch = stack.enter_context(telling(quiet=bool(args.json)))
        limits = None
        if args.on_ray:
            limits = Limits(executor=stack.enter_context(OnRay(args.on_ray)))
        elif is_search:
            limits = Limits(workers=max(1, args.workers))
        prepared = _prepare(args, tell)
        for finding in prepared.findings:
            tell(f"data, {finding.severity}: {finding.message}")
        if args.strict and prepared.findings:
            lines = [f"{f.severity}: {f.message}" for f in prepared.findings]
            found = [{"code": f.code, "severity": f.severity, "message": f.message} for f in prepared.findings]
            return Result(data={"data_findings": found}, text="\n".join(lines), holds=False)
        converted = try_convert(
            prepared,
            Label(
                args.name or Path(args.model).stem,
                args.artifact_version,
                summary="image" if args.images else "signal" if args.signals else "columns",
                key=key,
            ),
            max_drop=read_drop(args.max_drop, prepared.metric),
            max_size_bytes=max_size,
            max_latency_us=max_latency,
            recipe=None if is_search else args.recipe or default_recipe(prepared.model),
            target=target,
            threads=args.threads,
            limits=limits,
            time_limit_s=time_limit_s,
            cache=cache_folder(),
            thorough=bool(args.report),
            places=places,
            tell=tell,
            watch=watch,
        )
        holds = converted.verdict.holds and not any(f.severity == "error" for f in _on_target(converted))
        facts = facts_of(converted) | {"output": args.output if holds else None}
        if target is not None and target.name == "cortex-m":
            facts["micro"] = _micro(prepared, converted, tell)
        written = _write(args, converted, facts, holds=holds)
    return Result(data=facts, text=_text(converted, args.output, written, target, holds=holds), holds=holds)


def _prepare(args: argparse.Namespace, tell: Tell) -> Prepared:
    metric = find_metric(args.metric) if args.metric else None
    values = metric is not None and metric.task == "regression"
    options: dict[str, Any] = {
        "target": args.target_column,
        "groups": tuple(g for g in args.groups.split(",") if g),
        "task": "regression" if values else "classification",
        "nan": args.nan,
    }
    paths = (args.data, args.evaluation)
    early = (
        [] if any(Path(p.partition("#")[0]).is_dir() for p in paths) else [load_dataset(p, **options) for p in paths]
    )
    steps: Steps = load_steps(args.preprocessing) if args.preprocessing else ()
    for name, factor, offset in args.scale:
        steps = with_step(steps, name, Scale(factor, offset))
    model = load_model(args.model)
    for note in model.notes:
        tell(f"model: {note}")
    # A folder of images is read as grey or coloured ones, whichever the model takes; other data before the model is.
    train, evaluation = early or (load_dataset(p, **options, image_mode=_image_mode(model)) for p in paths)
    return prepare(
        model, train, evaluation, preprocessing=steps, metric=args.metric, output=args.measured_output, seed=args.seed
    )


def _image_mode(model: LoadedModel) -> ImageMode:
    return "L" if all(port.shape[-1] == 1 for port in model.inputs) else "RGB"


def with_step(steps: Steps, name: str | None, step: Step) -> Steps:
    """The steps with one more at the end: of the input of this name, or of the only one.

    Raises:
        ConfigError: some steps are for an input by its name, and some for the only one.
    """
    if name is None and not isinstance(steps, Mapping):
        return (*steps, step)
    named = steps if isinstance(steps, Mapping) else None if steps else {}
    if name is None or named is None:
        raise ConfigError(
            "some preprocessing names its input and some doesn't: write --scale NAME=FACTOR for each input"
        )
    return {**named, name: (*named.get(name, ()), step)}


def _on_target(converted: Converted) -> list[Any]:
    """The findings that keep a file from running on its target at all."""
    codes = {"unsupported_ops", "dynamic_shapes", "not_integer", "memory"}
    return [f for f in converted.findings if f.code in codes]


def _micro(prepared: Prepared, converted: Converted, tell: Tell) -> dict[str, Any]:
    if isinstance(prepared.x_eval, dict):
        raise ConfigError("cortex-m: a model of several inputs can't be run in tflite-micro's interpreter here")
    from edgeloop.backends import open_backend
    from edgeloop.quantization import quantize

    model = converted.artifact.model
    x = prepared.x_eval[:MICRO_SAMPLES]
    stored = quantize(open_backend(model).inputs[0], x)
    try:
        found: MicroRun = run_micro(model, stored, run(model, x, kernels="reference", raw=True)[0])
    except MissingExtraError as error:
        tell(f"tflite-micro wasn't asked: {error}")
        return {"missing": str(error)}
    tell(f"tflite-micro runs it in an arena of {found.arena_bytes:,} bytes, {found.max_steps} steps from the reference")
    return {"arena_bytes": found.arena_bytes, "samples": found.samples, "max_steps": found.max_steps}


def _write(args: argparse.Namespace, converted: Converted, facts: dict[str, Any], *, holds: bool) -> list[str]:
    """Write the artifact, the C array, the report, and the record; gives what was written, in words."""
    written, files = [], dict[str | os.PathLike[str], bytes | str]()
    if holds:
        files[args.output] = converted.artifact.to_bytes()
        written.append(f"{args.output}: {converted.artifact.size_bytes:,} bytes with its manifest")
        if args.c_array:
            code = model_to_c(args.c_array, converted.artifact.model)
            base = Path(args.output).parent / args.c_array
            files |= {base.with_suffix(".c"): code.source, base.with_suffix(".h"): code.header}
            written.append(f"{base}.c, {base}.h: the model as a C array")
    for page in args.report:
        is_json = Path(page).suffix == ".json"
        files[page] = json.dumps(facts, indent=1, allow_nan=False) if is_json else render(converted)
        written.append(f"{page}: the report")
    write_all_atomic(files)
    run_id = record_run(runs_folder(args.runs), facts)
    facts["run"] = run_id
    written.append(f"recorded as {run_id}")
    tracked = [Path(f) for f in files if Path(f).suffix not in (".c", ".h")]
    try:
        if track_in_mlflow(facts, tracked):
            written.append("logged to MLflow")
    except (ConfigError, MissingExtraError) as error:  # the artifact stands, and is recorded here
        written.append(f"warning: {error}")
        facts["mlflow_error"] = str(error)
    return written


def _text(converted: Converted, output: str, written: list[str], target: Target | None, *, holds: bool) -> str:
    before, after = converted.before, converted.after
    lines = [
        f"{'':12}{before.metric:>12}{'model bytes':>12}{'latency':>12}",
        f"{'original':12}{before.value:>12.4f}{before.size_bytes:>12,}{before.latency_us:>10.1f}µs",
        f"{'artifact':12}{after.value:>12.4f}{after.size_bytes:>12,}{after.latency_us:>10.1f}µs",
        *(place_line(e) for e in converted.elsewhere),
        f"recipe {converted.recipe.name}"
        + (f", of {converted.trials} trials" if converted.trials > FEW else "")
        + (f" ({converted.reused} from an earlier run)" if converted.reused else ""),
        converted.verdict.text,
    ]
    if len(converted.front) > 1:
        lines.append("no other is better in all (drop, bytes of the whole file, µs):")
        lines += [
            f"  {c.recipe.name:40}{c.comparison.drop:>9.4f}{c.size_bytes:>12,}{c.latency_us or 0:>10.1f}"
            f"  {'holds' if c.verdict.holds else ''}"
            for c in converted.front
        ]
    lines += [f"{f.severity}: {f.message} ({f.cause}); {f.remedy}" for f in converted.findings if f.severity != "info"]
    if not holds:
        missed = [b.name for b in converted.verdict.budgets if not b.holds] or [f.code for f in _on_target(converted)]
        where = f" for {target.name}" if target is not None else ""
        lines.append(
            f"{output} was not written: {', '.join(missed)} can't be met{where}; "
            f"the nearest is {converted.recipe.name}, above"
        )
    return "\n".join([*lines, *written])
