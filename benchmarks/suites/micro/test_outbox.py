"""The outbox: messages put durably, beside bare sqlite3 that inserts ready bytes with the same pragmas and commits."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from edgeloop.messages import ModelRef, SampleMessage, encode_up, pack_array
from edgeloop.outbox import Outbox

MODEL = ModelRef("bench", 1, "b" * 64)
RNG = np.random.default_rng(0)


def sample() -> SampleMessage:
    noise = RNG.integers(0, 256, 710, dtype=np.uint8)
    return SampleMessage(
        device="bench",
        epoch=1,
        seq=0,
        time_s=0,
        model=MODEL,
        ref="frame",
        reason="audit",
        probability=1,
        input=pack_array(noise),
        output=pack_array(np.zeros(4, dtype=np.float32)),
    )


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(1, marks=pytest.mark.benchmark(group="outbox: put 1 message of 1 kB")),
        pytest.param(32, marks=pytest.mark.benchmark(group="outbox: put 32 messages of 1 kB")),
    ],
)
def test_putting(beside, tmp_path, rows: int) -> None:
    messages = [sample() for _ in range(rows)]
    payloads = [encode_up(message) for message in messages]
    numbers = itertools.count()
    # A full outbox is thinned, which is another matter; it is large enough for the whole run.
    with (
        Outbox(tmp_path / "outbox.sqlite", max_bytes=1 << 40, max_rows=1 << 40) as outbox,
        closing(sqlite3.connect(tmp_path / "bare.sqlite", isolation_level=None)) as db,
    ):
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, payload BLOB NOT NULL) STRICT")

        def bare() -> None:
            db.execute("BEGIN")
            db.executemany("INSERT INTO rows (seq, payload) VALUES (?, ?)", [(next(numbers), p) for p in payloads])
            db.execute("COMMIT")

        beside(lambda: outbox.put(messages), bare, f"sqlite3 {sqlite3.sqlite_version}, ready bytes", waits=True)
