"""`edgeloop bench` beside `litert-benchmark` (it comes with ai-edge-litert): one model, one thread, CPU, in turns.

    python benchmarks/suites/litert_benchmark.py 2>/dev/null

Their tool times LiteRT's CompiledModel, ours its Interpreter; so a difference may come from the tools or from the two
interfaces. Three ratios, each paired by turn, tell: ours to theirs as they are; our loop around their call to their
tool, which is the tools alone; and our loop around both calls, which is the interfaces alone. The model is small, so
that few calls are interrupted; their tool rounds what it tells to hundredths of a millisecond, a tenth of such a call,
and that rounding alone is taken out of it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.latency import sample_rounds
from edgeloop.order import median_interval
from edgeloop_bench.result import Settings
from edgeloop_bench.subject import Subject, open_subject

sys.path.insert(0, str(Path(__file__).parent))
from gate import convolutions

WITHIN = 0.03


def their_tool_us(model: Path, runs: int) -> float:
    """The median call by `litert-benchmark`'s own code; it opens the model anew."""
    from ai_edge_litert.tools import benchmark_litert_model as tool

    vars(tool)["round"] = lambda value, _: value
    argv, sys.argv = sys.argv, ["litert-benchmark", f"--model={model}", f"--num_runs={runs}", "--warmup_runs=20"]
    try:
        args = tool.parse_args()
    finally:
        sys.argv = argv
    with contextlib.redirect_stdout(io.StringIO()):
        return float(tool.run_benchmark(args)["latency"]["median_ms"]) * 1e3


def in_our_loop(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """The median of each call, in turns."""
    sampled = sample_rounds(calls, min_time_s=0.001, min_runs=runs, warmup=20)
    return {name: float(np.median(np.concatenate(rounds))) / 1e3 for name, rounds in sampled.items()}


def compiled(model: Path) -> Callable[[], object]:
    """The call that `litert-benchmark` times."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import CpuOptions, Options

    options = Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1))
    loaded = CompiledModel.from_file(str(model), options=options)
    key = next(iter(loaded.get_signature_list()))
    names: tuple[list[str], list[str]] = tuple(loaded.get_signature_list()[key][of] for of in ("inputs", "outputs"))
    inputs: dict[str, Any] = {name: loaded.create_input_buffer_by_name(key, name) for name in names[0]}
    outputs: dict[str, Any] = {name: loaded.create_output_buffer_by_name(key, name) for name in names[1]}
    shape = loaded.get_input_tensor_details(key)[names[0][0]]["shape"]
    inputs[names[0][0]].write(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    return lambda: loaded.run_by_name(key, inputs, outputs)


def paired(over: list[float], under: list[float]) -> dict[str, Any]:
    """The median ratio over the turns, and its 95 % interval."""
    pairs = np.array(over) / np.array(under)
    return {"value": float(np.median(pairs)), "ci": median_interval(pairs)}


def say(what: str, ratio: dict[str, Any]) -> None:
    ci, middle = ratio["ci"], ratio["value"]
    if ci is None or (max(abs(end - 1) for end in ci) > WITHIN and min(ci) <= 1 + WITHIN and max(ci) >= 1 - WITHIN):
        said = "can't tell whether within"
    else:
        said = "within" if max(abs(end - 1) for end in ci) <= WITHIN else "NOT within"
    ends = "" if ci is None else f" ({ci[0]:.3f}–{ci[1]:.3f})"
    print(f"  {what}: {middle:.3f}{ends}: {said} {WITHIN:.0%}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=40, help="openings by each (default 40)")
    parser.add_argument("--runs", type=int, default=200, help="calls in each (default 200)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layers", type=int, default=60, help="convolutions of the model, 3 µs each (default 60)")
    args = parser.parse_args(argv)
    seen: dict[str, list[float]] = {"tool": [], "interpreter": [], "compiled": []}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "convolutions.tflite"
        model.write_bytes(raw := convolutions(args.layers, signature=True))
        subject = Subject(model.name, raw, len(raw))
        for turn in range(args.turns):
            if turn % 2:
                seen["tool"].append(their_tool_us(model, args.runs))
            ours = open_subject(subject, Settings(), threads=1, rng=np.random.default_rng(0)).invoke
            for name, took in in_our_loop({"interpreter": ours, "compiled": compiled(model)}, args.runs).items():
                seen[name].append(took)
            if not turn % 2:
                seen["tool"].append(their_tool_us(model, args.runs))
    medians = {name: float(np.median(its)) for name, its in seen.items()}
    ratios = {
        "as_they_are": paired(seen["interpreter"], seen["tool"]),
        "tools": paired(seen["compiled"], seen["tool"]),
        "interfaces": paired(seen["interpreter"], seen["compiled"]),
    }
    if args.json:
        print(json.dumps({"layers": args.layers, "median_us": medians, **ratios}, indent=2))
        return
    print(f"{args.layers} convolutions, {args.turns} turns of {args.runs} calls; median calls: Interpreter.invoke "
          f"{medians['interpreter']:,.0f} µs, CompiledModel.run_by_name {medians['compiled']:,.0f} µs, "
          f"litert-benchmark {medians['tool']:,.0f} µs")  # fmt: skip
    say("as they are: edgeloop's Interpreter.invoke to litert-benchmark", ratios["as_they_are"])
    say("the tools: edgeloop's loop to litert-benchmark, the same call", ratios["tools"])
    say("the interfaces: Interpreter to CompiledModel, the same loop", ratios["interfaces"])


if __name__ == "__main__":
    main()
