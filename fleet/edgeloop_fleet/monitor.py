"""The monitor: reads the profiles of one deployed artifact as they come, and keeps its alarms.

It holds no state of its own that matters: from the profiles in the lake, in the order of their ingest, it comes to the
same alarms with the same ids, and writes to the `runs` table (kind `alarm`) only what isn't there yet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.errors import ConfigError
from edgeloop_fleet.incident import Alarm, Incidents, Judged, Rules
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.records import last_records, record
from edgeloop_fleet.rows import Row
from edgeloop_fleet.windows import Windower

__all__ = ["Monitor", "Report"]

# Ingest processes commit in another order than they stamp; a row this late is still seen.
_OVERLAP = timedelta(minutes=2)
_COLUMNS = ("device", "epoch", "seq", "model_version", "model_sha256", "n", "counts", "ingested")


@dataclass(frozen=True)
class Report:
    """What the monitor knows: all alarms of this version, oldest first, and all judged windows, in order."""

    alarms: tuple[Alarm, ...]
    series: tuple[Judged, ...]
    unusable_profiles: int

    @property
    def open(self) -> tuple[Alarm, ...]:
        """The alarms that are open."""
        return tuple(alarm for alarm in self.alarms if alarm.closed is None)


class Monitor:
    """Watches one artifact in the field.

    Args:
        lake: where the profiles are.
        artifact: whose; it must carry a baseline.
        rules: when to raise an alarm and when to close it.
        write: whether alarms and evaluations are written to the lake.

    Raises:
        ConfigError: the artifact has no baseline.
    """

    def __init__(self, lake: Lake, artifact: Artifact, *, rules: Rules | None = None, write: bool = True) -> None:
        manifest = artifact.manifest
        if manifest.baseline is None:
            raise ConfigError(
                f"{artifact.source}: it carries no baseline to hold profiles against: convert it with one"
            )
        self._lake, self._manifest, self._write = lake, manifest, write
        rules = rules or Rules()
        scope = f"{manifest.name}/{manifest.version}/{manifest.model.sha256}"
        self._scope = hashlib.sha256(scope.encode()).hexdigest()[:12]
        self._windower = Windower(manifest.baseline, rules.window_n)
        self._incidents = Incidents(manifest.baseline, scope, rules)
        self._series: list[Judged] = []
        self._taken: dict[tuple[str, int, int], datetime] = {}
        self._newest: datetime | None = None
        self._written: dict[str, tuple[str, tuple[str, ...]]] | None = None

    @property
    def report(self) -> Report:
        """As of the last evaluation."""
        alarms = sorted(self._incidents.alarms.values(), key=lambda alarm: alarm.opened)
        return Report(tuple(alarms), tuple(self._series), self._windower.unusable)

    def evaluate(self) -> Report:
        """Judge what has come since the last time. Raises `LakeError`."""
        judged = len(self._series)
        for row in self._new_rows():
            self._take(row)
        report = self.report
        if self._write:
            self._record_alarms(report)
            if len(self._series) > judged:
                self._record_evaluation(report)
        return report

    def _take(self, row: Row) -> None:
        if row["model_version"] != self._manifest.version or row["model_sha256"] != self._manifest.model.sha256:
            if row["model_version"] > self._manifest.version:
                self._incidents.leave(row["device"], row["ingested"].isoformat())
            return
        counts = np.asarray(row["counts"], dtype=np.int64)
        window = self._windower.add(row["device"], counts, row["n"], row["ingested"])
        if window is not None:
            self._series.append(self._incidents.judge(window))

    def _new_rows(self) -> list[Row]:
        where = f"model_name = '{self._manifest.name}'"
        if self._newest is not None:
            since = self._newest - _OVERLAP
            where += f" AND ingested >= TIMESTAMP '{since.isoformat()}'"
            self._taken = {key: when for key, when in self._taken.items() if when >= since}
        order = [(name, "ascending") for name in ("ingested", "device", "epoch", "seq")]
        rows: list[Row] = self._lake.read("profiles", _COLUMNS, where).sort_by(order).to_pylist()
        fresh = [row for row in rows if (row["device"], row["epoch"], row["seq"]) not in self._taken]
        for row in fresh:
            self._taken[row["device"], row["epoch"], row["seq"]] = row["ingested"]
            self._newest = max(row["ingested"], self._newest or row["ingested"])
        return fresh

    def _record_alarms(self, report: Report) -> None:
        if self._written is None:
            known = last_records(self._lake, "alarm")
            self._written = {key: _status(msgspec.json.decode(raw, type=Alarm)) for key, (_, raw) in known.items()}
        for alarm in report.alarms:
            if self._written.get(alarm.id) != _status(alarm):
                record(self._lake, "alarm", alarm.id, _status(alarm)[0], alarm)
                self._written[alarm.id] = _status(alarm)

    def _record_evaluation(self, report: Report) -> None:
        detail = {
            "name": self._manifest.name,
            "version": self._manifest.version,
            "windows": len(report.series),
            "unusable_profiles": report.unusable_profiles,
        }
        record(self._lake, "evaluation", self._scope, "drift" if report.open else "quiet", detail)


def _status(alarm: Alarm) -> tuple[str, tuple[str, ...]]:
    """What of an alarm makes a new row when it changes: the evidence alone does not."""
    return "open" if alarm.closed is None else "closed", alarm.devices
