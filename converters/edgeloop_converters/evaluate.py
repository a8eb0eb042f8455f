"""What a `.tflite` file is worth: its answers with the kernels that will run, how far kernels agree, its speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.backends import Backend, open_backend
from edgeloop.latency import Latency, Ratio, ratio, sample_rounds, summarize
from edgeloop.quantization import quantize
from edgeloop_converters.processor import has_int8_dot_product
from edgeloop_converters.quiet import silenced
from edgeloop_converters.recipes import Compile, Recipe, wanted_of
from edgeloop_converters.tflite import Finding, agreement, check, delegation, describe, run

__all__ = ["Agreed", "Evaluation", "Speed", "evaluate_file", "latency_call", "measure_speed", "slower_finding"]

AGREEMENT_SAMPLES = 100  # the reference kernels are some hundred times slower
SLOWER = 1.05  # a noisy machine makes the same file 2 to 3 % slower


class Agreed(msgspec.Struct, frozen=True):
    """How far this machine's default kernels and the reference kernels agree; see `tflite.Agreement`."""

    samples: int
    top1: float
    max_steps: int | None
    max_abs: float


class Evaluation(msgspec.Struct, frozen=True):
    """A file, looked at and run; its outputs are kept beside it.

    Attributes:
        size_bytes: of the flatbuffer.
        parameters: weights and biases.
        macs: multiply-accumulates of a call.
        partitions: the pieces that XNNPACK runs it in.
        outside: operators that XNNPACK leaves to LiteRT's own kernels.
        nodes: operators in all.
        op_counts: operators by name.
        peak_activation_bytes: what the activations need at once, at least.
        agreed: default kernels against reference kernels; None for float files, which differ by rounding only.
        findings: where it isn't what was asked for, or has its price.
    """

    size_bytes: int
    parameters: int
    macs: int
    partitions: int
    outside: tuple[str, ...]
    nodes: int
    op_counts: dict[str, int]
    peak_activation_bytes: int
    agreed: Agreed | None
    findings: tuple[Finding, ...]


class Speed(msgspec.Struct, frozen=True):
    """A file's latency, and how many times the original's it is (both from the same rounds)."""

    latency: Latency
    of_original: Ratio


def evaluate_file(model: bytes, step: Compile, x: Any) -> tuple[Evaluation, tuple[NDArray[Any], ...]]:
    """Run a file over the evaluation inputs and describe it.

    Args:
        model: the flatbuffer.
        step: what was asked for.
        x: (n, …) inputs in real values, or such arrays by input name.

    Returns:
        The evaluation, and for each output (n, …) real values, float32.

    Raises:
        DataError: the inputs don't fit the model.
        ModelError: the model can't be loaded, or failed while running.
    """
    facts, division = describe(model), delegation(model)
    outputs = run(model, x)
    integer = any("int" in facts.tensors[t].dtype for t in facts.outputs)
    return (
        Evaluation(
            size_bytes=facts.size_bytes,
            parameters=facts.parameters,
            macs=facts.macs,
            partitions=division.partitions,
            outside=tuple(op.name for op in division.outside),
            nodes=division.nodes,
            op_counts=facts.op_counts,
            peak_activation_bytes=facts.peak_activation_bytes,
            agreed=_agreed(model, x) if integer else None,
            findings=() if step.scheme == "as_is" else check(wanted_of(step), facts, division),
        ),
        outputs,
    )


def measure_speed(
    original: bytes, others: Mapping[str, bytes], x: Any, *, threads: int = 1, min_time_s: float = 0.25
) -> tuple[Latency, dict[str, Speed]]:
    """The latency of one call of each file, in turns with the original's: what disturbs one disturbs all.

    A call is the interpreter's: stored values in, invoked, stored values out; no preprocessing.

    Args:
        original: the float model.
        others: by name.
        x: at least one input, in real values, or such arrays by input name.
        threads: of each interpreter.
        min_time_s: the counted calls of each file take together so long, at least.
    """
    calls: dict[str, Callable[[], object]] = {"": latency_call(original, x, threads=threads)}
    calls |= {name: latency_call(model, x, threads=threads) for name, model in others.items()}
    rounds = sample_rounds(calls, min_time_s=min_time_s, min_runs=30, warmup=10)
    own = rounds.pop("")
    return summarize(own), {name: Speed(summarize(its), ratio(its, own)) for name, its in rounds.items()}


def slower_finding(recipe: Recipe, speed: Speed, evaluation: Evaluation) -> Finding | None:
    """The finding that a file is slower than the float model that it came from; None when it isn't."""
    found = speed.of_original
    if found.value <= SLOWER or (found.ci is not None and found.ci[0] <= 1):
        return None
    known = next((f for f in evaluation.findings if f.code in ("partitions", "no_delegation")), None)
    if known is not None:
        cause = f"{known.message}: {known.cause}"
        full = recipe.compile.scheme == "int8"
        remedy = known.remedy if full else "recipe 'int8' (full-integer), which XNNPACK runs in one piece"
    elif "int8" in recipe.compile.scheme and has_int8_dot_product() is False:
        cause = "this machine's processor has no int8 dot product (VNNI, SDOT), so its int8 kernels aren't faster"
        remedy = "measure on the device; or prune to multiples of 8 channels (recipe 'prune-50-distil-int8')"
    else:
        cause = f"{', '.join(sorted(set(evaluation.outside))) or 'its operators'}: no fast kernel in this scheme"
        remedy = "another recipe: int8, or float16 where only the size counts"
    message = f"recipe {recipe.name!r} made the model {found.value:.1f} times slower than float32 on this machine"
    return Finding("slower_than_float", "warning", message, cause, remedy, evaluation.outside[:8])


def _agreed(model: bytes, x: Any) -> Agreed:
    few = {k: v[:AGREEMENT_SAMPLES] for k, v in x.items()} if isinstance(x, Mapping) else x[:AGREEMENT_SAMPLES]
    found = agreement(model, few)
    return Agreed(found.samples, found.top1, found.max_steps, found.max_abs)


def latency_call(model: bytes, x: Any, *, threads: int = 1) -> Callable[[], object]:
    """What `measure_speed` times: one call of a file's interpreter on the first sample of `x`."""
    with silenced():  # the first interpreter of a process announces itself
        backend = open_backend(model, threads=threads)
    stored = stored_inputs(backend, x)
    return lambda: backend.invoke(stored)


def stored_inputs(backend: Backend, x: Any) -> list[NDArray[Any]]:
    """The first sample as the interpreter stores it, for each input in the model's order."""
    if not isinstance(x, Mapping):
        return [quantize(spec, np.asarray(x[:1], np.float32)) for spec in backend.inputs]
    return [quantize(spec, np.asarray(x[key_for(spec.name, x)][:1], np.float32)) for spec in backend.inputs]


def key_for(name: str, given: Mapping[str, Any]) -> str:
    """Which of the given names an input's tensor goes by: `serving_default_left:0` is `left`."""
    bare = name.removeprefix("serving_default_").partition(":")[0]
    return name if name in given else bare
