"""From a trained model to one TFLite artifact: load, compress, compile, verify."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeloop_converters.conversion import Converted, convert
    from edgeloop_converters.data import Dataset, load_dataset
    from edgeloop_converters.models import load_model

__all__ = ["Converted", "Dataset", "convert", "load_dataset", "load_model"]

_HOMES = {
    "Converted": "conversion",
    "convert": "conversion",
    "Dataset": "data",
    "load_dataset": "data",
    "load_model": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
