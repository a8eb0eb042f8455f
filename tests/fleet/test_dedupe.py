"""The set of identities."""

from __future__ import annotations

import itertools

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop_fleet.dedupe import Ranges, Seen, runs

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


@given(VALUES, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=12))
def test_adding_a_range_is_adding_all_that_is_in_it(values: list[int], added: list[tuple[int, int]]):
    ranges, one_by_one = Ranges(values), Ranges(values)
    for first, width in added:
        ranges.add_range(first, first + width)
        for value in range(first, first + width + 1):
            one_by_one.update([value])
    assert ranges.as_tuple() == one_by_one.as_tuple()


IDENTITIES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 20)), max_size=60)


@settings(deadline=None)  # the first one warms pyarrow up
@given(IDENTITIES)
def test_runs_of_columns_are_their_identities(identities: list[tuple[str, int, int]]):
    names, epochs, seqs = ([row[i] for row in identities] for i in range(3))
    found = list(
        runs(pa.array(names, pa.string()).dictionary_encode(), pa.array(epochs, pa.int64()), pa.array(seqs, pa.int64()))
    )
    assert {(d, e, s) for d, e, first, last in found for s in range(first, last + 1)} == set(identities)


@given(st.lists(IDENTITIES, max_size=8), st.integers(0, 6))
def test_what_is_held_is_bounded_and_what_was_evicted_is_known_still(batches, max_ranges: int):
    committed: set[tuple[str, int, int]] = set()
    seen = Seen(lambda devices: [(d, e, s, s) for d, e, s in committed if d in devices], max_ranges)
    for batch in batches:
        devices = {device for device, _, _ in batch}
        seen.load(devices)
        for identity in batch:
            device, epoch, seq = identity
            assert (seq in seen.of(device, epoch)) == (identity in committed)
            committed.add(identity)
            seen.add(device, epoch, [seq])
        # At most what the batch's own devices take (each 1, and 1 + their ranges an epoch), or what there is room for;
        # and what the batch has added since others were last evicted.
        assert seen.held <= max(max_ranges, len(devices) + 2 * len(committed)) + 2 * len(batch)
        seen.load(())
        assert seen.held <= max_ranges


def test_an_identity_is_that_of_its_device_and_boot():
    seen = Seen(lambda _: [("a", 1, 5, 5)])
    seen.load({"a", "b"})
    seen.add("a", 2, [6])
    seen.add("b", 1, [7])
    assert 5 in seen.of("a", 1)
    assert 6 in seen.of("a", 2)
    assert 5 not in seen.of("a", 2)
    assert 5 not in seen.of("b", 1)
