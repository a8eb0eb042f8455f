"""The queue on disk: what goes in, waits, is acknowledged and survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edgeloop.errors import ConfigError, StorageError
from edgeloop.fallback import open_outbox
from edgeloop.messages import Ack, SampleMessage, decode_up
from edgeloop.outbox import Outbox
from up_messages import event, sample


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


def test_pending_pages_through_the_queue(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite") as outbox:
        outbox.put([event() for _ in range(10)])
        first = outbox.pending(limit=4)
        assert [r.seq for r in outbox.pending(first[-1].id, limit=4)] == [5, 6, 7, 8]


def test_two_processes_can_not_hold_one_outbox(tmp_path: Path) -> None:
    with Outbox(tmp_path / "o.sqlite"), pytest.raises(ConfigError, match="another process"):
        Outbox(tmp_path / "o.sqlite")
    Outbox(tmp_path / "o.sqlite").close()


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


def test_one_that_another_process_holds_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    Outbox(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="locked: another program"):
            open_outbox(path, max_bytes=1 << 20)
    assert not Path(f"{path}.damaged").exists()


def test_a_transaction_that_fails_leaves_the_next_one_free(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
        outbox._db.execute(f"PRAGMA max_page_count={pages + 4}")
        with pytest.raises(StorageError, match="full"):
            outbox.put([event()] * 5000)
        before = outbox.counters()
        outbox._db.execute("PRAGMA max_page_count=100000")
        (seq,) = outbox.put([event()])
        assert outbox.counters().put == before.put + 1 == seq
