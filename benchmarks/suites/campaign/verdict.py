"""What the lake has, held against what the devices have put: nothing lost, nothing twice, nothing changed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeloop_fleet.lake import Lake

__all__ = ["Verdict", "judge"]

_TABLES = ("events", "profiles", "samples")


@dataclass(frozen=True)
class Verdict:
    """Counts of messages.

    Args:
        put: that the devices' outboxes have taken, by their own counters.
        stored: rows in the lake.
        lost: that were put and aren't in the lake.
        duplicated: rows of an identity that has another row.
        changed: samples whose bytes aren't those that were put.
        quarantined: rows in the quarantine.
        unknown: identities in the lake that no device can have put.
    """

    put: int
    stored: int
    lost: int
    duplicated: int
    changed: int
    quarantined: int
    unknown: int

    @property
    def holds(self) -> bool:
        """Whether there is nothing wrong."""
        return not (self.lost or self.duplicated or self.changed or self.quarantined or self.unknown)


def judge(lake: Lake, devices: dict[str, Path]) -> Verdict:
    """Hold the lake against each device's ledger and counters.

    A device that was killed between its put and the line in its ledger has put more than the ledger says: its counters
    tell how many, and that sequences count without gaps shows what is missing.
    """
    identities: Counter[tuple[str, int, int]] = Counter()
    for table in _TABLES:
        rows = lake.read(table, ["device", "epoch", "seq"])
        identities.update(zip(*(rows[name].to_pylist() for name in ("device", "epoch", "seq")), strict=True))
    stored: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for device, epoch, seq in identities:
        stored[device][epoch].add(seq)
    put = lost = unknown = 0
    for device, folder in devices.items():
        own = json.loads((folder / "status").read_text())["put"]
        epochs = stored.pop(device, {})
        ledger = set(_ledger(folder / "ledger"))
        missing = sum(seq not in epochs.get(epoch, ()) for epoch, seq in ledger)
        gaps = sum(max(seqs) - len(seqs) for seqs in epochs.values())
        have = sum(map(len, epochs.values()))
        put += own
        lost += max(missing, gaps, own - have)
        unknown += max(0, have - own)
    unknown += sum(len(seqs) for epochs in stored.values() for seqs in epochs.values())
    samples = lake.read("samples", ["ref", "input_data"])
    changed = sum(
        hashlib.sha256(data).hexdigest() != ref
        for ref, data in zip(samples["ref"].to_pylist(), samples["input_data"].to_pylist(), strict=True)
    )
    return Verdict(
        put=put,
        stored=identities.total(),
        lost=lost,
        duplicated=identities.total() - len(identities),
        changed=changed,
        quarantined=lake.read("quarantine", ["reason"]).num_rows,
        unknown=unknown,
    )


def _ledger(path: Path) -> Iterator[tuple[int, int]]:
    for line in path.read_text().splitlines():
        epoch, first, last = map(int, line.split())
        for seq in range(first, last + 1):
            yield epoch, seq
