"""What leaves a full outbox, and what never does."""

from __future__ import annotations

import itertools
from pathlib import Path

from edgeloop.messages import ModelRef, ProfileMessage, decode_up
from edgeloop.outbox import Outbox
from edgeloop.profile import unpack_counts
from up_messages import event, profile, sample


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
