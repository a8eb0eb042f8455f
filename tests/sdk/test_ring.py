"""The ring holds the newest rows, whatever is appended, taken and made shorter in between."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.ring import Ring, SampleForm

FORM = SampleForm(np.dtype(np.uint16), (1,))

steps = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 30)),
    st.tuples(st.just("expect"), st.integers(1, 3000)),
    st.tuples(st.just("take"), st.just(0)),
)


@given(memory_bytes=st.integers(1, 12_000), todo=st.lists(steps, max_size=30))
def test_what_is_taken_are_the_newest_rows_in_their_order_and_the_rest_is_counted(
    memory_bytes: int, todo: list[tuple[str, int]]
) -> None:
    ring = Ring(memory_bytes, 4, lambda stored: stored.astype(np.float32), (np.dtype(np.uint8), (1,)))
    size = max(4, memory_bytes // 304)
    came = taken = lost = 0
    for step, count in (*todo, ("take", 0)):
        if step == "append":
            for _ in range(count):
                ring.append((np.uint16(came).tobytes(), FORM, bytes([came % 256]), str(came), 1000 * came))
                came += 1
        elif step == "expect":
            ring.expect(count)
            size = min(size, max(4, memory_bytes // (count + 300)))
            lost = max(lost, came - size)
        else:
            first = max(taken, lost, came - size)
            seen = ring.take()
            assert seen.refs == [str(n) for n in range(first, came)]
            assert seen.inputs.reshape(-1).tolist() == list(range(first, came))
            assert seen.outputs.reshape(-1).tolist() == [n % 256 for n in range(first, came)]
            assert seen.latency_us.tolist() == list(range(first, came))
            if first < came:
                assert seen.overwritten == first - taken
                taken = came
        assert ring.is_half_full == (2 * (came - taken) >= size)
