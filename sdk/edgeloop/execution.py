"""How a model is being run, for whoever looks: the interpreter, its threads, and what takes which of its operators."""

from __future__ import annotations

import msgspec

from edgeloop.delegates import Placement
from edgeloop.runtime import Runtime

__all__ = ["Execution", "execution_of"]

_MAX_CHARACTERS = 1000  # an event's texts are no longer


class Execution(msgspec.Struct, frozen=True):
    """How a model is being run.

    Args:
        backend: the interpreter, or another package's backend.
        threads: of the interpreter.
        placement: the delegate, why it isn't the one asked for, and what runs outside of it.
    """

    backend: str
    threads: int
    placement: Placement

    def to_detail(self) -> dict[str, str | int]:
        """As an event tells it: flat. `fallback` is there only where the delegate that was asked for isn't in use."""
        placement = self.placement
        detail: dict[str, str | int] = {
            "backend": self.backend,
            "threads": self.threads,
            "delegate": placement.delegate or "cpu",
            "operators": placement.operators,
            "outside": placement.counted()[:_MAX_CHARACTERS],
        }
        if placement.fallback is not None:
            detail["fallback"] = placement.fallback[:_MAX_CHARACTERS]
        return detail

    def to_words(self) -> list[str]:
        """For people, in pieces."""
        placement = self.placement
        words = [self.backend, f"{self.threads} thread{'s' * (self.threads > 1)}"]
        words.append("CPU" if placement.delegate is None else f"delegate {placement.delegate}")
        if placement.fallback is not None:
            words.append(f"the DELEGATE IS NOT USED: {placement.fallback}")
        if placement.operators:
            outside = f"{len(placement.outside)} of {placement.operators} operators outside of a delegate"
            words.append(outside + (f": {placement.counted()}" if placement.outside else ""))
        return words


def execution_of(runtime: Runtime) -> Execution:
    """How `runtime` runs its model."""
    return Execution(runtime.backend, runtime.threads, runtime.placement)
