"""The arena: nothing that is alive is overwritten, and the plan is close to the least that is possible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop_converters.to_c.overlap import NEVER, Leads, Window, lead_of_channels, lead_of_elements, lead_of_pixels
from edgeloop_converters.to_c.planner import Block, plan

CHAIN = [Block(i, size, i - 1, i, {i - 1: Leads(0, 0)} if i else {}) for i, size in enumerate((40, 100, 100, 10))]


@st.composite
def graphs(draw: st.DrawFn) -> list[Block]:
    blocks = []
    for key in range(draw(st.integers(1, 12))):
        born = draw(st.integers(-1, 6))
        dies = draw(st.integers(born, 7))
        dying = [b.key for b in blocks if b.dies == born and draw(st.booleans())]
        size = draw(st.integers(1, 60))
        leads = {k: Leads(draw(st.integers(0, size)), draw(st.none() | st.integers(0, size))) for k in dying}
        blocks.append(Block(key, size, born, dies, leads, draw(st.sampled_from([1, 1, 4]))))
    return blocks


@settings(max_examples=40)
@given(blocks=graphs())
def test_tensors_that_live_together_lie_apart_or_overlap_as_their_operator_allows(blocks: list[Block]) -> None:
    found = plan(blocks)
    for block in blocks:
        assert found.offsets[block.key] % block.alignment == 0
        assert found.offsets[block.key] + block.size <= found.arena_bytes
    for a, b in itertools.permutations(blocks, 2):
        if a.born > b.dies or b.born > a.dies:
            continue
        start_a, start_b = found.offsets[a.key], found.offsets[b.key]
        apart = start_a + a.size <= start_b or start_b + b.size <= start_a
        over = a.leads.get(b.key) or b.leads.get(a.key)
        if over is None:
            assert apart
        elif not apart:
            out, dying = (a, b) if b.key in a.leads else (b, a)
            start, below = found.offsets[out.key], found.offsets[dying.key]
            forwards = below - start >= over.forwards
            backwards = over.backwards is not None and start + out.size - below - dying.size >= over.backwards
            assert forwards or backwards


def test_a_chain_that_works_in_place_takes_its_largest_tensor() -> None:
    assert plan(CHAIN).arena_bytes == 100


def test_a_chain_without_overlap_takes_its_largest_neighbours() -> None:
    assert plan([b._replace(leads={}) for b in CHAIN]).arena_bytes == 200


def test_going_down_and_up_again_costs_one_lead_for_the_whole_chain() -> None:
    chain = [Block(i, 100, i - 1, i, {i - 1: Leads(10, 10)} if i else {}) for i in range(8)]
    assert plan(chain).arena_bytes == 110
    only_forwards = [b._replace(leads={k: Leads(v.forwards) for k, v in b.leads.items()}) for b in chain]
    assert plan(only_forwards).arena_bytes > 150


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan(CHAIN, seed=3) == plan(CHAIN, seed=3)


windows = st.builds(
    lambda size, taps, stride, dilation, before: (size, taps, stride, dilation, min(before, (taps - 1) * dilation)),
    st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2),
)  # fmt: skip


def axis(size: int, taps: int, stride: int, dilation: int, before: int) -> Window:
    span = (taps - 1) * dilation + 1
    return Window(size, max(1, (size + before - span) // stride + 1), taps, stride, dilation, before)


def reads_of(batches: int, y: Window, x: Window, depth: int, made: int, *, channelwise: bool) -> list[set[int]]:
    """The input elements that each output element is made from, in the order of memory."""
    reads = []
    for batch, oy, ox, c in np.ndindex(batches, y.made, x.made, made):
        channels = [c * depth // made] if channelwise else range(depth)
        inside = set()
        for ky, kx in np.ndindex(y.taps, x.taps):
            iy = oy * y.stride - y.before + ky * y.dilation
            ix = ox * x.stride - x.before + kx * x.dilation
            if 0 <= iy < y.size and 0 <= ix < x.size:
                inside |= {((batch * y.size + iy) * x.size + ix) * depth + channel for channel in channels}
        reads.append(inside)
    return reads


def least_lead(reads: list[set[int]]) -> int:
    """The least lead with which no output is written at or behind an input that is read later."""
    lead, needed = 0, NEVER
    for t in reversed(range(len(reads))):
        lead = max(lead, t + 1 - needed)
        needed = min([needed, *reads[t]])
    return lead


@given(
    y=windows, x=windows, depth=st.integers(1, 3), times=st.integers(1, 3), batches=st.integers(1, 2), by=st.booleans()
)
def test_the_leads_of_a_window_are_the_least_that_are_safe(
    y: tuple[int, ...], x: tuple[int, ...], depth: int, times: int, batches: int, by: bool
) -> None:
    rows, columns = axis(*y), axis(*x)
    made = depth * times if by else times
    reads = reads_of(batches, rows, columns, depth, made, channelwise=by)
    last = batches * rows.size * columns.size * depth - 1
    mirrored = [{last - i for i in r} for r in reversed(reads)]
    find = lead_of_channels if by else lead_of_pixels
    assert find(batches, rows, columns, depth, times) == Leads(least_lead(reads), least_lead(mirrored))


def test_the_lead_of_a_pointwise_convolution_is_one_pixel_but_for_its_last_channel() -> None:
    y = x = Window(5, 5, 1, 1, 1, 0)
    assert lead_of_pixels(1, y, x, 8, 8) == Leads(7, 7)


@pytest.mark.parametrize(("reads", "lead"), [([0, 1, 2], 0), ([NEVER, NEVER, 0, 1], 2), ([0, 0, 0], 2)])
def test_the_lead_of_moved_elements(reads: list[int], lead: int) -> None:
    assert lead_of_elements(np.array(reads)) == lead
