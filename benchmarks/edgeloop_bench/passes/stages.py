"""Where an answer's time goes: preprocessing, invoke and postprocessing, timed apart on the runtime's own parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.backends import Backend, open_backend
from edgeloop.inputs import encoders_of
from edgeloop.latency import sample_rounds, summarize
from edgeloop.manifest import Manifest
from edgeloop.prediction import OutputReader, Prediction
from edgeloop.preprocessing import Step, Vocabulary
from edgeloop_bench.passes.single_stream import LEAST_WARMUP
from edgeloop_bench.result import Settings, Stage
from edgeloop_bench.subject import random_input

__all__ = ["measure_stages"]

SHARE = 0.25
"""Of a scenario's time: medians of stages settle soon, and there are three of them."""


def measure_stages(artifact: Artifact, settings: Settings) -> tuple[Stage, ...]:
    """Time the stages of `Runtime.run` on a random sample, from the very parts that it is made of.

    "preprocessing" is from a sensor's sample to what the model stores; "invoke" the interpreter; "postprocessing" the
    answer's way out, to a class and its confidence where there is one, else to real numbers.

    Raises:
        InputError, ModelError: the artifact can't be run.
    """
    backend = open_backend(
        artifact.model,
        settings.interpreter,
        threads=settings.threads[0],
        kernels=settings.kernels,
        delegate=settings.delegate,
    )
    rounds = sample_rounds(
        _calls(artifact, backend, np.random.default_rng(settings.seed)),
        min_time_s=settings.seconds * SHARE / 3,
        min_runs=settings.min_runs,
        warmup=LEAST_WARMUP,
    )
    return tuple(Stage(name, summarize(its)) for name, its in rounds.items())


def _calls(artifact: Artifact, backend: Backend, rng: np.random.Generator) -> dict[str, Callable[[], object]]:
    manifest = artifact.manifest
    reader = OutputReader(manifest, backend.outputs)
    if len(backend.inputs) == len(backend.outputs) == 1 and reader.has_fixed_size:
        (encoder,) = encoders_of(manifest, backend.inputs, artifact.source, backend.memory)
        sample = _sample(manifest.preprocessing, encoder.sample_shape, rng)
        encode, raw, invoke, read = encoder.of(sample.dtype), sample.tobytes(), backend.invoke_memory, backend.read
        encode(sample, raw)
        return {
            "preprocessing": lambda: encode(sample, sample.tobytes()),
            "invoke": invoke,
            "postprocessing": lambda: _read(Prediction(read(), reader, 0)),
        }
    encoders = encoders_of(manifest, backend.inputs, artifact.source)
    samples = [
        _sample(_steps(manifest, spec.name), encoder.sample_shape, rng)
        for spec, encoder in zip(backend.inputs, encoders, strict=True)
    ]
    pairs = list(zip(encoders, samples, strict=True))
    stored = [encoder(sample) for encoder, sample in pairs]
    answers = [each[0] if each.shape[:1] == (1,) else each for each in backend.invoke(stored)]
    return {
        "preprocessing": lambda: [encoder(sample) for encoder, sample in pairs],
        "invoke": lambda: backend.invoke(stored),
        "postprocessing": lambda: _read(Prediction(answers[0], reader, 0, answers[1:])),
    }


def _read(prediction: Prediction) -> object:
    return prediction.output if prediction.index is None else prediction.confidence


def _steps(manifest: Manifest, name: str) -> tuple[Step, ...]:
    prepared = manifest.input_preparation.get(name)
    return manifest.preprocessing if prepared is None else prepared.preprocessing


def _sample(steps: tuple[Step, ...], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """As a sensor gives it: float32, or known words in the columns that the first step looks up."""
    if not (steps and isinstance(steps[0], Vocabulary)):
        return random_input(shape, np.float32, rng)
    row = np.full(shape, "0.5", dtype=object)
    for category in steps[0].columns:
        row[category.column] = category.values[0]
    return row
