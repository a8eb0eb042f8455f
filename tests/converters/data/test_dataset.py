from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import DataError
from edgeloop_converters.data import Dataset


def small() -> Dataset:
    return Dataset(
        np.arange(12, dtype=np.float32).reshape(6, 2),
        np.array([0, 1, 0, 1, 0, 1]),
        labels=("off", "on"),
        order=np.arange(6.0),
        groups={"site": np.array(list("aabbcc"))},
    )


def test_taking_rows_takes_them_from_every_array() -> None:
    taken = small().take([4, 1])
    assert np.array_equal(taken.x, [[8, 9], [2, 3]])
    assert taken.y is not None
    assert taken.order is not None
    assert (taken.y.tolist(), taken.order.tolist(), taken.groups["site"].tolist()) == (
        [0, 1],
        [4, 1],
        ["c", "a"],
    )


def test_taking_no_rows_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        small().take([])


def test_lengths_that_differ_are_refused_and_told() -> None:
    with pytest.raises(DataError, match=r"lengths differ.*'y': 2"):
        Dataset(np.zeros((3, 2)), np.zeros(2, np.int64))


def test_the_hash_is_of_content_not_of_layout_or_source() -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    swapped = x.astype(">f4")
    assert Dataset(x).sha256() == Dataset(np.asfortranarray(x), source="elsewhere").sha256()
    assert Dataset(x).sha256() == Dataset(swapped).sha256()
    # Pinned: a manifest that records it must still match in years.
    assert Dataset(x).sha256() == "c075c3fc7604e3e332fa7592a89ec6e44ad6c8bcded81377e3c5cf45fe7bbc48"


def test_the_hash_changes_with_values_labels_and_input_names() -> None:
    x, y = np.ones((2, 2)), np.array([0, 1])
    sets = [
        Dataset(x),
        Dataset(x, y),
        Dataset(x * 2),
        Dataset({"a": x}),
        Dataset({"b": x}),
        Dataset(x.reshape(2, 1, 2)),
    ]
    assert len({d.sha256() for d in sets}) == len(sets)


def test_several_inputs_are_taken_together() -> None:
    both = Dataset({"image": np.zeros((5, 2, 2, 1)), "meta": np.arange(5)[:, None]})
    assert len(both) == 5
    assert both.take(np.array([True, False, False, False, True])).inputs["meta"].ravel().tolist() == [0, 4]
