"""What the centre did, in the lake's `runs` table: alarms, evaluations and what else has no table of its own."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec
import pyarrow as pa

from edgeloop_fleet.lake import Lake
from edgeloop_fleet.schemas import SCHEMAS

__all__ = ["last_records", "record"]


def record(lake: Lake, kind: str, run_id: str, status: str, detail: Any) -> None:
    """Append one row: `detail` is anything that msgspec writes as JSON. Raises `LakeError`."""
    row = {
        "id": run_id,
        "kind": kind,
        "status": status,
        "time": datetime.now(timezone.utc),
        "detail": msgspec.json.encode(detail).decode(),
    }
    lake.append("runs", pa.Table.from_pylist([row], schema=SCHEMAS["runs"]))


def last_records(lake: Lake, kind: str) -> dict[str, tuple[str, bytes]]:
    """The last row of each id of one kind: its status, and its detail as JSON. Raises `LakeError`."""
    rows = lake.read("runs", where=f"kind = '{kind}'").sort_by("time").to_pylist()
    return {row["id"]: (row["status"], row["detail"].encode()) for row in rows}
