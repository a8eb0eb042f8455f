"""From messages to rows of their table. Pure: the time of ingest is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec
import pyarrow as pa

from edgeloop.errors import MessageError
from edgeloop.messages import (
    EventMessage,
    Message,
    ModelRef,
    ProfileMessage,
    SampleMessage,
    State,
    kind_of,
)
from edgeloop.profile import unpack_counts
from edgeloop.topics import shard_of
from edgeloop_fleet.schemas import SCHEMAS

__all__ = [
    "KEPT_BYTES",
    "Row",
    "check_message",
    "device_row",
    "held_bytes",
    "message_rows",
    "quarantine_row",
    "table_of",
    "utc_time",
]

Row = dict[str, Any]

KEPT_BYTES = 4096
"""So much of a message is kept aside that doesn't validate."""

_YEAR_10000_S = 253402300800


def utc_time(seconds: float) -> datetime | None:
    """Seconds since 1970 as an aware time; None for none between 1970 and 9999: a device may say anything."""
    if not 0 <= seconds < _YEAR_10000_S:  # NaN compares false
        return None
    return datetime.fromtimestamp(seconds, timezone.utc)


def table_of(message: Message) -> str:
    """The table that a message goes to."""
    return f"{kind_of(message)}s"


def check_message(message: Message) -> None:
    """See that a message can be a row.

    Raises:
        MessageError: it has no identity (its sequence number is 0), or its counts can't be read.
    """
    if message.seq < 1:
        raise MessageError("no identity: a sequence number counts from 1")
    if isinstance(message, ProfileMessage):
        unpack_counts(message.counts)


def held_bytes(message: Message) -> int:
    """What a message takes in memory, about: its arrays, and as much again for all else of a small one."""
    if isinstance(message, SampleMessage):
        return 1024 + len(message.input.data) + len(message.output.data)
    if isinstance(message, ProfileMessage):
        return 1024 + 8 * len(message.counts)  # a byte may be a count, and a count is an int64
    return 1024 + 1024 * len(message.detail)


def message_rows(messages: Sequence[Message], ingested: datetime) -> Any:
    """Checked messages of one kind, at least one, as a `pyarrow.Table` with the columns of their table.

    Column by column: a dictionary for each row takes twice as long.
    """
    columns: dict[str, list[Any]] = {
        "device": [m.device for m in messages],
        "epoch": [m.epoch for m in messages],
        "seq": [m.seq for m in messages],
        "time": [utc_time(m.time_s) for m in messages],
        **_BODIES[type(messages[0])](messages),
        "ingested": [ingested] * len(messages),
        "day": [ingested.date()] * len(messages),
        "shard": [shard_of(m.device) for m in messages],
    }
    return pa.table(columns, schema=SCHEMAS[table_of(messages[0])])


def _profiles(messages: Sequence[ProfileMessage]) -> dict[str, list[Any]]:
    return {
        **_models(messages),
        "start": [utc_time(m.start_s) for m in messages],
        "end": [utc_time(m.end_s) for m in messages],
        "n": [m.n for m in messages],
        "counts": [unpack_counts(m.counts) for m in messages],
    }


def _samples(messages: Sequence[SampleMessage]) -> dict[str, list[Any]]:
    return {
        **_models(messages),
        "ref": [m.ref for m in messages],
        "reason": [m.reason for m in messages],
        "probability": [m.probability for m in messages],
        "input_dtype": [m.input.dtype for m in messages],
        "input_shape": [m.input.shape for m in messages],
        "input_data": [m.input.data for m in messages],
        "output_dtype": [m.output.dtype for m in messages],
        "output_shape": [m.output.shape for m in messages],
        "output_data": [m.output.data for m in messages],
    }


def _events(messages: Sequence[EventMessage]) -> dict[str, list[Any]]:
    return {
        "event": [m.event for m in messages],
        "detail": [msgspec.json.encode(m.detail).decode() for m in messages],
    }


def _models(messages: Sequence[ProfileMessage | SampleMessage]) -> dict[str, list[Any]]:
    return {
        "model_name": [m.model.name for m in messages],
        "model_version": [m.model.version for m in messages],
        "model_sha256": [m.model.sha256 for m in messages],
    }


_BODIES: dict[type[Message], Callable[..., dict[str, list[Any]]]] = {
    ProfileMessage: _profiles,
    SampleMessage: _samples,
    EventMessage: _events,
}


def device_row(state: State, ingested: datetime) -> Row:
    """A device's state as a row of `devices`."""
    return {
        "device": state.device,
        "epoch": state.epoch,
        "online": state.online,
        "time": utc_time(state.time_s),
        **_model(state.model),
        "edgeloop": state.edgeloop,
        "ingested": ingested,
    }


def quarantine_row(
    topic: str, payload: bytes, reason: str, identity: tuple[str, int, int] | None, ingested: datetime
) -> Row:
    """A message that didn't validate: its reason, its topic and the first 4 KiB of it."""
    device, epoch, seq = identity or (None, None, None)
    return {
        "topic": topic,
        "reason": reason,
        "payload": payload[:KEPT_BYTES],
        "size_bytes": len(payload),
        "device": device,
        "epoch": epoch,
        "seq": seq,
        **_ingest(ingested, device),
    }


def _model(model: ModelRef | None) -> Row:
    if model is None:
        return {"model_name": None, "model_version": None, "model_sha256": None}
    return {"model_name": model.name, "model_version": model.version, "model_sha256": model.sha256}


def _ingest(ingested: datetime, device: str | None) -> Row:
    shard = None if device is None else shard_of(device)
    return {"ingested": ingested, "day": ingested.date(), "shard": shard}
