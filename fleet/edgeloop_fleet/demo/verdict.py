"""What the demo measured, and whether the loop closed. Every figure comes from this run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.conversion import Converted
from edgeloop_fleet.demo.camera import Lens, frame_of
from edgeloop_fleet.demo.devices import Line
from edgeloop_fleet.demo.digits import Pool
from edgeloop_fleet.incident import Alarm, Judged

__all__ = ["Accuracy", "Check", "Ledger", "Moments", "Story", "checks", "measure_accuracy", "reconcile"]


@dataclass(frozen=True)
class Accuracy:
    """The share of frames that a device got right in each part of the demo, and of how many frames.

    `during` is with the old model through the lens at its worst; `after` with the new model through the same lens.
    """

    before: float
    during: float
    after: float
    n: tuple[int, int, int]


@dataclass(frozen=True)
class Ledger:
    """A device's messages: what its outbox says it put, against the distinct identities that the lake holds."""

    sent: int
    stored: int
    lost: int
    duplicates: int


@dataclass(frozen=True)
class Moments:
    """When what happened, in seconds since 1970."""

    start: float
    blurred: float
    worn: float
    alarm: float
    deployed: float
    switched: float
    end: float


@dataclass(frozen=True)
class Story:
    """All that the demo measured.

    `truth` (1797,) holds the digit of every image; `images` (n, 8, 8, 1) are some that the cameras looked at.
    """

    seed: int
    bad: tuple[str, ...]
    first: Converted
    second: Converted
    labels: int
    alarms: tuple[Alarm, ...]
    series: tuple[Judged, ...]
    accuracy: dict[str, Accuracy]
    lines: dict[str, list[Line]]
    truth: NDArray[np.int64]
    images: NDArray[np.float32]
    switches: dict[str, int]
    ledger: dict[str, Ledger]
    moments: Moments

    def mean(self, part: str) -> float:
        """The mean accuracy of the devices with a bad lens, in `before`, `during` or `after`."""
        return float(np.mean([getattr(self.accuracy[name], part) for name in self.bad]))

    @property
    def recovered(self) -> float:
        """The share of the lost accuracy that came back."""
        lost = self.mean("before") - self.mean("during")
        return (self.mean("after") - self.mean("during")) / lost if lost > 0 else float("nan")


@dataclass(frozen=True)
class Check:
    """One promise of the demo: what it is, whether it held, and the figures."""

    name: str
    holds: bool
    said: str


def checks(story: Story) -> tuple[Check, ...]:
    """The demo's promises; the exit code is 0 only if all hold."""
    named = sorted({name for alarm in story.alarms for name in alarm.devices})
    ledger = list(story.ledger.values())
    sent, stored = sum(row.sent for row in ledger), sum(row.stored for row in ledger)
    lost, duplicates = sum(row.lost for row in ledger), sum(row.duplicates for row in ledger)
    return (
        Check(
            "one alarm, on the right devices",
            len(story.alarms) == 1 and named == sorted(story.bad),
            f"alarms: {len(story.alarms)}, naming {', '.join(named) or 'nobody'}; bad: {', '.join(story.bad)}",
        ),
        Check(
            "every device switched, without stopping",
            all(count == 1 for count in story.switches.values()),
            ", ".join(f"{name} {count}×" for name, count in story.switches.items()),
        ),
        Check(
            "at least half of what was lost came back",
            story.recovered >= 0.5,
            f"{story.mean('before'):.1%} → {story.mean('during'):.1%} → {story.mean('after'):.1%}: "
            f"{story.recovered:.0%} of the loss",
        ),
        Check(
            "sent = stored, nothing lost, nothing twice",
            sent == stored and lost == duplicates == 0,
            f"{sent:,} sent, {stored:,} stored, {lost} lost, {duplicates} duplicates",
        ),
    )


def measure_accuracy(lines: Sequence[Line], truth: NDArray[np.int64], worst: Lens) -> Accuracy:
    """A device's accuracy, from what it wrote itself. `worst` is its lens at its worst."""

    def share(pool: Pool, lens: Lens, version: int) -> tuple[float, int]:
        right = [
            truth[frame_of(line.ref)[2]] == line.index
            for line in lines
            if line.version == version and frame_of(line.ref)[:2] == (pool, lens)
        ]
        return (float(np.mean(right)) if right else float("nan")), len(right)

    parts = share("before", "good", 1), share("during", worst, 1), share("after", worst, 2)
    before, during, after = parts
    return Accuracy(before[0], during[0], after[0], n=(before[1], during[1], after[1]))


def reconcile(epoch: int, put: int, stored: Sequence[tuple[int, int]]) -> Ledger:
    """Hold a device's outbox against the lake.

    Args:
        epoch: the device's boot epoch.
        put: how many messages it has put into its outbox: they are numbered 1 … put.
        stored: (epoch, sequence) of every row of this device in the lake, duplicates included.
    """
    counted = Counter(stored)
    wanted = {(epoch, seq) for seq in range(1, put + 1)}
    return Ledger(
        sent=put,
        stored=len(counted),
        lost=len(wanted - counted.keys()),
        duplicates=sum(counted.values()) - len(counted),
    )
