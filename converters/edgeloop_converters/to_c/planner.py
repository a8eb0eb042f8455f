"""Where each activation lies in the arena, planned before the code is written.

Tensors that are alive during the same operator lie apart; an operator's output may reach into an input that dies there,
as far as the operator's leads allow (see `overlap`). Tensors are placed one by one at the lowest address that
is free; the order decides how well that goes, so several orders are tried and the best one is improved by
exchanging pairs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edgeloop_converters.to_c.overlap import Leads

__all__ = ["Block", "Plan", "plan"]

EXCHANGES = 600


class Block(NamedTuple):
    """A tensor to place.

    Attributes:
        key: the tensor's index.
        size: in bytes.
        born: the operator that writes it; −1 for the model's inputs.
        dies: the last operator that reads it; one past the last for the model's outputs.
        leads: of the operator that writes it, over inputs that die there. Tensors that aren't listed lie apart.
        alignment: of its address.
    """

    key: int
    size: int
    born: int
    dies: int
    leads: Mapping[int, Leads]
    alignment: int = 1


class Plan(NamedTuple):
    """A plan.

    Attributes:
        offsets: the first byte of each tensor.
        arena_bytes: the end of the last one.
    """

    offsets: dict[int, int]
    arena_bytes: int


def plan(blocks: Sequence[Block], *, seed: int = 0) -> Plan:
    """Place all blocks in as small an arena as is found.

    Args:
        blocks: the tensors.
        seed: of the exchanges; the same seed gives the same plan.
    """
    if not blocks:
        return Plan({}, 0)
    gaps = {a.key: {b.key: gap(a, b) for b in blocks if b is not a and meet(a, b)} for a in blocks}
    rng = random.Random(seed)  # noqa: S311 - a search, no secret
    order, best = min(((o, place(o, gaps)) for o in orders(blocks)), key=lambda found: found[1].arena_bytes)
    least = max(block.size for block in blocks)
    for _ in range(EXCHANGES if len(blocks) > 1 else 0):
        if best.arena_bytes == least:
            break
        one, other = rng.sample(range(len(order)), 2)
        tried = list(order)
        tried[one], tried[other] = tried[other], tried[one]
        found = place(tried, gaps)
        if found.arena_bytes <= best.arena_bytes:
            order, best = tried, found
    return best


def orders(blocks: Sequence[Block]) -> Iterable[list[Block]]:
    """The orders that are tried: by size, by life, by both, and along the graph."""
    yield sorted(blocks, key=lambda b: (-b.size, b.born, b.key))
    yield sorted(blocks, key=lambda b: (b.born - b.dies, -b.size, b.key))
    yield sorted(blocks, key=lambda b: (b.size * (b.born - b.dies - 1), b.key))
    yield sorted(blocks, key=lambda b: (b.born, -b.size, b.key))
    yield sorted(blocks, key=lambda b: (-b.dies, -b.size, b.key))


def meet(a: Block, b: Block) -> bool:
    """Whether both are alive during the same operator."""
    return a.born <= b.dies and b.born <= a.dies


def gap(lower: Block, upper: Block) -> int:
    """How far `upper` must start behind `lower`, where it isn't to lie before it."""
    if upper.key in lower.leads:  # `lower` is written forwards, and follows the reading
        return min(lower.size, lower.leads[upper.key].forwards)
    if lower.key in upper.leads:  # `upper` is written backwards
        backwards = upper.leads[lower.key].backwards
        return lower.size if backwards is None else min(lower.size, lower.size + backwards - upper.size)
    return lower.size


def place(order: Sequence[Block], gaps: Mapping[int, Mapping[int, int]]) -> Plan:
    """Place the blocks one by one, each at the lowest free address."""
    offsets: dict[int, int] = {}
    end = 0
    for block in order:
        mine = gaps[block.key]
        # Between these it would come too close to what is placed already.
        taken = [(offsets[k] - mine[k], offsets[k] + gaps[k][block.key]) for k in mine if k in offsets]
        candidates = sorted({0, *(align(max(stop, 0), block.alignment) for _, stop in taken)})
        offsets[block.key] = next(c for c in candidates if not any(start < c < stop for start, stop in taken))
        end = max(end, offsets[block.key] + block.size)
    return Plan(offsets, end)


def align(address: int, to: int) -> int:
    """The next multiple of `to`."""
    return -(-address // to) * to
