"""From profiles to windows: a device's consecutive profiles, merged until they hold enough samples to be judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import Baseline
from edgeloop.errors import InputError
from edgeloop.profile import Profile

__all__ = ["Window", "Windower"]

_MOST = 1 << 40  # samples in one profile; more is no count


@dataclass(frozen=True, eq=False)
class Window:
    """One device's samples of a stretch of time, counted.

    `index` counts the device's windows from 1. `counts` has one int64 array for each feature of the baseline.
    """

    device: str
    index: int
    ended: datetime
    n: int
    counts: tuple[NDArray[np.int64], ...]


class Windower:
    """Merges profiles by device.

    Args:
        baseline: over whose bins they count.
        window_n: a window is complete once it has at least this many samples.
    """

    def __init__(self, baseline: Baseline, window_n: int) -> None:
        self.unusable = 0
        self._features = baseline.features
        self._window_n = window_n
        self._open: dict[str, Profile] = {}
        self._complete: dict[str, int] = {}

    def add(self, device: str, counts: NDArray[np.int64], n: int, ended: datetime) -> Window | None:
        """Take a device's next profile in; the window that it completes, if it does.

        A profile that doesn't fit the baseline is left out and counted in `unusable`.
        """
        profile = Profile(counts, n)
        if n == 0:
            return None
        if not self._fits(profile):
            self.unusable += 1
            return None
        merged = self._open.pop(device, None)
        merged = profile if merged is None else merged + profile
        if merged.n < self._window_n:
            self._open[device] = merged
            return None
        self._complete[device] = index = self._complete.get(device, 0) + 1
        return Window(device, index, ended, merged.n, tuple(merged.split(self._features)))

    def _fits(self, profile: Profile) -> bool:
        try:
            parts = profile.split(self._features)
        except InputError:
            return False
        # Python's integers: counts near 2^63 from a broken device must not wrap around to fit.
        return profile.n <= _MOST and all(sum(part.tolist()) == profile.n for part in parts)
