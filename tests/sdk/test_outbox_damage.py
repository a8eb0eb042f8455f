"""An outbox whose file the disk has damaged."""

from __future__ import annotations

from pathlib import Path

from edgeloop.fallback import open_outbox
from edgeloop.messages import decode_up
from edgeloop.outbox import Outbox
from up_messages import event


def test_a_file_that_is_no_database_is_set_aside_and_a_fresh_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with Outbox(path) as outbox:
        assert outbox.put([event()]) == [1]
        assert outbox.counters().set_aside == 1
    assert (tmp_path / "o.sqlite.damaged").read_bytes().startswith(b"not a database")


def damage(path: Path, where: bytes, *, times: int = 1) -> None:
    """Flip a bit of each of the first `times` places where the file has `where`."""
    raw, start = bytearray(path.read_bytes()), 0
    for _ in range(times):
        start = raw.index(where, start)
        raw[start + 2] ^= 1
        start += len(where)
    path.write_bytes(raw)


def test_a_row_whose_bits_have_flipped_is_not_sent_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    with Outbox(path) as outbox:
        outbox.put([event("e", f"text number {i} of this outbox") for i in range(5)])
    damage(path, b"number 3 of")
    with Outbox(path) as outbox:
        assert [row.seq for row in outbox.pending()] == [1, 2, 3, 5]
        counters = outbox.counters()
        assert (counters.damaged, counters.pending, counters.set_aside) == (1, 4, 0)
        assert counters.pending_bytes == sum(len(row.payload) for row in outbox.pending())


def test_a_damaged_file_is_set_aside_while_it_is_in_use_and_its_good_rows_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    with Outbox(path) as outbox:
        outbox.put([event("e", "x" * 900) for _ in range(200)])
        epoch = outbox.epoch
    with Outbox(path) as outbox:
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2 : len(raw) // 2 + 4096 * 3] = b"\xff" * 4096 * 3
        path.write_bytes(raw)
        before = outbox.epoch
        outbox.put([event("new")])
        rows = outbox.pending(limit=1000)
        counters = outbox.counters()
        assert outbox.epoch == before
        assert (rows[-1].epoch, rows[-1].seq) == (before, 1)
        assert counters.put == counters.damaged + counters.pending == 201
        if counters.set_aside:  # SQLite may have had the pages in its cache
            assert 0 < counters.damaged < 200
        saved = [row.seq for row in rows if row.epoch == epoch]
        assert saved == sorted(set(saved))
        for row in rows:
            decode_up("event", "d", row.payload)


def test_a_damaged_file_is_no_reason_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"no database at all" * 1000)
    outbox, kind = open_outbox(path, max_bytes=1 << 20)
    outbox.close()
    assert kind == "disk"


def test_a_file_that_was_closed_in_order_and_is_damaged_inside_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with Outbox(path) as outbox:
        outbox.put([event("e", "x" * 900) for _ in range(200)])
    raw = bytearray(path.read_bytes())
    raw[4096 : len(raw) // 2] = b"\xff" * (len(raw) // 2 - 4096)
    path.write_bytes(raw)
    with Outbox(path) as outbox:
        assert outbox.put([event()]) == [1]
        assert outbox.counters().set_aside == 1
