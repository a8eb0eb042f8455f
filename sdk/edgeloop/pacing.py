"""How much the uplink may send, and when: a budget of bytes, and hours in which only what is urgent goes."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec

from edgeloop.errors import ConfigError

__all__ = ["Pace", "UplinkConfig", "parse_quiet_hours"]

_BURST_S = 10.0


class UplinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the uplink may use of the network.

    Args:
        bytes_per_s: the budget of payload; None for no bound. A burst of ten seconds' worth may be saved up.
        quiet_hours: such as `22:30-06:00`, in local time: only events are sent then; None for never.
    """

    bytes_per_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    quiet_hours: str | None = None


def parse_quiet_hours(text: str) -> tuple[int, int]:
    """Read `HH:MM-HH:MM` as two minutes of the day, of which the first is quiet. Raises `ConfigError`."""
    try:
        times = [time.strptime(part.strip(), "%H:%M") for part in text.split("-")]
        begin, end = (t.tm_hour * 60 + t.tm_min for t in times)
    except ValueError as error:
        raise ConfigError(f"quiet_hours {text!r}: write HH:MM-HH:MM") from error
    return begin, end


class Pace:
    """A token bucket and a clock on the wall.

    Args:
        config: the bounds. Raises `ConfigError` for hours that aren't any.
        now_s: a monotonic time in seconds.
    """

    def __init__(self, config: UplinkConfig, now_s: float) -> None:
        self._per_s = config.bytes_per_s
        self._quiet = None if config.quiet_hours is None else parse_quiet_hours(config.quiet_hours)
        self._tokens = 0.0 if self._per_s is None else self._per_s * _BURST_S
        self._at_s = now_s

    def allowance(self, now_s: float) -> int:
        """How many bytes may be started with at `now_s`; 0 for none. A message may run it into debt."""
        if self._per_s is None:
            return 1 << 62
        self._tokens = min(self._per_s * _BURST_S, self._tokens + self._per_s * max(0.0, now_s - self._at_s))
        self._at_s = now_s
        return max(0, int(self._tokens))

    def spend(self, size_bytes: int) -> None:
        """Take what was sent."""
        self._tokens -= size_bytes

    def is_quiet(self, local: time.struct_time) -> bool:
        """Whether it is one of the quiet hours."""
        if self._quiet is None:
            return False
        minute, (begin, end) = local.tm_hour * 60 + local.tm_min, self._quiet
        return begin <= minute < end if begin <= end else minute >= begin or minute < end
