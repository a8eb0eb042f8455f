"""Labels: from the lake's samples to a set to train on."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from edgeloop.errors import DataError
from edgeloop.messages import SampleMessage, pack_array
from edgeloop_fleet.labels import add_labels, label_queue, labelled_set
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rows import message_rows
from fleet_devices import sample


def store(lake: Lake, *samples: SampleMessage) -> None:
    lake.append("samples", message_rows(samples, datetime.now(timezone.utc)))


def image(k: int) -> np.ndarray:
    return np.arange(64, dtype=np.uint8).reshape(8, 8) + np.uint8(k)


def test_the_queue_is_ordered_by_reason_then_by_rarity(lake: Lake):
    store(
        lake,
        sample("a", 1, reason="audit", probability=0.01),
        sample("a", 2, reason="uncertain", probability=0.9),
        sample("a", 3, reason="uncertain", probability=0.1),
        sample("a", 4, reason="disagreement", probability=1.0),
    )
    assert [q.identity[2] for q in label_queue(lake)] == [4, 3, 2, 1]
    assert [q.identity[2] for q in label_queue(lake, limit=2)] == [4, 3]
    assert label_queue(lake, model_name="it's another") == []


def test_one_frame_is_queued_once_a_device_and_not_after_it_was_labelled(lake: Lake):
    store(lake, sample("a", 1, ref="f7"), sample("a", 2, ref="f7"), sample("b", 1, ref="f7"))
    store(lake, sample("a", 3, ref="f8"))
    assert [q.identity for q in label_queue(lake)] == [("a", 1, 1), ("a", 1, 3), ("b", 1, 1)]
    assert add_labels(lake, {("a", 1, 2): 4}, annotator="eve") == 1
    assert [q.identity for q in label_queue(lake)] == [("a", 1, 3), ("b", 1, 1)]
    assert add_labels(lake, {"f7": 4}, annotator="eve") == 3
    assert [q.identity for q in label_queue(lake)] == [("a", 1, 3)]


def test_labelled_inputs_come_back_as_the_sensor_gave_them(lake: Lake):
    store(lake, *(sample("a", k, input=pack_array(image(k))) for k in (1, 2, 3)))
    (first, second, _) = label_queue(lake)
    assert np.array_equal(first.x, image(1))
    add_labels(lake, {first.identity: 7, second.ref: 2}, annotator="eve")
    add_labels(lake, {first.identity: 8}, annotator="bob")
    x, y, identities = labelled_set(lake)
    assert x.dtype == np.uint8
    assert np.array_equal(x, np.stack([image(1), image(2)]))
    assert (y.tolist(), identities) == ([8, 2], [("a", 1, 1), ("a", 1, 2)])


def test_what_can_not_be_labelled_is_said(lake: Lake):
    store(lake, sample("a", 1))
    for bad in ("digits/99", ("a", 9, 9), ""):
        with pytest.raises(DataError, match="no sample"):
            add_labels(lake, {("a", 1, 1): 1, bad: 1}, annotator="eve")
    with pytest.raises(DataError, match="no class"):
        add_labels(lake, {("a", 1, 1): -1}, annotator="eve")
    with pytest.raises(DataError, match="none"):
        labelled_set(lake)


def test_samples_of_two_shapes_make_no_training_set(lake: Lake):
    store(lake, sample("a", 1), sample("a", 2, input=pack_array(np.zeros((4, 4), np.float32))))
    add_labels(lake, {("a", 1, 1): 1, ("a", 1, 2): 1}, annotator="eve")
    with pytest.raises(DataError, match=r"float32 \(4, 4\) and uint8 \(8, 8\)"):
        labelled_set(lake)
