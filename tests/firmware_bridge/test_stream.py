"""Which samples are missing, and whose time it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import DataError, MessageError
from edgeloop_bridge import messages as m
from edgeloop_bridge.clock import ClockAligner
from edgeloop_bridge.stream import StreamReader

ABOUT = m.Stream(m.ValueFormat.INT16, 2, 1000, "ramp")


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans()), min_size=1, max_size=30),
    st.sampled_from([0, 2**32 - 20]),
)
def test_losses_on_the_device_and_on_the_line_are_told_apart(blocks: list[tuple[int, int, bool]], before: int) -> None:
    """Each block: samples that the device drops before it, samples in it, whether the line loses it."""
    reader = StreamReader(ABOUT)
    number = dropped = lost = received = counted_drops = 0
    if before:  # a stream that has run for long: its numbers wrap
        reader.read(m.Samples(0, 0, 0, 0, bytes(4)))
        reader._next, reader._dropped = before, before
        number = dropped = before
        counted_drops = -before
        received = 1
    pending = 0
    for drops, count, is_lost in blocks:
        number, dropped = number + drops, dropped + drops
        if is_lost:
            pending += count
        else:
            block = reader.read(m.Samples(0, number % 2**32, 0, dropped % 2**32, bytes(4 * count)))
            lost, pending, received = lost + pending, 0, received + count
            assert len(block.values) == count
            counted = dropped
        number += count
    if all(is_lost for _, _, is_lost in blocks):
        return
    assert reader.lost_on_line == lost
    assert reader.lost_on_device == counted + counted_drops
    assert reader.received == received


def test_values_are_read_by_format_and_channel() -> None:
    values = np.array([[1, -2], [300, -400]], "<i2")
    block = StreamReader(ABOUT).read(m.Samples(0, 0, 77, 0, values.tobytes()))
    assert block.time_us == 77
    np.testing.assert_array_equal(block.values, values)


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(MessageError, match="format 9"):
        StreamReader(m.Stream(9, 1, 1, "?"))
    reader = StreamReader(ABOUT)
    with pytest.raises(MessageError, match="whole samples"):
        reader.read(m.Samples(0, 0, 0, 0, b"abc"))
    reader.read(m.Samples(0, 10, 0, 2, bytes(8)))
    with pytest.raises(MessageError, match="restarted"):
        reader.read(m.Samples(0, 0, 0, 0, bytes(8)))


@given(
    st.floats(-1e4, 1e4),
    st.floats(-100, 100),
    st.lists(st.tuples(st.floats(0.0005, 0.01), st.floats(0, 1)), min_size=30, max_size=60),
)
def test_the_clocks_are_aligned_to_within_the_shortest_round_trips(
    offset_s: float, drift_ppm: float, trips: list[tuple[float, float]]
) -> None:
    """Each trip: how long it takes, and which part of that is the way there."""
    rate, aligner, device_s = 1 + drift_ppm / 1e6, ClockAligner(), 1.0
    for trip_s, share in trips:
        host_s = offset_s + rate * device_s
        aligner.add(host_s - share * trip_s, host_s + (1 - share) * trip_s, round(device_s * 1e6))
        device_s += 0.7
    found = aligner.alignment()
    shortest = min(trip_s for trip_s, _ in trips)
    assert found.uncertainty_s == pytest.approx(shortest / 2, abs=1e-9)
    # Each trip that counts is at most twice the shortest, and the middle of a trip is wrong by half of it at most. A
    # line through points that are each wrong by e is wrong by no more than 3 e between them.
    worst = 3 * shortest + 1e-5
    if found.rate == 1:  # fewer than three trips that count: the clocks are taken for equally fast
        worst += abs(drift_ppm) / 1e6 * device_s
    for at_s in (1.0, device_s / 2):
        assert abs(found.to_host_s(round(at_s * 1e6)) - (offset_s + rate * at_s)) <= worst


def test_a_steady_drift_is_measured() -> None:
    aligner = ClockAligner()
    for k in range(100):
        aligner.add(50 + k * 1.00004 - 0.0005, 50 + k * 1.00004 + 0.0005, k * 1_000_000)
    found = aligner.alignment()
    assert found.drift_ppm == pytest.approx(40, abs=0.01)
    assert found.to_host_s(50_000_000) == pytest.approx(50 + 50 * 1.00004, abs=1e-6)


def test_without_a_round_trip_there_is_no_alignment() -> None:
    with pytest.raises(DataError, match="PING"):
        ClockAligner().alignment()
