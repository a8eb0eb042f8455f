"""Whose time is it: the device's microseconds on the host's clock, from the round trips of PING.

A device answers a PING somewhere between its sending and the answer's coming. So each round trip tells the offset of
the two clocks to within half of itself, and the shortest ones tell it best (F. Cristian, "Probabilistic clock
synchronization", Distributed Computing 3, 1989). Of each stretch of time the shortest is kept, and a line through
those gives the drift of the device's crystal.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edgeloop.errors import DataError

__all__ = ["Alignment", "ClockAligner"]

_STRETCH_S = 2.0
_STRETCHES = 64


@dataclass(frozen=True)
class Alignment:
    """The device's clock on the host's: `host_s` = `offset_s` + `rate` · `device_s`.

    Args:
        offset_s: the host's time when the device's was 0, in seconds.
        rate: seconds of the host in one of the device's; 1.00002 is a crystal that is 20 ppm slow.
        uncertainty_s: half of the shortest round trip: the offset can't be known better from it.
    """

    offset_s: float
    rate: float
    uncertainty_s: float

    def to_host_s(self, device_us: int) -> float:
        """A time of the device on the host's clock, in seconds."""
        return self.offset_s + self.rate * device_us / 1e6

    @property
    def drift_ppm(self) -> float:
        """How much slower the device's clock runs, in parts per million."""
        return (self.rate - 1) * 1e6


@dataclass(frozen=True)
class _Trip:
    device_s: float
    middle_s: float
    round_trip_s: float


class ClockAligner:
    """Collects round trips. A device that was reset has another clock: make another aligner."""

    def __init__(self) -> None:
        self._best: deque[_Trip] = deque(maxlen=_STRETCHES)
        self._stretch_s = 0.0

    def add(self, sent_s: float, received_s: float, device_us: int) -> None:
        """A PING that was sent once, by the host's clock, and the device's time in its answer."""
        trip = _Trip(device_us / 1e6, (sent_s + received_s) / 2, received_s - sent_s)
        if not self._best or sent_s - self._stretch_s >= _STRETCH_S:
            self._stretch_s = sent_s
            self._best.append(trip)
        elif trip.round_trip_s < self._best[-1].round_trip_s:
            self._best[-1] = trip

    def alignment(self) -> Alignment:
        """The line through the shortest round trips; with fewer than three stretches of time the clocks count as equal.

        Raises:
            DataError: there was no round trip yet.
        """
        if not self._best:
            raise DataError("no PING was answered yet: the clocks can't be aligned")
        shortest = min(self._best, key=lambda trip: trip.round_trip_s)
        # A trip twice as long as the shortest tells of the line's queue, not of the clock.
        good = [trip for trip in self._best if trip.round_trip_s <= 2 * shortest.round_trip_s]
        uncertainty_s = shortest.round_trip_s / 2
        if len(good) < 3:
            return Alignment(shortest.middle_s - shortest.device_s, 1.0, uncertainty_s)
        device = np.array([trip.device_s for trip in good])
        middle = np.array([trip.middle_s for trip in good])
        x, y = device - device.mean(), middle - middle.mean()
        rate = float((x @ y) / (x @ x))
        return Alignment(float(middle.mean() - rate * device.mean()), rate, uncertainty_s)
