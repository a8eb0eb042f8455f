"""An outbox on a disk that is full, fails or can't be written."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeloop.errors import StorageError
from edgeloop.fallback import open_outbox
from edgeloop.messages import Ack, decode_up
from edgeloop.outbox import Outbox
from up_messages import event, sample


def put_for_ever(outbox: Outbox) -> None:
    while True:
        outbox.put([event("e", "y" * 900) for _ in range(10)])


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk without the right to mount: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_keeps_what_is_there_and_is_survived(small_disk: Path) -> None:
    with Outbox(small_disk / "o.sqlite") as outbox:
        outbox.put([event("e", "x" * 900) for _ in range(20)])
        filler = small_disk / "filler"
        fill(filler)
        with pytest.raises(StorageError, match="make room"):
            put_for_ever(outbox)
        stored = outbox.counters().pending
        assert not outbox.offer([event("held", "z" * 1000)])
        assert outbox.counters().held == 1
        assert len(outbox.pending(limit=1000)) == outbox.counters().pending == stored
        outbox.acknowledge(Ack(outbox.epoch, ((1, 10),)))
        assert outbox.counters().pending == stored - 10
        filler.unlink()
        assert outbox.offer([event("last")])
        words = [decode_up("event", "d", row.payload).event for row in outbox.pending(limit=1000)]
        assert words[-2:] == ["held", "last"]
        assert (outbox.counters().held, outbox.counters().lost) == (0, 0)


def test_what_can_not_be_held_is_lost_by_value_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        full = pytest.MonkeyPatch()
        full.setattr(outbox, "_insert", lambda _: (_ for _ in ()).throw(sqlite3.OperationalError("disk is full")))
        outbox.offer([event()] * 250)
        outbox.offer([sample(i) for i in range(20)], [float(i) for i in range(20)])
        full.undo()
        assert outbox.offer([event("last")])
        rows = outbox.pending(limit=1000)
        assert [row.kind for row in rows] == ["event"] * 250 + ["sample"] * 6 + ["event"]
        assert outbox.counters().lost == 14


def test_what_is_held_is_bounded_in_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        with monkeypatch.context() as full:
            full.setattr(outbox, "_insert", lambda _: (_ for _ in ()).throw(sqlite3.OperationalError("disk is full")))
            outbox.offer([event("kept"), *(sample(i, size=3 << 20) for i in range(4))], [None, 1.0, 4.0, 2.0, 3.0])
            assert (outbox.counters().held, outbox.counters().lost) == (3, 2)
        assert outbox.offer([])
        assert [row.seq for row in outbox.pending(max_bytes=1 << 30)] == [1, 2, 3]


def test_a_folder_that_can_t_be_written_gives_one_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outbox, kind = open_outbox(tmp_path / "file/outbox.sqlite", max_bytes=1 << 20)
    with outbox:
        assert kind == "memory"
        outbox.put([event()])
        assert outbox.acknowledge(Ack(outbox.epoch, ((1, 1),))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_waits_on_a_disk_that_has_become_full_can_still_be_sent(small_disk: Path) -> None:
    with Outbox(small_disk / "o.sqlite") as outbox:
        outbox.put([event() for _ in range(20)])
    fill(small_disk / "filler")
    outbox, kind = open_outbox(small_disk / "o.sqlite", max_bytes=1 << 20)
    with outbox:
        assert kind == "disk"
        (row, *_) = rows = outbox.pending()
        assert len(rows) == 20
        assert outbox.acknowledge(Ack(row.epoch, ((1, 20),))) == 20


def test_a_disk_that_is_full_from_the_start_gives_one_in_memory(small_disk: Path) -> None:
    fill(small_disk / "filler")
    outbox, kind = open_outbox(small_disk / "o.sqlite", max_bytes=1 << 20)
    outbox.close()
    assert kind == "memory"
