"""What a call costs in energy, where the board has a meter: what is drawn at rest is subtracted."""

from __future__ import annotations

import time
from collections.abc import Callable

from edgeloop_bench.meters import Meter
from edgeloop_bench.result import Energy

__all__ = ["draw_at_rest", "measure_energy"]

LOOK_NS = 20_000_000
"""Between two looks at the meter: those that tell power average over about as long."""


def draw_at_rest(
    meter: Meter, seconds: float = 1.0, *, sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> float:  # fmt: skip
    """The watts that the meter sees while this process sleeps; others' work is in them."""
    start_ns, start_j = clock(), meter.joules()
    while clock() - start_ns < seconds * 1e9:
        sleep(LOOK_NS / 1e9)
    return (meter.joules() - start_j) / ((clock() - start_ns) / 1e9)


def measure_energy(
    call: Callable[[], object],
    meter: Meter,
    *,
    idle_w: float,
    seconds: float,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Energy:
    """Call for `seconds`, and divide what the meter saw beyond `idle_w` by the calls.

    Args:
        call: the model, warm.
        meter: counts all that lies behind it, whoever uses it.
        idle_w: what that draws at rest.
        seconds: of calls, at least.
        clock: monotonic nanoseconds.
    """
    start_ns, start_j = clock(), meter.joules()
    looked_ns, now, calls = start_ns, start_ns, 0
    while now - start_ns < seconds * 1e9:
        call()
        calls += 1
        now = clock()
        if now - looked_ns >= LOOK_NS:
            meter.joules()
            looked_ns = now
    joules = meter.joules() - start_j - idle_w * (now - start_ns) / 1e9
    return Energy(meter.source, meter.domain, joules * 1e6 / calls, idle_w)
