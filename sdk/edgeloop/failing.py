"""Whether a backend fails: told once when it begins, and once when it is over, however it flickers. Pure."""

from __future__ import annotations

__all__ = ["Failing"]

_OVER_S = 10.0  # without a failure, and with answers


class Failing:
    """Follows the calls of a backend that may be away: a board whose cable is pulled, a delegate's device."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._last_s = 0.0
        self._answered = 0

    def failed(self, answered: int, now_s: float) -> bool:
        """A call has failed, after so many that were answered; whether that is to be told."""
        is_new = self._since_s is None
        if self._since_s is None:
            self._since_s = now_s
        self._last_s, self._answered = now_s, answered
        return is_new

    def over(self, answered: int, now_s: float) -> float | None:
        """For how many seconds it has failed, once, as soon as that is over; else None."""
        since_s = self._since_s
        if since_s is None or answered == self._answered or now_s - self._last_s < _OVER_S:
            return None
        self._since_s = None
        return self._last_s - since_s
