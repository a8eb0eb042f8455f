"""The lake's tables: their columns, pinned. A column is added at the end, never renamed or retyped.

`device`, `epoch` and `seq` are a row's identity. `time` is the device's clock and a hint only (null where it is no
time at all); `ingested` is the centre's. `day` is the UTC day of `ingested`, and the partition of the tables that grow.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

__all__ = ["PARTITIONED", "SCHEMAS", "check_table_name"]

_US = pa.timestamp("us", "UTC")


def _schema(**columns: Any) -> Any:
    required = {"device", "epoch", "seq", "ingested", "day"} & set(columns)
    return pa.schema([pa.field(name, kind, nullable=name not in required) for name, kind in columns.items()])


_IDENTITY = {"device": pa.string(), "epoch": pa.int64(), "seq": pa.int64()}
_MODEL = {"model_name": pa.string(), "model_version": pa.int64(), "model_sha256": pa.string()}
_INGEST = {"ingested": _US, "day": pa.date32(), "shard": pa.int16()}
_SHAPE = pa.list_(pa.int64())

SCHEMAS: dict[str, Any] = {
    "samples": _schema(
        **_IDENTITY,
        time=_US,
        **_MODEL,
        ref=pa.string(),
        reason=pa.string(),
        probability=pa.float64(),
        input_dtype=pa.string(),
        input_shape=_SHAPE,
        input_data=pa.binary(),
        output_dtype=pa.string(),
        output_shape=_SHAPE,
        output_data=pa.binary(),
        **_INGEST,
    ),
    "profiles": _schema(
        **_IDENTITY,
        time=_US,
        **_MODEL,
        start=_US,
        end=_US,
        n=pa.int64(),
        counts=pa.list_(pa.int64()),
        **_INGEST,
    ),
    "events": _schema(**_IDENTITY, time=_US, event=pa.string(), detail=pa.string(), **_INGEST),
    # A message that didn't validate; its identity only where the payload still tells one.
    "quarantine": pa.schema(
        [
            ("topic", pa.string()),
            ("reason", pa.string()),
            ("payload", pa.binary()),
            ("size_bytes", pa.int64()),
            *_IDENTITY.items(),
            *_INGEST.items(),
        ]
    ),
    # Identities of rows that were deleted (`edgeloop forget`): a device that sends one again doesn't bring it back.
    "forgotten": pa.schema(
        [
            ("device", pa.string()),
            ("epoch", pa.int64()),
            ("first", pa.int64()),
            ("last", pa.int64()),
            ("why", pa.string()),
            ("time", _US),
        ]
    ),
    # One row for each change of state; the last by (epoch, ingested) holds.
    "devices": _schema(
        device=pa.string(),
        epoch=pa.int64(),
        online=pa.bool_(),
        time=_US,
        **_MODEL,
        edgeloop=pa.string(),
        ingested=_US,
    ),
    # Of one identity the last by `labelled` holds.
    "labels": _schema(**_IDENTITY, ref=pa.string(), label=pa.int64(), annotator=pa.string(), labelled=_US),
    # What the centre did: `kind` is `alarm`, `evaluation`, …; `detail` is JSON. The last row of an id holds.
    "runs": _schema(id=pa.string(), kind=pa.string(), status=pa.string(), time=_US, detail=pa.string()),
    "rollouts": _schema(
        device=pa.string(),
        step=pa.string(),
        name=pa.string(),
        version=pa.int64(),
        sha256=pa.string(),
        time=_US,
        detail=pa.string(),
    ),
}
"""The Arrow schema of each table."""

PARTITIONED = frozenset({"samples", "profiles", "events", "quarantine"})
"""The tables that are partitioned by `day`: one file a commit, and old days can be dropped whole."""


def check_table_name(name: str) -> str:
    """Give `name` back, or raise `ValueError` for a table that the lake doesn't have."""
    if name not in SCHEMAS:
        raise ValueError(f"the lake has no table {name!r}: it has {', '.join(SCHEMAS)}")
    return name
