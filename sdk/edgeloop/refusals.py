"""Which kinds of message the broker refuses. Its access rules go by topic, and so by kind: the others go on.

After a pause that doubles, one message of the kind asks again; the centre's acknowledgement of it lets the kind go on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Refusals"]

_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0


@dataclass
class _Held:
    until_s: float
    pause_s: float = _PAUSE_S


class Refusals:
    """The kinds that are held back; times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, kind: str) -> bool:
        return kind in self._held

    def refused(self, kind: str, now_s: float) -> bool:
        """The broker has refused one; whether that is news."""
        if kind in self._held:
            return False
        self._held[kind] = _Held(now_s + _PAUSE_S)
        return True

    def asked(self, kind: str, now_s: float) -> None:
        """One of a kind that is held back was sent: the next only after twice the pause."""
        held = self._held[kind]
        held.pause_s = min(_LONGEST_PAUSE_S, 2 * held.pause_s)
        held.until_s = now_s + held.pause_s

    def accepted(self, kind: str) -> None:
        """One of a kind that was held back has come through."""
        self._held.pop(kind, None)

    def may_ask(self, kinds: Collection[str], now_s: float) -> str | None:
        """One of `kinds` that is held back and of which one message may be sent now; None for none."""
        return next((kind for kind, held in self._held.items() if kind in kinds and now_s >= held.until_s), None)

    def others(self, kinds: Collection[str]) -> tuple[str, ...]:
        """Those of `kinds` that aren't held back."""
        return tuple(kind for kind in kinds if kind not in self._held)
