"""Jobs: what an artifact answers to given inputs, asked for from elsewhere. Bytes in, bytes out.

The same bytes go through a pipe (`edgeloop job`, over ssh or into an emulated userland) and over MQTT (`jobdesk`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import read_artifact
from edgeloop.backends import BackendName, Kernels, open_backend
from edgeloop.errors import InputError, MessageError
from edgeloop.latency import Latency, measure
from edgeloop.machine import Machine, describe_machine
from edgeloop.manifest import Manifest
from edgeloop.messages import Array, pack_array, unpack_array
from edgeloop.preprocessing import preprocess
from edgeloop.quantization import quantize
from edgeloop.runtime import Runtime

__all__ = [
    "Answer",
    "Inputs",
    "Job",
    "answer",
    "decode_answer",
    "decode_job",
    "encode_answer",
    "encode_job",
    "make_job",
    "mark_answer",
    "unmark_answer",
]

Inputs: TypeAlias = "NDArray[Any] | Mapping[str, NDArray[Any]]"

T = TypeVar("T")

# What a login shell prints comes first, so the answer says where it begins.
_MARK = b"\nedgeloop answer 1\n"


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An artifact and inputs to run it on.

    Args:
        artifact: the whole file.
        inputs: (n, …) each, as the sensor gives them, by the model's names; a single one may have any name.
        kernels: see `backends.open_backend`, as the next two.
        backend: see there.
        threads: see there.
        latency_s: time calls of the interpreter for so long, too; 0 doesn't.
        format: of the job.
    """

    artifact: bytes
    inputs: dict[str, Array]
    kernels: Kernels = "default"
    backend: BackendName | None = None
    threads: int = 1
    latency_s: float = 0.0
    format: Literal[1] = 1


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came out, and what ran it.

    Args:
        outputs: (n, …) each, real values, float32, by name; integers of a quantized model are that exactly.
        backend: the interpreter.
        kernels: as the job asked for.
        machine: the device.
        latency: of one call of the interpreter, preprocessing left out; None where it wasn't asked for.
    """

    outputs: dict[str, Array]
    backend: str
    kernels: Kernels
    machine: Machine
    latency: Latency | None = None

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The outputs as arrays. Raises `MessageError`."""
        return {name: unpack_array(array) for name, array in self.outputs.items()}


def make_job(
    artifact: bytes, x: Inputs, *, kernels: Kernels = "default", threads: int = 1, latency_s: float = 0.0
) -> Job:
    """A job from arrays.

    Args:
        artifact: the whole file.
        x: (n, …) numbers as the sensor gives them, or such arrays by name.
        kernels: see `Job`, as the next two.
        threads: see there.
        latency_s: see there.

    Raises:
        MessageError: an array of strings, or of another kind that isn't sent.
    """
    named = x if isinstance(x, Mapping) else {"x": x}
    arrays = {name: np.asarray(a, np.float32) if a.dtype == np.float64 else a for name, a in named.items()}
    return Job(
        artifact=artifact,
        inputs={name: pack_array(a) for name, a in arrays.items()},
        kernels=kernels,
        threads=threads,
        latency_s=latency_s,
    )


def answer(job: Job) -> Answer:
    """Run a job here: one call for each sample, as a device runs them, and not in batches.

    Raises:
        ArtifactError, ModelError, ConfigError, MissingExtraError: as `Runtime` does.
        InputError: the inputs don't fit the model, or there are none.
    """
    artifact = read_artifact(job.artifact, name="the job's artifact")
    given = {name: unpack_array(array) for name, array in job.inputs.items()}
    counts = {len(a) if a.ndim else 0 for a in given.values()}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"a job with inputs of {sorted(counts)} samples: give each input the same number, at least 1")
    with Runtime(artifact, backend=job.backend, threads=job.threads, kernels=job.kernels) as runtime:
        is_single = len(given) == len(artifact.manifest.inputs) == 1
        only = next(iter(given.values()))
        rows = (only[i] if is_single else {name: a[i] for name, a in given.items()} for i in range(counts.pop()))
        found = [runtime.run(row).outputs for row in rows]
        backend = runtime.backend
    latency = _latency(job, artifact.manifest, artifact.model, given) if job.latency_s > 0 else None
    return Answer(
        outputs={name: pack_array(np.stack([row[name] for row in found])) for name in found[0]},
        backend=backend,
        kernels=job.kernels,
        machine=describe_machine(),
        latency=latency,
    )


def _latency(job: Job, manifest: Manifest, model: bytes, given: Mapping[str, NDArray[Any]]) -> Latency:
    backend = open_backend(model, job.backend, threads=job.threads, kernels=job.kernels)
    stored = []
    for spec in backend.inputs:
        x = next(iter(given.values())) if len(backend.inputs) == 1 else given[spec.name]
        real = preprocess(manifest.preprocessing, x[:1])
        stored.append(quantize(spec, real.reshape(1, *spec.shape[1:])))
    return measure({"call": lambda: backend.invoke(stored)}, min_time_s=job.latency_s)["call"]


def encode_job(job: Job) -> bytes:
    """A job as it is sent."""
    return msgspec.msgpack.encode(job)


def decode_job(data: bytes) -> Job:
    """Read a job. Raises `MessageError`."""
    return _decode(data, Job)


def encode_answer(found: Answer) -> bytes:
    """An answer as it is sent."""
    return mark_answer(msgspec.msgpack.encode(found))


def decode_answer(data: bytes) -> Answer:
    """Read an answer, whatever stands before it. Raises `MessageError`."""
    return _decode(unmark_answer(data), Answer)


def mark_answer(body: bytes) -> bytes:
    """An answer's bytes as they are sent: a login shell may print something before them."""
    return _MARK + body


def unmark_answer(data: bytes) -> bytes:
    """What was given to `mark_answer`, whatever stands before it. Raises `MessageError`."""
    before, mark, body = data.partition(_MARK)
    if not mark:
        raise MessageError(f"no answer, but {len(before)} bytes: {before[:200].decode(errors='replace')!r}")
    return body


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(
            f"not a valid {kind.__name__.lower()}: {error}: is the same version of edgeloop on both sides?"
        ) from error
