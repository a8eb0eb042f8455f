"""The runtime: one artifact, loaded and ready. `run` does as little as it can; what it saw is taken in batches."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from edgeloop.artifact import Artifact, read_artifact
from edgeloop.backends import Backend, BackendName, Kernels, open_backend
from edgeloop.batching import Batcher
from edgeloop.delegates import Placement
from edgeloop.encoding import Encode
from edgeloop.errors import GoldenMismatchError, InputError, ManifestDamagedError
from edgeloop.inputs import as_row, encoders_of
from edgeloop.manifest import Manifest
from edgeloop.prediction import OutputReader, Prediction
from edgeloop.quantization import dequantize
from edgeloop.ring import Ring, SampleForm, Seen

__all__ = ["Prediction", "Runtime"]

log = logging.getLogger(__name__)

Array: TypeAlias = NDArray[Any]
Inputs: TypeAlias = Array | dict[str, Array]

_FLOAT32 = np.dtype(np.float32)
_ALL = slice(None)
_CHUNK = 256  # samples that are preprocessed at once: it bounds the memory that a large batch takes


class Runtime:
    """An artifact, loaded and checked against its golden input.

    Args:
        artifact: a path, a file's bytes, or an `Artifact`. Signatures are not checked here: `Artifact.verify` does.
        backend: the interpreter, by its name; None takes the first that is installed. Or one that is open and runs this
            very model: it isn't closed with the runtime.
        threads: the interpreter's threads; "auto" measures at the first start, and remembers (see `edgeloop.threads`).
        kernels: "reference" for the kernels that give the same bits on every processor.
        delegate: "edgetpu", "gpu", or a delegate's shared library by its path. Where it can't be had the model runs on
            the CPU, which is logged, and `placement` says why.
        memory_bytes: what the ring of seen inputs may hold; the oldest are overwritten, and counted.

    Raises:
        OSError, ArtifactError: the artifact can't be read, or answers its golden input wrongly.
        InputError: its preprocessing doesn't bring its samples to the model's shape.
        ModelError: the interpreter refuses the model.
        MissingExtraError: no interpreter is installed.

    `threads` is how many the interpreter has. One `Runtime` is for one thread at a time, but `take_seen` may be called
    on another; several have a `RuntimePool`.
    """

    def __init__(
        self,
        artifact: str | os.PathLike[str] | bytes | Artifact,
        *,
        backend: BackendName | Backend | None = None,
        threads: int | Literal["auto"] = 1,
        kernels: Kernels = "default",
        delegate: str | None = None,
        memory_bytes: int = 8 << 20,
    ) -> None:
        self.artifact = artifact if isinstance(artifact, Artifact) else read_artifact(artifact)
        if backend is None or isinstance(backend, str):
            self.threads = _threads(self.artifact, backend, threads, kernels, delegate)
            self._backend = _open(self.artifact, backend, self.threads, kernels, delegate)
        else:
            self.threads, self._backend = 1, backend
        _check_tensors(self.artifact, self._backend)
        _check_golden(self.artifact, self._backend)
        self._steps = self.manifest.preprocessing
        self._input_names = [spec.name for spec in self._backend.inputs]
        self._reader = reader = OutputReader(self.manifest, self._backend.outputs)
        self._batcher = Batcher(self._backend)
        # `run` takes its short way for the dtype that came last, if the model has one input and one output of a size.
        self._is_plain = len(self._backend.inputs) == len(self._backend.outputs) == 1 and reader.has_fixed_size
        memory = self._backend.memory if self._is_plain else None
        self._encoders = encoders_of(self.manifest, self._backend.inputs, self.artifact.source, memory)
        self._invoke, self._read = self._backend.invoke_memory, self._backend.read
        self._dtype: np.dtype[Any] | None = None
        self._encode: Encode = self._encoders[0].of(_FLOAT32)
        self._shape = self._encoders[0].sample_shape
        self._form = SampleForm(_FLOAT32, self._shape)
        self._stored_form = _stored_form(self._backend) if self._is_plain and not self._steps else None
        self._stored_dtype = None if self._stored_form is None else self._stored_form.dtype
        self._stored_shape = (1, *self._backend.inputs[0].shape[1:])
        self._target = self._backend.memory.reshape(-1).view(np.uint8).data
        self._ring = Ring(
            memory_bytes, self._row_bytes(self._stored_form), reader.decoders[0], (reader.dtype, reader.shape)
        )

    @property
    def manifest(self) -> Manifest:
        """What the artifact says of itself."""
        return self.artifact.manifest

    @property
    def backend(self) -> str:
        """Which interpreter runs it."""
        return self._backend.name

    @property
    def placement(self) -> Placement:
        """Which delegate runs it, and which operators run outside of one."""
        return self._backend.placement

    @property
    def count_backend(self) -> Callable[[], dict[str, int]]:
        """Gives what a backend of another package counts itself, from any thread, and nothing for an interpreter."""
        statistics: Callable[[], dict[str, int]] = getattr(self._backend, "statistics", dict)
        return statistics

    def run(self, x: Inputs, *, ref: str = "") -> Prediction:
        """Run one input.

        Args:
            x: one input as the sensor gives it, in real units and without a batch axis, of any real dtype (strings
                where the preprocessing starts with a vocabulary); of a model with several inputs, each by its name.
            ref: names the input at its source; it goes along with a sample of it.

        Raises:
            InputError: another shape than the model's, not numbers, not finite after preprocessing, or not the
                model's inputs.
        """
        start = perf_counter_ns()
        if type(x) is not ndarray or x.dtype is not self._dtype:
            return self._run_any(x, ref, start)
        if x.shape != self._shape:
            raise self._encoders[0].wrong_shape(x)
        # Named first: calling an attribute that isn't a method takes Python 0.05 µs more than a name.
        encode, invoke, read = self._encode, self._invoke, self._read
        raw = x.tobytes()
        encode(x, raw)
        invoke()
        stored = read()
        latency_ns = perf_counter_ns() - start
        ring = self._ring  # `ring.append`, written out: a call takes 0.2 µs
        came, places = ring.came, ring.places
        places[came % len(places)] = (raw, self._form, stored, ref, latency_ns)
        ring.came = came + 1
        return Prediction(stored, self._reader, latency_ns)

    def run_stored(self, x: Array, *, ref: str = "") -> Prediction:
        """Run one input that is as the model stores it: nothing is converted. The shortest way there is.

        What is seen of it are the real values that it stands for, so that it says and observes what `run` of those
        would.

        Args:
            x: of the very shape and dtype of the model's input, batch axis included, as `set_tensor` takes it.
            ref: as `run` takes it.

        Raises:
            InputError: another shape or dtype, or the model has preprocessing or several inputs or outputs. Integers
                are always finite; a float input is for the caller to check.
        """
        start = perf_counter_ns()
        form = self._stored_form
        if form is None or type(x) is not ndarray or x.dtype is not self._stored_dtype or x.shape != self._stored_shape:
            raise self._not_stored(x)
        target, invoke, read = self._target, self._invoke, self._read
        raw = x.tobytes()
        target[_ALL] = raw
        invoke()
        stored = read()
        latency_ns = perf_counter_ns() - start
        ring = self._ring  # as in `run`
        came, places = ring.came, ring.places
        places[came % len(places)] = (raw, form, stored, ref, latency_ns)
        ring.came = came + 1
        return Prediction(stored, self._reader, latency_ns)

    def _run_any(self, x: Inputs, ref: str, start_ns: int) -> Prediction:
        """Any input, however it comes. If `run` could take its like directly, it will from now on."""
        arrays = self._in_order(x)
        numeric = all(array.dtype.kind in "fiub" for array in arrays)
        if numeric and self._is_plain:
            self._dtype = arrays[0].dtype
            self._encode = self._encoders[0].of(self._dtype)
            self._form = SampleForm(self._dtype, self._shape)
            self._ring.expect(self._row_bytes(self._form))
            return self.run(arrays[0], ref=ref)
        answers = self._backend.invoke([encode(a) for encode, a in zip(self._encoders, arrays, strict=True)])
        latency_ns = perf_counter_ns() - start_ns
        sample = arrays[0] if numeric and len(arrays) == 1 else as_row(self._encoders, arrays)
        raw, form, first = sample.tobytes(), SampleForm(sample.dtype, sample.shape), _unbatched(answers[0])
        self._ring.expect(self._row_bytes(form))
        self._ring.append((raw, form, first.tobytes(), ref, latency_ns))
        return Prediction(first, self._reader, latency_ns, [_unbatched(each) for each in answers[1:]])

    def _row_bytes(self, form: SampleForm | None) -> int:
        """What a sample of this form and an output take; of None, a sample of 8 bits a value."""
        sample_bytes = math.prod(self._shape) if form is None else math.prod(form.shape) * form.dtype.itemsize
        return sample_bytes + math.prod(self._reader.shape) * self._reader.dtype.itemsize

    def _not_stored(self, x: Array) -> InputError:
        name, spec = self.manifest.name, self._backend.inputs[0]
        if self._stored_form is None:
            return InputError(f"{name!r} has preprocessing, or several inputs or outputs: use run()")
        wanted = f"{spec.dtype}{list(self._stored_shape)}"
        if type(x) is not np.ndarray:
            return InputError(f"a stored input that is a {type(x).__name__}: {name!r} takes an array, {wanted}")
        return InputError(f"a stored input of {x.dtype}{list(x.shape)}: {name!r} takes {wanted}")

    def run_batch(self, x: Inputs) -> NDArray[np.float32]:
        """Run inputs of shape (n, …), unseen by the ring; the first outputs, (n, …), in real units.

        Many at once where the model can be made larger, else one after another: integer models give the same bits
        either way, float ones may differ in the last.

        Raises:
            InputError: as `run` does.
        """
        return next(iter(self.run_batch_outputs(x).values()))

    def run_batch_outputs(self, x: Inputs) -> dict[str, NDArray[np.float32]]:
        """As `run_batch`, and all outputs by name."""
        arrays = self._in_order(x)
        if not all(array.ndim for array in arrays):
            raise InputError(f"a batch without an axis: {self.manifest.name!r} takes samples of shape (n, …)")
        if len({len(array) for array in arrays}) != 1:
            raise InputError(f"the inputs have different numbers of samples: {[len(array) for array in arrays]}")
        chunks = []
        for start in range(0, len(arrays[0]) or 1, _CHUNK):
            part = [encode.batch(a[start : start + _CHUNK]) for encode, a in zip(self._encoders, arrays, strict=True)]
            stored = zip(self._reader.decoders, self._batcher(part), strict=True)
            chunks.append([decode(values) for decode, values in stored])
        return {
            name: np.concatenate(of) for name, of in zip(self._reader.names, zip(*chunks, strict=True), strict=True)
        }

    @property
    def is_half_full(self) -> bool:
        """Whether what was seen should be taken soon, before it is overwritten."""
        return self._ring.is_half_full

    def take_seen(self) -> Seen:
        """What `run` has seen since the last call, oldest first.

        Categories that came as strings are there by their numbers, and several inputs as one row: flattened, one after
        another, in the model's order.
        """
        return self._ring.take()

    def _in_order(self, x: Inputs) -> list[Array]:
        names = self._input_names
        if not isinstance(x, dict):
            if len(names) == 1:
                return [_as_array(x)]
            raise InputError(f"{self.manifest.name!r} takes {len(names)} inputs, by name: {', '.join(names)}")
        if set(x) != set(names):
            raise InputError(f"inputs named {', '.join(x)}: {self.manifest.name!r} takes {', '.join(names)}")
        return [_as_array(x[name]) for name in names]

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the interpreter and the ring; `run` can't be called any more."""
        del (
            self._backend,
            self._batcher,
            self._ring,
            self._encoders,
            self._encode,
            self._target,
            self._invoke,
            self._read,
        )


def _threads(
    artifact: Artifact,
    backend: BackendName | None,
    threads: int | Literal["auto"],
    kernels: Kernels,
    delegate: str | None,
) -> int:
    if threads != "auto":
        return threads
    from edgeloop.threads import remembered_threads

    return remembered_threads(artifact, backend, kernels=kernels, delegate=delegate)


def _open(
    artifact: Artifact, backend: BackendName | None, threads: int, kernels: Kernels, delegate: str | None
) -> Backend:
    opened = open_backend(artifact.model, backend, threads=threads, kernels=kernels, delegate=delegate)
    outside = opened.placement.outside
    if outside:
        log.info(
            "%s: %d of %d operators outside of a delegate: %s",
            artifact.source,
            len(outside),
            opened.placement.operators,
            opened.placement.counted(),
        )
    return opened


def _stored_form(backend: Backend) -> SampleForm:
    """What `run_stored` gets, and how it is read back."""
    spec = backend.inputs[0]
    return SampleForm(np.dtype(spec.dtype), spec.shape[1:], partial(dequantize, spec))


def _as_array(x: Any) -> Array:
    try:
        return np.asarray(x)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise InputError(f"an input that is no array of numbers: {error}") from error


def _unbatched(answer: Array) -> Array:
    """An output without its batch axis; one that has none, as a list of detections may not, stays as it is."""
    without: Array = answer[0] if answer.shape[:1] == (1,) else answer
    return without


def _check_tensors(artifact: Artifact, backend: Backend) -> None:
    said, found = artifact.manifest.inputs, backend.inputs
    if [(s.shape, s.dtype) for s in said] != [(f.shape, f.dtype) for f in found]:
        raise ManifestDamagedError(
            f"{artifact.source}: its manifest says inputs {_shapes(said)}, the model has {_shapes(found)}"
        )


def _shapes(specs: Any) -> str:
    return ", ".join(f"{s.dtype}{list(s.shape)}" for s in specs)


def _check_golden(artifact: Artifact, backend: Backend) -> None:
    golden = artifact.manifest.golden
    if golden is None:
        return
    wanted_bytes = [int(np.prod(np.abs(s.shape))) * np.dtype(s.dtype).itemsize for s in backend.inputs]
    if [len(raw) for raw in golden.inputs] != wanted_bytes or len(golden.outputs) != len(backend.outputs):
        raise ManifestDamagedError(f"{artifact.source}: its golden input doesn't fit the model")
    inputs = [
        np.frombuffer(raw, dtype=spec.dtype).reshape([abs(n) for n in spec.shape])
        for raw, spec in zip(golden.inputs, backend.inputs, strict=True)
    ]
    for stored, raw, spec in zip(backend.invoke(inputs), golden.outputs, backend.outputs, strict=True):
        wanted = np.frombuffer(raw, dtype=spec.dtype)
        if wanted.size != stored.size:
            raise ManifestDamagedError(f"{artifact.source}: its golden output doesn't fit the model")
        apart = np.abs(dequantize(spec, stored.ravel()) - dequantize(spec, wanted)).max(initial=0)
        if not apart <= golden.atol:
            raise GoldenMismatchError(
                f"{artifact.source}: answers its golden input {apart:g} away from what it should (allowed: "
                f"{golden.atol:g}), with backend {backend.name}: this build of the interpreter can't be trusted with it"
            )
