"""Labels: what to look at next, what people said, and the labelled set to train on.

A sample is one input that a device picked; its `ref` names the input at its source. A label belongs to a sample's
identity; given for a ref, it belongs to all samples of that ref.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.messages import Array, unpack_array
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rows import Row
from edgeloop_fleet.schemas import SCHEMAS

__all__ = ["Identity", "QueuedSample", "add_labels", "label_queue", "labelled_set"]

Identity: TypeAlias = tuple[str, int, int]
"""(device, epoch, seq)."""

REASONS = ("disagreement", "uncertain", "novel", "rare", "audit")
"""Why a sample was picked, the most telling first: the order of the queue."""

_IDENTITY = ("device", "epoch", "seq")


@dataclass(frozen=True, eq=False)
class QueuedSample:
    """A sample that waits for its label. `x` is the input as the sensor gave it, `output` the model's, float32."""

    identity: Identity
    ref: str
    reason: str
    probability: float
    model_version: int
    x: NDArray[Any]
    output: NDArray[Any]


def label_queue(lake: Lake, *, limit: int = 100, model_name: str | None = None) -> list[QueuedSample]:
    """The samples to label next.

    Ordered by reason (disagreement, uncertain, novel, rare, audit), then by the probability with which they were
    picked: the smallest stand for the most inputs. Of several samples of one device and ref only the first is given,
    and none of a ref that this device's labels have already.

    Args:
        lake: where they are.
        limit: how many at most.
        model_name: only those that this model picked.

    Raises:
        LakeError: the lake can't be read.
    """
    where = None if model_name is None else f"model_name = {_quoted(model_name)}"
    rows = lake.read("samples", (*_IDENTITY, "ref", "reason", "probability"), where).to_pylist()
    labels = lake.read("labels", (*_IDENTITY, "ref")).to_pylist()
    labelled = {_key(row) for row in labels}
    rank = {reason: i for i, reason in enumerate(REASONS)}
    rows.sort(key=lambda r: (rank[r["reason"]], r["probability"], r["device"], r["epoch"], r["seq"]))
    first: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        if _key(row) not in labelled and len(first) < limit:
            first.setdefault(_key(row), row)
    full = _fetch(lake, [_identity(row) for row in first.values()])
    return [_queued(full[_identity(row)]) for row in first.values()]


def add_labels(lake: Lake, labels: Mapping[Identity | str, int], *, annotator: str) -> int:
    """Store labels.

    Args:
        lake: where to.
        labels: an identity, or a ref, to the class's index. A later label of the same sample replaces an earlier one.
        annotator: who said so.

    Returns:
        How many samples were labelled.

    Raises:
        DataError: no sample has one of the identities or refs, or a class is negative; nothing was stored.
        LakeError: the lake failed.
    """
    samples = lake.read("samples", (*_IDENTITY, "ref")).to_pylist()
    by_identity = {_identity(row): row for row in samples}
    by_ref: dict[str, list[Row]] = {}
    for row in samples:
        by_ref.setdefault(row["ref"], []).append(row)
    now = datetime.now(timezone.utc)
    rows = []
    for key, label in labels.items():
        found = by_ref.get(key, []) if isinstance(key, str) else [by_identity[key]] if key in by_identity else []
        if not found or key == "":
            raise DataError(f"no sample is known as {key!r}: give a ref or (device, epoch, seq) of the label queue")
        if label < 0:
            raise DataError(f"sample {key!r}: {label} is no class")
        rows += [{**row, "label": int(label), "annotator": annotator, "labelled": now} for row in found]
    if rows:
        lake.append("labels", pa.Table.from_pylist(rows, schema=SCHEMAS["labels"]))
    return len(rows)


def labelled_set(lake: Lake) -> tuple[NDArray[Any], NDArray[np.int64], list[Identity]]:
    """All labelled samples.

    Returns:
        x, of shape (n, …) as the sensors gave it; y, int64 of shape (n,); and the n identities, in their order.
        Of several samples of one device and ref the one that was labelled last is given.

    Raises:
        DataError: the samples are of several shapes or dtypes, or there is none.
        LakeError: the lake can't be read.
    """
    order = [(name, "ascending") for name in ("labelled", *_IDENTITY)]
    last = {_key(row): row for row in lake.read("labels").sort_by(order).to_pylist()}
    classes = {_identity(row): row["label"] for row in last.values()}
    identities = sorted(classes)
    rows = _fetch(lake, identities)
    inputs = [_array(rows[identity], "input") for identity in identities]
    kinds = sorted({f"{x.dtype} {x.shape}" for x in inputs})
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise DataError(f"the labelled samples must have one dtype and shape, and there are: {found}")
    y = np.array([classes[identity] for identity in identities], dtype=np.int64)
    return np.stack(inputs), y, identities


def _fetch(lake: Lake, identities: list[Identity]) -> dict[Identity, Row]:
    """The whole rows of some samples."""
    if not identities:
        return {}
    devices = ", ".join(sorted({_quoted(device) for device, _, _ in identities}))
    seqs = ", ".join(str(seq) for seq in sorted({seq for _, _, seq in identities}))
    wanted = set(identities)
    rows = lake.read("samples", where=f"device IN ({devices}) AND seq IN ({seqs})").to_pylist()
    return {_identity(row): row for row in rows if _identity(row) in wanted}


def _queued(row: Row) -> QueuedSample:
    return QueuedSample(
        identity=_identity(row),
        ref=row["ref"],
        reason=row["reason"],
        probability=row["probability"],
        model_version=row["model_version"],
        x=_array(row, "input"),
        output=_array(row, "output"),
    )


def _array(row: Row, name: str) -> NDArray[Any]:
    array = Array(dtype=row[f"{name}_dtype"], shape=tuple(row[f"{name}_shape"]), data=row[f"{name}_data"])
    return unpack_array(array)


def _identity(row: Row) -> Identity:
    return row["device"], row["epoch"], row["seq"]


def _key(row: Row) -> tuple[Any, ...]:
    """What makes two samples the same input: device and ref, or the identity where the source gave no ref."""
    return (row["device"], row["ref"]) if row["ref"] else _identity(row)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
