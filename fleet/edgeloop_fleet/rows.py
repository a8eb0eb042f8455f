"""From a message to a row of its table. Pure: the time of ingest is passed in."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec

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

__all__ = ["Row", "device_row", "message_row", "quarantine_row", "table_of", "utc_time"]

Row = dict[str, Any]

KEPT_BYTES = 4096
_YEAR_10000_S = 253402300800


def utc_time(seconds: float) -> datetime | None:
    """Seconds since 1970 as an aware time; None for none between 1970 and 9999: a device may say anything."""
    if not 0 <= seconds < _YEAR_10000_S:  # NaN compares false
        return None
    return datetime.fromtimestamp(seconds, timezone.utc)


def table_of(message: Message) -> str:
    """The table that a message goes to."""
    return f"{kind_of(message)}s"


def message_row(message: Message, ingested: datetime) -> Row:
    """A message as a row of its table.

    Raises:
        MessageError: it has no identity (its sequence number is 0), or its counts can't be read.
    """
    if message.seq < 1:
        raise MessageError("no identity: a sequence number counts from 1")
    return {
        "device": message.device,
        "epoch": message.epoch,
        "seq": message.seq,
        "time": utc_time(message.time_s),
        **_body(message),
        **_ingest(ingested, message.device),
    }


def _body(message: Message) -> Row:
    if isinstance(message, ProfileMessage):
        return {
            **_model(message.model),
            "start": utc_time(message.start_s),
            "end": utc_time(message.end_s),
            "n": message.n,
            "counts": unpack_counts(message.counts),
        }
    if isinstance(message, EventMessage):
        return {"event": message.event, "detail": msgspec.json.encode(message.detail).decode()}
    return _sample(message)


def _sample(message: SampleMessage) -> Row:
    return {
        **_model(message.model),
        "ref": message.ref,
        "reason": message.reason,
        "probability": message.probability,
        "input_dtype": message.input.dtype,
        "input_shape": message.input.shape,
        "input_data": message.input.data,
        "output_dtype": message.output.dtype,
        "output_shape": message.output.shape,
        "output_data": message.output.data,
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
