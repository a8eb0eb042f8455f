"""What a sink is, what it writes of a prediction, and several of them as one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from edgeloop.runtime import Prediction, Runtime

__all__ = ["Fanout", "Sink", "record"]


class Sink(Protocol):
    """Where predictions go. What may pass (a full disk, a broker that is away) is counted in `lost`, never raised."""

    @property
    def lost(self) -> int:
        """How many predictions couldn't be kept."""

    def write(self, ref: str, prediction: Prediction, runtime: Runtime) -> None:
        """Take one prediction: `ref` names its input, `runtime` made it."""

    def flush(self) -> None:
        """Hand on what was held back; called about twice a second, and while nothing comes."""

    def close(self) -> None:
        """Flush, and let go of what is held."""


def record(ref: str, prediction: Prediction, runtime: Runtime) -> dict[str, Any]:
    """A prediction as JSON has it: the input's name, the time, the model's version, and what it said."""
    index, confidence = prediction.index, prediction.confidence
    found: dict[str, Any] = {
        "ref": ref,
        "time_s": round(time.time(), 4),
        "version": runtime.manifest.version,
        "index": index,
        "label": prediction.label,
        "confidence": None if confidence is None else round(confidence, 4),
        "latency_us": round(prediction.latency_us, 1),
    }
    if index is None:
        found["output"] = prediction.output.tolist()
    return found


class Fanout:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    @property
    def lost(self) -> int:
        """The sum over the sinks."""
        return sum(sink.lost for sink in self._sinks)

    def write(self, ref: str, prediction: Prediction, runtime: Runtime) -> None:
        """Write to each."""
        for sink in self._sinks:
            sink.write(ref, prediction, runtime)

    def flush(self) -> None:
        """Flush each."""
        for sink in self._sinks:
            sink.flush()

    def close(self) -> None:
        """Close each."""
        for sink in self._sinks:
            sink.close()
