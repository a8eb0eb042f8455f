"""Reading damaged files is an error, and writing changes no answer."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.errors import ModelError
from edgeloop_converters.tflite import parse, run, serialize
from tflite_samples import Published, features


def test_rewritten_model_answers_the_same(published: Published) -> None:
    again = serialize(parse(published.kws_int8))
    x = features(4, 0)
    assert np.array_equal(run(again, x, raw=True)[0], run(published.kws_int8, x, raw=True)[0])


def test_rewriting_is_stable(published: Published) -> None:
    once = serialize(parse(published.ad_float))
    assert serialize(parse(once)) == once


def test_weights_are_aligned_to_16_bytes(published: Published) -> None:
    written = serialize(parse(published.kws_int8))
    for buffer in parse(written).buffers:
        if buffer.data is not None and len(buffer.data) > 100:
            assert written.index(buffer.data.tobytes()) % 16 == 0


@pytest.fixture(scope="module")
def small(published: Published) -> bytes:
    return published.kws_hybrid


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 0.999))
def test_truncated_model_is_an_error(small: bytes, share: float) -> None:
    with pytest.raises(ModelError):
        run(small[: int(len(small) * share)], features(1, 0))


@settings(max_examples=60, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_model_is_an_error_or_still_runs(small: bytes, flips: list[tuple[float, int]]) -> None:
    damaged = bytearray(small)
    for place, value in flips:
        damaged[8 + int(place * (len(small) - 8))] = value
    with contextlib.suppress(ModelError):
        run(bytes(damaged), features(1, 0))


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 64, b"PK\x03\x04" * 9, b"\x1c\x00\x00\x00TFL3"])
def test_what_is_no_model_is_an_error(garbage: bytes) -> None:
    with pytest.raises(ModelError):
        parse(garbage)


def tensor_index_past_the_end(tree: schema.ModelT) -> None:
    tree.subgraphs[0].operators[0].inputs = [999]


def buffer_index_past_the_end(tree: schema.ModelT) -> None:
    tree.subgraphs[0].tensors[3].buffer = 999


def operator_code_past_the_end(tree: schema.ModelT) -> None:
    tree.subgraphs[0].operators[2].opcodeIndex = 99


def shape_that_the_buffer_does_not_fill(tree: schema.ModelT) -> None:
    tree.subgraphs[0].tensors[17].shape = [64, 10, 4, 2]


def scales_that_do_not_fit_the_axis(tree: schema.ModelT) -> None:
    tree.subgraphs[0].tensors[17].quantization.scale = [0.5, 0.5]


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (tensor_index_past_the_end, "op 0 names a tensor"),
        (buffer_index_past_the_end, "names buffer 999"),
        (operator_code_past_the_end, "op 2 names operator code 99"),
        (shape_that_the_buffer_does_not_fill, "needs 5120 bytes"),
        (scales_that_do_not_fit_the_axis, "2 scales along axis 0"),
    ],
)
def test_index_that_leads_nowhere_is_named(published: Published, damage: object, named: str) -> None:
    tree = parse(published.kws_int8)
    damage(tree)  # type: ignore[operator]
    with pytest.raises(ModelError, match=named):
        parse(serialize(tree))


def test_weights_behind_the_flatbuffer_are_read_and_their_loss_is_an_error(published: Published) -> None:
    """Files past 2 GB keep weights behind the flatbuffer, by offset and size."""
    import flatbuffers

    tree = parse(published.kws_int8)
    weights = tree.buffers[18].data.tobytes()
    tree.buffers[18].data, tree.buffers[18].size = None, len(weights)
    place = 2**16  # behind all of this model's own 52 kB
    tree.buffers[18].offset = place
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    outside = bytes(builder.Output()).ljust(place, b"\0") + weights
    assert parse(outside).buffers[18].data.tobytes() == weights
    with pytest.raises(ModelError, match="lies past the end"):
        parse(outside[:-1])
