"""The messages between device and centre. JSON where a person reads along with `mosquitto_sub`, MessagePack for arrays.

What a device sends up carries its identity, (device, epoch, seq): the epoch is new at each boot and only grows, the
sequence counts from 1 within it. The centre de-duplicates by it and acknowledges it after the lake's commit.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.compression import deflate, inflate
from edgeloop.errors import MessageError

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MAX_SAMPLE_BYTES",
    "Ack",
    "ArtifactRef",
    "BlobRef",
    "Desired",
    "EventMessage",
    "JobOffer",
    "JobReply",
    "ModelRef",
    "Part",
    "ProfileMessage",
    "SampleMessage",
    "State",
    "Up",
    "decode",
    "decode_part",
    "decode_up",
    "encode",
    "encode_up",
    "kind_of",
    "pack_array",
    "unpack_array",
]

MAX_PAYLOAD_BYTES = 1 << 20
"""No message is longer. An artifact goes in chunks, and so does a sample that doesn't fit."""

MAX_SAMPLE_BYTES = 8 << 20
"""No sample is longer, with its parts joined and inflated."""

Device = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
JobId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$")]
Text = Annotated[str, msgspec.Meta(max_length=1024)]
Dtype = Literal["float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"]
Axis = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Array(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An array on the wire: its dtype, its shape, and its bytes in C order, little-endian."""

    dtype: Dtype
    shape: Annotated[tuple[Axis, ...], msgspec.Meta(max_length=8)]
    data: bytes


class ModelRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model a message speaks of: the artifact's name and version, and the SHA-256 of its flatbuffer."""

    name: Text
    version: Sequence
    sha256: Sha256


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """What every message from a device carries. `time_s` is its own clock, seconds since 1970: a hint, no identity."""

    device: Device
    epoch: Sequence = 0
    seq: Sequence = 0
    time_s: float


class ProfileMessage(Up, frozen=True, kw_only=True, tag="profile", tag_field="kind"):
    """The profile of one window: `n` samples from `start_s` to `end_s`, their packed counts (`profile.pack_counts`).

    `left_out` more came in that window and weren't counted: the `n` are a random part (see `edgeloop.allowance`).
    """

    model: ModelRef
    start_s: float
    end_s: float
    n: Sequence
    counts: bytes
    left_out: Sequence = 0


class SampleMessage(Up, frozen=True, kw_only=True, tag="sample", tag_field="kind"):
    """An input that was picked, with what the model said of it.

    `ref` names the input at its source (a frame, a file), where the source gave one. `probability` is that with which
    the input was picked, in (0, 1], so that estimates over the fleet can be weighted by its inverse. `input` is what
    the sensor gave, before preprocessing; `output` the model's output in real units, float32.
    """

    model: ModelRef
    ref: Text
    reason: Literal["uncertain", "novel", "rare", "disagreement", "audit"]
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)]
    input: Array
    output: Array


class EventMessage(Up, frozen=True, kw_only=True, tag="event", tag_field="kind"):
    """Something happened on the device: `event` is a word such as `artifact-switched`, `detail` says more."""

    event: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    detail: dict[Text, Text | float | int] = {}


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a message that is too long for one: `device`, `epoch` and `seq` are those of the whole.

    `of` is the whole's kind; `crc` the CRC-32 of its `size_bytes` bytes as they would have gone over the wire.
    """

    device: Device
    epoch: Sequence
    seq: Sequence
    of: Literal["sample"]
    index: Annotated[int, msgspec.Meta(ge=0, le=4095)]
    count: Annotated[int, msgspec.Meta(ge=2, le=4096)]
    size_bytes: Annotated[int, msgspec.Meta(ge=2, le=MAX_SAMPLE_BYTES)]
    crc: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    data: bytes


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Birth and will, retained. A will of an older `epoch` or `session` than the last birth is stale: the device lives.

    `session` counts the connections of one epoch.
    """

    device: Device
    epoch: Sequence
    online: bool
    time_s: float
    model: ModelRef | None = None
    edgeloop: Text = ""
    session: Sequence = 0


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the lake has committed: ranges of sequence numbers of one epoch, both ends included."""

    epoch: Sequence
    ranges: tuple[tuple[Sequence, Sequence], ...]


class ArtifactRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An artifact to fetch: the whole file's SHA-256 and size, in chunks of `chunk_bytes` (the last is shorter)."""

    name: Text
    version: Sequence
    sha256: Sha256
    size_bytes: Annotated[int, msgspec.Meta(ge=8, le=1 << 30)]
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_PAYLOAD_BYTES)]

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.size_bytes // self.chunk_bytes)


class BlobRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes to fetch that are no artifact: a job, an answer. Its fields are those of `ArtifactRef`."""

    sha256: Sha256
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_PAYLOAD_BYTES)]

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.size_bytes // self.chunk_bytes)


class JobOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job for a device (see `edgeloop.job`); its chunks follow once the device has accepted it."""

    id: JobId
    job: BlobRef


class JobReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a job; `reason` says why it was refused or failed, `answer` what follows in chunks when done."""

    id: JobId
    state: Literal["accepted", "refused", "failed", "done"]
    reason: Text = ""
    answer: BlobRef | None = None


class Desired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device should run."""

    artifact: ArtifactRef


Message: TypeAlias = "ProfileMessage | SampleMessage | EventMessage"

_UP: dict[str, type[Up]] = {"profile": ProfileMessage, "sample": SampleMessage, "event": EventMessage}
_KINDS = {cls: kind for kind, cls in _UP.items()}
_BINARY = frozenset({"profile", "sample"})
_ITEM_BYTES = {name: np.dtype(name).itemsize for name in Dtype.__args__}  # type: ignore[attr-defined]  # a Literal has them

T = TypeVar("T")


def kind_of(message: Up) -> str:
    """The last level of the topic that the message goes to: `profile`, `sample` or `event`."""
    return _KINDS[type(message)]


def encode(message: msgspec.Struct) -> bytes:
    """A message as it goes over the wire."""
    binary = isinstance(message, Up) and kind_of(message) in _BINARY
    return msgspec.msgpack.encode(message) if binary else msgspec.json.encode(message)


def encode_up(message: Up) -> bytes:
    """A message from a device as it goes over the wire: where it holds arrays, deflated if that pays."""
    payload = encode(message)
    return deflate(payload) if kind_of(message) in _BINARY else payload


def decode(payload: bytes, kind: type[T]) -> T:
    """Read and validate a JSON message. Raises `MessageError`."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(f"a payload of {len(payload)} bytes is past the limit of {MAX_PAYLOAD_BYTES}")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a valid {kind.__name__}: {error}") from error


def decode_up(kind: str, device: str, payload: bytes) -> Message:
    """Read and validate a message that came on the topic of `device` for `kind`.

    Raises:
        MessageError: an unknown kind, too long (inflated, too), not valid, or with another device in it than in its
            topic.
    """
    if kind not in _UP:
        raise MessageError(f"unknown kind of message {kind[:64]!r}")
    limit = MAX_SAMPLE_BYTES if kind == "sample" else MAX_PAYLOAD_BYTES
    if len(payload) > limit:
        raise MessageError(f"a payload of {len(payload)} bytes is past the limit of {limit}")
    if kind in _BINARY:
        payload = inflate(payload, limit)
    read: Any = msgspec.msgpack.decode if kind in _BINARY else msgspec.json.decode
    try:
        message = read(payload, type=_UP[kind])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a valid {kind}: {error}") from error
    if message.device != device:
        raise MessageError(f"a {kind} of device {message.device!r} came on the topic of {device!r}")
    if isinstance(message, SampleMessage):
        _check_array(message.input)
        _check_array(message.output)
    return message  # type: ignore[no-any-return]  # read() is one of two overloads


def decode_part(device: str, payload: bytes) -> Part:
    """Read and validate a part that came on the topic of `device`. Raises `MessageError`."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(f"a payload of {len(payload)} bytes is past the limit of {MAX_PAYLOAD_BYTES}")
    try:
        part = msgspec.msgpack.decode(payload, type=Part)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(f"not a valid part: {error}") from error
    if part.device != device:
        raise MessageError(f"a part of device {part.device!r} came on the topic of {device!r}")
    if part.seq < 1:
        raise MessageError("no identity: a sequence number counts from 1")
    return part


def pack_array(array: NDArray[np.generic]) -> Array:
    """An array for the wire. Raises `MessageError` for a dtype that isn't sent."""
    name = array.dtype.name
    if name not in _ITEM_BYTES:
        raise MessageError(f"an array of {name} can't be sent: use one of {', '.join(_ITEM_BYTES)}")
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    return Array(dtype=name, shape=array.shape, data=data)


def unpack_array(array: Array) -> NDArray[Any]:
    """The array that `pack_array` packed, read-only. Raises `MessageError` where bytes and shape don't fit."""
    _check_array(array)
    return np.frombuffer(array.data, dtype=np.dtype(array.dtype).newbyteorder("<")).reshape(array.shape)


def _check_array(array: Array) -> None:
    if math.prod(array.shape) * _ITEM_BYTES[array.dtype] != len(array.data):
        raise MessageError(f"{len(array.data)} bytes are not an array of shape {array.shape} and {array.dtype}")
