"""The set of identities."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edgeloop_fleet.dedupe import Ranges, Seen

VALUES = st.lists(st.integers(0, 40), max_size=60)


@given(VALUES)
def test_ranges_are_the_set_of_what_was_added(values: list[int]):
    ranges = Ranges(values)
    assert [v for v in range(-1, 42) if v in ranges] == sorted(set(values))
    flat = [v for first, last in ranges.as_tuple() for v in range(first, last + 1)]
    assert flat == sorted(set(values))


@given(VALUES)
def test_ranges_are_as_few_as_can_be(values: list[int]):
    found = Ranges(values).as_tuple()
    assert all(b[0] - a[1] > 1 for a, b in itertools.pairwise(found))


def test_an_identity_is_that_of_its_device_and_boot():
    seen = Seen()
    seen.add([("a", 1, 5), ("a", 2, 6), ("b", 1, 7)])
    assert ("a", 1, 5) in seen
    assert ("a", 2, 5) not in seen
    assert ("b", 1, 5) not in seen
    assert seen.ranges() == {("a", 1): ((5, 5),), ("a", 2): ((6, 6),), ("b", 1): ((7, 7),)}
