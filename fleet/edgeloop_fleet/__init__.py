"""The centre: ingest, lake, monitor, labels, retraining, rollout."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeloop_fleet.broker import EmbeddedBroker
    from edgeloop_fleet.centre import Centre
    from edgeloop_fleet.ingest import Ingester
    from edgeloop_fleet.labels import add_labels, label_queue, labelled_set
    from edgeloop_fleet.lake import Lake
    from edgeloop_fleet.monitor import Monitor
    from edgeloop_fleet.retrain import retrain_warm

__all__ = [
    "Centre",
    "EmbeddedBroker",
    "Ingester",
    "Lake",
    "Monitor",
    "add_labels",
    "label_queue",
    "labelled_set",
    "retrain_warm",
]

_HOMES = {
    "Centre": "centre",
    "EmbeddedBroker": "broker",
    "Ingester": "ingest",
    "Lake": "lake",
    "Monitor": "monitor",
    "add_labels": "labels",
    "label_queue": "labels",
    "labelled_set": "labels",
    "retrain_warm": "retrain",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
