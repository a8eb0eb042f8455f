from __future__ import annotations

import time

import pytest

from edgeloop.errors import ConfigError
from edgeloop.pacing import Pace, UplinkConfig, parse_quiet_hours


def at(clock: str) -> time.struct_time:
    return time.strptime(clock, "%H:%M")


def test_the_budget_is_kept_in_the_long_run() -> None:
    pace = Pace(UplinkConfig(bytes_per_s=100), 0.0)
    sent = 0
    for tick in range(10_000):  # 1000 s
        while pace.allowance(tick / 10) > 0:
            pace.spend(70)
            sent += 70
    assert 100 * 1000 <= sent <= 100 * (1000 + 10) + 70


def test_without_a_budget_there_is_no_bound() -> None:
    pace = Pace(UplinkConfig(), 0.0)
    pace.spend(1 << 40)
    assert pace.allowance(0.0) > 1 << 40


def test_quiet_hours_may_span_midnight() -> None:
    night, noon = (Pace(UplinkConfig(quiet_hours=hours), 0.0) for hours in ("22:30-06:00", "12:00-13:00"))
    assert [night.is_quiet(at(clock)) for clock in ("22:29", "22:30", "23:59", "00:00", "05:59", "06:00")] == [
        False, True, True, True, True, False,
    ]  # fmt: skip
    assert [noon.is_quiet(at(clock)) for clock in ("11:59", "12:30", "13:00")] == [False, True, False]
    assert not Pace(UplinkConfig(), 0.0).is_quiet(at("03:00"))


@pytest.mark.parametrize("hours", ["", "22:30", "25:00-06:00", "1-2-3", "a-b"])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ConfigError, match="quiet_hours"):
        parse_quiet_hours(hours)
