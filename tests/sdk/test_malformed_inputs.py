"""Whatever comes in, the answer is an answer or an `InputError` that says what was expected; the process stays up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from edgeloop.errors import InputError
from edgeloop.runtime import Runtime

X = np.array([0.0, 1.0, 0.0, 0.0], dtype=np.float32)
DTYPES = (
    "f2",
    "f4",
    "f8",
    ">f4",
    "i1",
    "u1",
    "i2",
    ">i8",
    "u8",
    "?",
    "c8",
    "c16",
    "U3",
    "S4",
    "O",
    "M8[s]",
    "m8[s]",
    "V4",
)
SHAPES = ((), (0,), (4,), (1, 4), (4, 1), (2, 2), (3,), (5,), (2, 4), (0, 4), (1, 1, 1, 4), (100_000,), (1,) * 12)
VALUES = (np.nan, np.inf, -np.inf, 3.4e38, -1e300, 1e-45, 0.0, -0.0, 1.5)
OTHERS = (
    None,
    "x",
    b"abcd",
    3,
    3.5,
    [1, 2, 3, 4],
    [[1], [1, 2]],
    {"x": X},
    {"y": X},
    {},
    [None] * 4,
    object(),
    ...,
    2**70,
)


def malformed(rng: np.random.Generator) -> object:
    """Something that may be wrong in shape, dtype, layout or value, or not be an array at all."""
    kind = rng.integers(10)
    if kind == 0:
        return OTHERS[rng.integers(len(OTHERS))]
    dtype, shape = np.dtype(DTYPES[rng.integers(len(DTYPES))]), SHAPES[rng.integers(len(SHAPES))]
    if kind < 5:
        shape = SHAPES[2]
    if dtype.kind in "fc":
        x = rng.normal(size=shape).astype(dtype)
        with np.errstate(over="ignore"):
            if x.size and kind % 2:
                x.reshape(-1)[rng.integers(x.size)] = np.array(VALUES[rng.integers(len(VALUES))]).astype(dtype)
    elif dtype.kind == "O":
        x = np.full(shape, OTHERS[rng.integers(4)], dtype=object)
    else:
        size = int(np.prod(shape)) * dtype.itemsize
        x = np.frombuffer(rng.integers(0, 2 if dtype.kind == "?" else 64, size, dtype=np.uint8).tobytes(), dtype)
        x = x.reshape(shape)
    return x[..., ::-1] if kind == 9 and x.ndim else x


def campaign(runtime: Runtime, count: int, seed: int) -> Counter[str]:
    """How often each call has answered, and how often it has refused."""
    rng, outcomes = np.random.default_rng(seed), Counter[str]()
    calls: dict[str, Callable[[object], object]] = {
        "run": lambda x: runtime.run(x).output,
        "run_stored": lambda x: runtime.run_stored(x).output,
        "run_batch": runtime.run_batch,
    }
    for _ in range(count):
        x = malformed(rng)
        for name, call in calls.items():
            try:
                output = call(x)
            except InputError as error:
                said_what = any(word in str(error) for word in ("takes", "NaN", "numbers"))
                outcomes[f"{name} refused" if said_what else str(error)] += 1
            else:
                assert isinstance(output, np.ndarray)
                outcomes[f"{name} answered"] += 1
    return outcomes


def check(runtime: Runtime, count: int) -> None:
    outcomes = campaign(runtime, count, seed=0)
    hows = {f"{name} {how}" for name in ("run", "run_stored", "run_batch") for how in ("answered", "refused")}
    assert set(outcomes) == hows
    assert sum(outcomes.values()) == 3 * count
    runtime.take_seen()
    assert runtime.run(X).index == 1


def test_two_thousand_malformed_inputs_are_answered_or_refused(make_artifact) -> None:
    check(Runtime(make_artifact()), 2000)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_malformed_inputs_are_answered_or_refused(make_artifact) -> None:
    check(Runtime(make_artifact()), 100_000)
