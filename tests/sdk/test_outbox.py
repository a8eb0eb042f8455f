from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop.errors import ConfigError, StorageError
from edgeloop.fallback import open_outbox
from edgeloop.messages import Ack, EventMessage, ModelRef, ProfileMessage, SampleMessage, decode_up, pack_array
from edgeloop.outbox import Outbox
from edgeloop.profile import pack_counts, unpack_counts

MODEL = ModelRef("m", 1, "a" * 64)


def event(word: str = "x", text: str = "") -> EventMessage:
    return EventMessage(device="d", time_s=1.0, event=word, detail={"text": text})


def test_rows_wait_until_the_centre_acknowledges_them(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        assert outbox.put([event("a"), event("b"), event("c")]) == [1, 2, 3]
        assert outbox.acknowledge(Ack(outbox.epoch, ((1, 1), (3, 3)))) == 2
        (row,) = outbox.pending()
        message = decode_up("event", "d", row.payload)
        assert (message.event, message.epoch, message.seq) == ("b", outbox.epoch, 2)


def test_an_acknowledgement_of_another_epoch_changes_nothing(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        outbox.put([event()])
        assert outbox.acknowledge(Ack(outbox.epoch - 1, ((1, 1),))) == 0
        assert outbox.acknowledge(Ack(outbox.epoch, ((2, 99),))) == 0
        assert len(outbox.pending()) == 1


def test_what_waits_survives_a_restart_under_its_old_identity(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        outbox.put([event("old")])
        old = outbox.epoch
    with Outbox(tmp_path / "o.sqlite") as outbox:
        assert outbox.epoch > old
        outbox.put([event("new")])
        assert [(r.epoch, r.seq) for r in outbox.pending()] == [(old, 1), (outbox.epoch, 1)]
        counters = outbox.counters()
        assert (counters.put, counters.pending, counters.acknowledged, counters.dropped) == (2, 2, 0, 0)


def test_the_epoch_grows_even_if_the_clock_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        old = outbox.epoch
    monkeypatch.setattr("time.time", lambda: 0.0)
    with Outbox(tmp_path / "o.sqlite") as outbox:
        assert outbox.epoch == old + 1


def test_a_full_outbox_drops_the_least_valuable_samples_and_never_events(tmp_path: Path) -> None:
    size = 1000
    with Outbox(tmp_path / "o.sqlite", max_bytes=6 * size) as outbox:
        outbox.put([event("event", "x" * size)] * 2)
        outbox.put([event("sample", "x" * size)] * 6, values=[0.1, 0.9, 0.2, 0.8, 0.3, 0.7])
        assert [r.seq for r in outbox.pending()] == [1, 2, 4, 6, 8]  # the two events, and the three best
        counters = outbox.counters()
        assert counters.dropped == 3
        assert counters.put == counters.acknowledged + counters.dropped + counters.pending
        assert counters.pending_bytes == sum(len(r.payload) for r in outbox.pending())
        outbox.put([event("event", "x" * size)] * 9)
        assert outbox.counters().pending == 11


def test_pending_pages_through_the_queue(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        outbox.put([event() for _ in range(10)])
        first = outbox.pending(limit=4)
        assert [r.seq for r in outbox.pending(first[-1].id, limit=4)] == [5, 6, 7, 8]


def test_a_file_that_is_no_database_is_set_aside_and_a_fresh_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with Outbox(path) as outbox:
        assert outbox.put([event()]) == [1]
        assert outbox.counters().set_aside == 1
    assert (tmp_path / "o.sqlite.damaged").read_bytes().startswith(b"not a database")


def test_two_processes_can_not_hold_one_outbox(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite"), pytest.raises(ConfigError, match="another process"):
        Outbox(tmp_path / "o.sqlite")
    Outbox(tmp_path / "o.sqlite").close()


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


def sample(value: int = 0, size: int = 1000) -> SampleMessage:
    noise = np.random.default_rng(value).integers(0, 256, size, dtype=np.uint8)
    output = pack_array(np.zeros(2, dtype=np.float32))
    return SampleMessage(
        device="d", time_s=1, model=MODEL, ref="", reason="novel", probability=1, input=pack_array(noise), output=output
    )


def profile(minute: int, n: int = 10, model: ModelRef = MODEL) -> ProfileMessage:
    counts = pack_counts(np.full(200, n, dtype=np.int64))
    return ProfileMessage(
        device="d", time_s=0, model=model, start_s=60.0 * minute, end_s=60.0 * minute + 60, n=n, counts=counts
    )


def profiles(outbox: Outbox) -> list[ProfileMessage]:
    return [
        decode_up("profile", "d", row.payload) for row in outbox.pending(limit=10**6, max_bytes=1 << 30)
        if row.kind == "profile"
    ]  # fmt: skip


def test_profiles_of_a_full_outbox_are_merged_and_none_is_lost(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite", max_rows=50) as outbox:
        outbox.put([event("kept")])
        for minute in range(300):
            outbox.put([profile(minute)])
        counters = outbox.counters()
        found = profiles(outbox)
        assert counters.pending <= 50
        assert counters.put == 301 == counters.merged + counters.pending
        assert counters.pending_bytes == sum(len(r.payload) for r in outbox.pending(limit=1000))
        assert sum(p.n for p in found) == 3000
        assert sum(unpack_counts(p.counts) for p in found).tolist() == [3000] * 200
        assert found[0].start_s == 0
        assert all(a.end_s == b.start_s for a, b in itertools.pairwise(found))
        assert max(p.end_s - p.start_s for p in found) <= 16 * 60  # evenly: 6 minutes would be the least there could be


def test_a_profile_that_may_have_been_sent_is_never_merged(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    with Outbox(path, max_rows=10) as outbox:
        outbox.put([profile(minute) for minute in range(10)])
        sent = outbox.pending()
    with Outbox(path, max_rows=10) as outbox:
        outbox.put([profile(minute) for minute in range(10, 400)])
        assert outbox.pending()[:10] == sent
        assert sum(p.n for p in profiles(outbox)) == 4000


def test_profiles_of_two_models_are_not_merged_with_each_other(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite", max_rows=4) as outbox:
        outbox.put([profile(i, model=ModelRef("m", i % 2, "a" * 64)) for i in range(12)])
        assert outbox.counters().pending == 12


def test_samples_go_before_profiles_are_merged(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite", max_bytes=40_000) as outbox:
        outbox.put([sample(i) for i in range(40)], [float(i) for i in range(40)])
        outbox.put([profile(i) for i in range(40)])
        counters = outbox.counters()
        assert counters.merged == 0
        assert counters.pending_bytes <= 40_000
        assert counters.dropped > 0
        kept = [r.seq for r in outbox.pending() if r.kind == "sample"]
        assert kept == list(range(41 - len(kept), 41))


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


def test_what_the_hook_withholds_or_fails_on_never_reaches_the_disk(tmp_path: Path) -> None:
    def redact(message):
        if isinstance(message, SampleMessage):
            return msgspec.structs.replace(message, ref="hidden")
        if message.event == "secret":
            return None
        if message.event == "trouble":
            raise RuntimeError("no")
        return "not a message" if message.event == "nonsense" else message

    with Outbox(tmp_path / "o.sqlite", redact=redact) as outbox:
        outbox.put([event("secret"), event("fine"), event("trouble"), event("nonsense"), sample()])
        rows = outbox.pending()
        assert [row.kind for row in rows] == ["event", "sample"]
        assert decode_up("sample", "d", rows[1].payload).ref == "hidden"
        assert outbox.counters().withheld == 3


def test_a_sample_longer_than_any_message_may_be_is_counted(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        assert outbox.put([sample(size=9 << 20), event()]) == [1]
        assert outbox.counters().oversized == 1


def test_threads_may_share_it(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        threads = [threading.Thread(target=lambda: [outbox.put([event()]) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [r.seq for r in outbox.pending()] == list(range(1, 81))


def test_what_put_returned_for_survives_sigkill(tmp_path: Path) -> None:
    script = f"""
import sys
from edgeloop.messages import EventMessage
from edgeloop.outbox import Outbox
outbox = Outbox({str(tmp_path / "o.sqlite")!r})
while True:
    print(outbox.put([EventMessage(device="d", time_s=0, event="e")])[0], flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as out:
        seen = [int(next(out)) for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        seen += [int(line) for line in out if line.endswith("\n")]
    process.wait()
    with Outbox(tmp_path / "o.sqlite") as outbox:
        assert [r.seq for r in outbox.pending(limit=10**6)][: len(seen)] == seen


class TestOpening:
    def test_a_damaged_file_is_no_reason_for_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "outbox.sqlite"
        path.write_bytes(b"no database at all" * 1000)
        outbox, kind = open_outbox(path, max_bytes=1 << 20)
        outbox.close()
        assert kind == "disk"

    def test_a_file_that_was_closed_in_order_and_is_damaged_inside_is_set_aside(self, tmp_path: Path) -> None:
        path = tmp_path / "outbox.sqlite"
        with Outbox(path) as outbox:
            outbox.put([event("e", "x" * 900) for _ in range(200)])
        raw = bytearray(path.read_bytes())
        raw[4096 : len(raw) // 2] = b"\xff" * (len(raw) // 2 - 4096)
        path.write_bytes(raw)
        with Outbox(path) as outbox:
            assert outbox.put([event()]) == [1]
            assert outbox.counters().set_aside == 1

    def test_a_folder_that_can_t_be_written_gives_one_in_memory(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        outbox, kind = open_outbox(tmp_path / "file/outbox.sqlite", max_bytes=1 << 20)
        with outbox:
            assert kind == "memory"
            outbox.put([event()])
            assert outbox.acknowledge(Ack(outbox.epoch, ((1, 1),))) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_what_waits_on_a_disk_that_has_become_full_can_still_be_sent(self, small_disk: Path) -> None:
        with Outbox(small_disk / "o.sqlite") as outbox:
            outbox.put([event() for _ in range(20)])
        fill(small_disk / "filler")
        outbox, kind = open_outbox(small_disk / "o.sqlite", max_bytes=1 << 20)
        with outbox:
            assert kind == "disk"
            (row, *_) = rows = outbox.pending()
            assert len(rows) == 20
            assert outbox.acknowledge(Ack(row.epoch, ((1, 20),))) == 20

    def test_a_disk_that_is_full_from_the_start_gives_one_in_memory(self, small_disk: Path) -> None:
        fill(small_disk / "filler")
        outbox, kind = open_outbox(small_disk / "o.sqlite", max_bytes=1 << 20)
        outbox.close()
        assert kind == "memory"

    def test_one_that_another_process_holds_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "outbox.sqlite"
        Outbox(path).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StorageError, match="locked: another program"):
                open_outbox(path, max_bytes=1 << 20)
        assert not Path(f"{path}.damaged").exists()

    def test_a_transaction_that_fails_leaves_the_next_one_free(self, tmp_path: Path) -> None:
        with Outbox(tmp_path / "outbox.sqlite") as outbox:
            pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
            outbox._db.execute(f"PRAGMA max_page_count={pages + 4}")
            with pytest.raises(StorageError, match="full"):
                outbox.put([event()] * 5000)
            before = outbox.counters()
            outbox._db.execute("PRAGMA max_page_count=100000")
            (seq,) = outbox.put([event()])
            assert outbox.counters().put == before.put + 1 == seq
