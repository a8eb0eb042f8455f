"""Whether `edgeloop bench --against` may gate a build: how often it cries wolf, and how often it sees 5 %.

A is a network of 20 equal convolutions, and B one of 21: 5 % more of the very same work. Every run is a process of its
own, as in CI, on the machine as it is: nothing is quieted down.

    python benchmarks/suites/gate.py [--runs 100] [--seconds 1] [--json]

prints how many of the runs of A against a copy of A say "no difference" and pass `--fail-if-slower 5%`, and how many of
the runs of B against A say "slower" and fail `--fail-if-slower 2%`, each with its 95 % interval (E. B. Wilson,
"Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Z = 1.959964
LAYERS, SIDE, CHANNELS = 20, 8, 16


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    share = found / of
    middle = (share + Z**2 / (2 * of)) / (1 + Z**2 / of)
    half = Z / (1 + Z**2 / of) * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    return middle - half, middle + half


def convolutions(layers: int, *, signature: bool = False) -> bytes:
    """A float32 `.tflite` of so many equal convolutions, one after another; some tools want it to have a signature."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    weights = np.random.default_rng(0).normal(0, 0.05, (CHANNELS, 3, 3, CHANNELS)).astype(np.float32)
    constants = (weights, np.zeros(CHANNELS, np.float32))
    buffers = [schema.BufferT(), *(schema.BufferT(data=np.frombuffer(c.tobytes(), np.uint8)) for c in constants)]

    def tensor(name: str, shape: tuple[int, ...], buffer: int = 0) -> Any:
        return schema.TensorT(name=name, shape=list(shape), type=schema.TensorType.FLOAT32, buffer=buffer)

    tensors = [tensor("weights", weights.shape, 1), tensor("bias", (CHANNELS,), 2)]
    tensors += [tensor(f"x{i}", (1, SIDE, SIDE, CHANNELS)) for i in range(layers + 1)]
    options = schema.Conv2DOptionsT(
        padding=schema.Padding.SAME, strideH=1, strideW=1, fusedActivationFunction=schema.ActivationFunctionType.RELU
    )
    operators = [
        schema.OperatorT(
            opcodeIndex=0,
            inputs=[2 + i, 0, 1],
            outputs=[3 + i],
            builtinOptionsType=schema.BuiltinOptions.Conv2DOptions,
            builtinOptions=options,
        )
        for i in range(layers)
    ]
    conv = schema.BuiltinOperator.CONV_2D
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(deprecatedBuiltinCode=conv, builtinCode=conv, version=1)],
        subgraphs=[schema.SubGraphT(tensors=tensors, inputs=[2], outputs=[2 + layers], operators=operators)],
        buffers=buffers,
    )
    if signature:
        ends = [[schema.TensorMapT(name=n, tensorIndex=i)] for n, i in (("x", 2), ("y", 2 + layers))]
        model.signatureDefs = [
            schema.SignatureDefT(signatureKey="serving_default", subgraphIndex=0, inputs=ends[0], outputs=ends[1])
        ]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def gate(model: Path, against: Path, limit: str, seconds: float) -> tuple[int, dict[str, Any]]:
    """One run in a process of its own: its exit code, and what it found."""
    command = [sys.executable, "-m", "edgeloop", "bench", "--json", "--seconds", str(seconds), str(model)]
    command += ["--against", str(against), "--fail-if-slower", limit]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    if ended.returncode not in (0, 1):
        raise SystemExit(ended.stderr)
    document = json.loads(ended.stdout)
    return ended.returncode, {**document["gates"][0], "vitals": document["vitals"]}


def say(what: str, found: int, of: int) -> None:
    low, high = wilson(found, of)
    print(f"  {what}: {found} of {of} ({low:.1%}–{high:.1%})")


def campaign(
    title: str, model: Path, against: Path, limit: str, wanted: tuple[str, int], runs: int, seconds: float
) -> dict[str, Any]:
    """So many runs of one pair, counted."""
    seen = [gate(model, against, limit, seconds) for _ in range(runs)]
    findings, exits = Counter(g["finding"] for _, g in seen), Counter(code for code, _ in seen)
    ratios = [g["ratio"]["value"] for _, g in seen]
    openings = [g["ratio"]["rounds"] for _, g in seen]
    stolen = [g["vitals"]["stolen_percent"] for _, g in seen if g["vitals"]["stolen_percent"] is not None]
    return {
        "title": title,
        "limit": limit,
        "runs": runs,
        "wanted": list(wanted),
        "found": findings[wanted[0]],
        "exited": exits[wanted[1]],
        "untold": sum(g["outcome"] == "can't tell" for _, g in seen),
        "findings": dict(findings),
        "ratio": [round(float(end), 4) for end in np.percentile(ratios, [5, 50, 95])],
        "openings": dict(sorted(Counter(openings).items())),
        "stolen_percent": round(float(np.median(stolen)), 1) if stolen else None,
    }


def show(pair: dict[str, Any]) -> None:
    """For people."""
    print(f"{pair['title']}, --fail-if-slower {pair['limit']}")
    say(f'says "{pair["wanted"][0]}"', pair["found"], pair["runs"])
    say(f"exits with {pair['wanted'][1]}", pair["exited"], pair["runs"])
    say("can't tell the outcome", pair["untold"], pair["runs"])
    print(f"  all findings: {pair['findings']}")
    low, middle, high = pair["ratio"]
    print(f"  ratio: median {middle:.4f}, 90 % of the runs within {low:.4f} and {high:.4f}")
    print(f"  openings: {pair['openings']}; taken by others: {pair['stolen_percent']} % (median)")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="of each pair (default 100)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of counted calls for each file (default 1)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        a, copy, b = (Path(folder) / name for name in ("a.tflite", "copy.tflite", "b.tflite"))
        a.write_bytes(convolutions(LAYERS))
        copy.write_bytes(a.read_bytes())
        b.write_bytes(convolutions(LAYERS + 1))
        same = campaign("A/A", copy, a, "5%", ("no difference", 0), args.runs, args.seconds)
        more = campaign("A/B, B has 5 % more work", b, a, "2%", ("slower", 1), args.runs, args.seconds)
    if args.json:
        print(json.dumps({"same": same, "more": more}, indent=2))
        return
    show(same)
    show(more)


if __name__ == "__main__":
    main()
