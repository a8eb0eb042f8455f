"""Rates of whole ways, each beside the bare interpreter's in the same run.

    python benchmarks/suites/throughput.py [--rounds N] [--rows N] [--json]

- stream: a source (rows of an .npy file), preprocessing (a scaling to float), the model and a sink (JSON lines),
  against `set_tensor`, `invoke`, `get_tensor` on inputs that are ready; on a convolutional one of about 1 ms a call.
- pool: one `Runtime` on one thread, against a `RuntimePool` of two on two threads, on the same model and on smaller
  ones, each named by its convolutions: where a call is short, the threads wait for Python's lock.
- table: a Parquet file of a million rows of 10 features scored by `edgeloop.scoring`, against one row after another by
  `Runtime.run` (of the first 20,000); on a small classifier.

The ways of one line take turns; a rate's ratio is the median over the rounds. Beside it stands the processor time of
one answer, all threads together: of a machine that others use too, it says more than the rate.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.manifest import Manifest, ModelFile, utc_now
from edgeloop.pool import RuntimePool
from edgeloop.preprocessing import Scale
from edgeloop.runtime import Runtime
from edgeloop.scoring import score
from edgeloop.sinks import JsonLinesSink
from edgeloop.sinks.tables import open_table
from edgeloop.sources import Arrays
from edgeloop.sources.batches import read_batches
from edgeloop.stream import run_stream

CLASSES, CHANNELS = 10, 16
IMAGE = (32, 32, 3)
POOLED = (0, 1, 4, 18)  # convolutions


def classifier(shape: tuple[int, ...], convolutions: int = 0, seed: int = 0) -> bytes:
    """A float model (1, *shape) → so many 3 × 3 convolutions of 16 channels → 10 probabilities."""
    rng = np.random.default_rng(seed)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version = 3
    model.buffers, graph.tensors, graph.operators = [schema.BufferT()], [], []

    def tensor(name: str, shape: tuple[int, ...], values: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), list(shape), schema.TensorType.FLOAT32
        made.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options: Any) -> None:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, [output]
        made.builtinOptionsType, made.builtinOptions = kind, options
        graph.operators.append(made)

    at = start = tensor("x", (1, *shape))
    for i in range(convolutions):
        depth = shape[-1] if i == 0 else CHANNELS
        weights = tensor(f"w{i}", (CHANNELS, 3, 3, depth), rng.normal(size=(CHANNELS, 3, 3, depth)) / depth)
        bias = tensor(f"b{i}", (CHANNELS,), np.zeros(CHANNELS))
        convolution = schema.Conv2DOptionsT()
        convolution.strideH = convolution.strideW = convolution.dilationHFactor = convolution.dilationWFactor = 1
        convolution.fusedActivationFunction = schema.ActivationFunctionType.RELU6
        to = tensor(f"y{i}", (1, *shape[:-1], CHANNELS))
        operator(0, [at, weights, bias], to, schema.BuiltinOptions.Conv2DOptions, convolution)
        at, shape = to, (*shape[:-1], CHANNELS)
    size = int(np.prod(shape))
    weights, logits = tensor("w", (CLASSES, size), rng.normal(size=(CLASSES, size)) / size), tensor("y", (1, CLASSES))
    operator(1, [at, weights, -1], logits, schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT())
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    end = tensor("probabilities", (1, CLASSES))
    operator(2, [logits], end, schema.BuiltinOptions.SoftmaxOptions, softmax)
    graph.inputs, graph.outputs = [start], [end]
    model.subgraphs, model.operatorCodes = [graph], []
    kinds = schema.BuiltinOperator
    for builtin in (kinds.CONV_2D, kinds.FULLY_CONNECTED, kinds.SOFTMAX):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        model.operatorCodes.append(code)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def artifact_of(model: bytes) -> Artifact:
    backend = open_backend(model)
    manifest = Manifest(
        name="classifier",
        version=1,
        created=utc_now(),
        model=ModelFile(hashlib.sha256(model).hexdigest(), len(model)),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task="classification",
        preprocessing=(Scale(1 / 255),),
    )
    return pack_artifact(model, manifest)


def bare_loop(model: bytes, x: Any) -> Callable[[], int]:
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    index_in, index_out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    ready = [row[np.newaxis].astype(np.float32) / np.float32(255) for row in x]

    def loop() -> int:
        for row in ready:
            interpreter.set_tensor(index_in, row)
            interpreter.invoke()
            interpreter.get_tensor(index_out)
        return len(ready)

    return loop


def stream_of(artifact: Artifact, path: Path, out: Path) -> Callable[[], int]:
    runtime = Runtime(artifact)

    def stream() -> int:
        sink = JsonLinesSink(str(out))
        report = run_stream(runtime, Arrays(str(path)).open(), sink)
        sink.close()
        return report.inferences

    return stream


def on_threads(run: Callable[[Any], Any], x: Any, count: int) -> Callable[[], int]:
    def part(rows: Any) -> None:
        for row in rows:
            run(row)

    def loop() -> int:
        threads = [threading.Thread(target=part, args=(x[i::count],)) for i in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(x)

    return loop


def pooled(artifact: Artifact, x: Any) -> dict[str, Callable[[], int]]:
    runtime, pool = Runtime(artifact), RuntimePool(artifact, size=2)
    return {"1 thread": on_threads(runtime.run, x, 1), "2 threads": on_threads(pool.run, x, 2)}


def table_of(artifact: Artifact, folder: Path, rows: int) -> dict[str, Callable[[], int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    runtime = Runtime(artifact)
    width = runtime.manifest.inputs[0].shape[1]
    x = np.random.default_rng(1).integers(0, 256, (rows, width)).astype(np.float32)
    path = folder / "table.parquet"
    pq.write_table(pa.table({f"x{i}": x[:, i] for i in range(width)}), path)

    def single() -> int:
        for row in x[:20_000]:
            runtime.run(row)
        return 20_000

    def batched() -> int:
        with open_table(str(folder / "scores.parquet")) as table:
            return score(runtime, read_batches(str(path), 4096, ()), table).rows

    return {"one by one": single, "table": batched}


def rates(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, dict[str, float]]:
    """A second, of each way, and its ratio to the first one's in the same round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            done = way()
            processor[name].append((time.process_time() - cpu) / done * 1e6)
            found[name].append(done / (time.perf_counter() - start))
    first = np.array(next(iter(found.values())))
    return {
        name: {
            "cpu_us": float(np.median(processor[name])),
            "per_s": float(np.median(its)),
            "ratio": float(np.median(np.array(its) / first)),
        }
        for name, its in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = classifier(IMAGE, convolutions=18)
    artifact = artifact_of(model)
    x = np.random.default_rng(0).integers(0, 256, (400, *IMAGE), dtype=np.uint8)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x)
        ways = {
            "bare": bare_loop(model, x),
            "stream": stream_of(artifact, folder / "x.npy", folder / "out.jsonl"),
        }
        found["source to sink"] = rates(ways, args.rounds)
        for convolutions in POOLED:
            found[f"pool, {convolutions}"] = rates(pooled(artifact_of(classifier(IMAGE, convolutions)), x), args.rounds)
        small = artifact_of(classifier((10,)))
        found["parquet"] = rates(table_of(small, folder, args.rows), 3)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for title, ways_found in found.items():
        for way, its in ways_found.items():
            rate = f"{its['per_s']:14,.0f} a second{its['ratio']:8.2f} ×"
            print(f"{title:18}{way:14}{rate}{its['cpu_us']:12,.1f} µs of processor")


if __name__ == "__main__":
    main()
