"""The centre's sub-commands. All heavy imports are inside the functions."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeloop.cli import Command, Result
from edgeloop.errors import ConfigError

if TYPE_CHECKING:
    from edgeloop_fleet.incident import Rules
    from edgeloop_fleet.lake import Lake
    from edgeloop_fleet.retention import Caretaker

__all__ = ["CENTRE", "DEPLOY", "DEVICES", "FORGET", "INGEST", "MONITOR"]

_NEEDS = ("deltalake", "pyarrow")
_QUIET_S = 2.0


def parse_shards(text: str) -> list[int]:
    """Read `0-7` or `0,3,8-15`. Raises `ConfigError`."""
    shards: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            shards |= set(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise ConfigError(f"shards {text!r}: give numbers and ranges, such as 0-7 or 0,3,8-15") from error
    return sorted(shards)


def _broker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", metavar="URL", help="(default: %(default)s)")


def _lake(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lake", required=True, metavar="DIR", help="the lake's folder, or s3://…")


def _rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alpha",
        type=float,
        default=0.01,
        help="the probability of any false alarm over a deployed version's life (default: %(default)s)",
    )
    parser.add_argument(
        "--psi-floor",
        type=float,
        default=0.2,
        help="a difference whose PSI may be below this wakes nobody (default: %(default)s)",
    )
    parser.add_argument("--window", type=int, default=50, metavar="N", help="samples a window (default: %(default)s)")


def _read_rules(args: argparse.Namespace) -> Rules:
    from edgeloop_fleet.incident import Rules

    if not 0 < args.alpha < 1 or args.window < 1:
        raise ConfigError("--alpha must be between 0 and 1, and --window at least 1")
    return Rules(alpha=args.alpha, psi_floor=args.psi_floor, window_n=args.window)


def _care(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tidy-every",
        type=float,
        default=1.0,
        metavar="HOURS",
        help="join the lake's small files this often (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-samples", type=int, metavar="DAYS", help="delete raw samples that are older (default: keep them)"
    )


def _caretaker(args: argparse.Namespace, lake: Lake) -> Caretaker:
    from edgeloop_fleet.retention import Caretaker

    if args.tidy_every <= 0 or (args.keep_samples is not None and args.keep_samples < 1):
        raise ConfigError("--tidy-every must be above 0, and --keep-samples at least 1")
    return Caretaker(lake, every_s=args.tidy_every * 3600, keep_days=args.keep_samples)


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, so that a service ends as orderly as by Ctrl-C."""
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def _configure_ingest(parser: argparse.ArgumentParser) -> None:
    _broker(parser)
    _lake(parser)
    parser.add_argument("--shards", default="0-15", help="whose devices, such as 0-7 (default: %(default)s)")
    _care(parser)
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--once", action="store_true", help="stop when nothing has come for 2 s")
    until.add_argument("--for", type=float, dest="for_s", metavar="SECONDS", help="stop after this long")


def _ingest(args: argparse.Namespace) -> Result:
    from edgeloop_fleet.ingest import Ingester
    from edgeloop_fleet.lake import Lake

    lake = Lake(args.lake)
    ingester = Ingester(args.broker, lake, shards=parse_shards(args.shards))
    caretaker = _caretaker(args, lake)
    with _until_signal() as stop, caretaker, ingester:
        ingester.wait_connected()
        end_s = None if args.for_s is None else time.monotonic() + args.for_s
        while not stop.wait(0.1):
            ingester.check()
            if (args.once and ingester.idle_s > _QUIET_S) or (end_s is not None and time.monotonic() > end_s):
                break
    counters = vars(ingester.counters)
    return Result(counters, ", ".join(f"{count} {name}" for name, count in counters.items()))


def _configure_centre(parser: argparse.ArgumentParser) -> None:
    _broker(parser)
    _lake(parser)
    _rules(parser)
    _care(parser)
    parser.add_argument("--artifact", metavar="FILE", help="the deployed artifact, to be watched for drift")
    parser.add_argument(
        "--every", type=float, default=5.0, dest="every_s", metavar="SECONDS", help="evaluate (default: %(default)s)"
    )


def _centre(args: argparse.Namespace) -> Result:
    from edgeloop.artifact import read_artifact
    from edgeloop_fleet.centre import Centre

    artifact = read_artifact(args.artifact) if args.artifact else None
    centre = Centre(args.lake, args.broker, artifact=artifact, rules=_read_rules(args), evaluate_s=args.every_s)
    told: set[tuple[str, int, bool]] = set()
    with _until_signal() as stop, _caretaker(args, centre.lake), centre:
        while not stop.wait(0.5):
            centre.check()
            report = centre.report
            for alarm in report.alarms if report else ():
                key = (alarm.id, len(alarm.devices), alarm.closed is not None)
                if key not in told:
                    told.add(key)
                    sys.stderr.write(_alarm_line(alarm) + "\n")
    return Result(vars(centre.ingester.counters))


def _configure_monitor(parser: argparse.ArgumentParser) -> None:
    _lake(parser)
    _rules(parser)
    parser.add_argument("--artifact", required=True, metavar="FILE", help="the deployed artifact")
    parser.add_argument("--fail-on-drift", action="store_true", help="exit with 1 when an alarm is open")


def _monitor(args: argparse.Namespace) -> Result:
    import msgspec

    from edgeloop.artifact import read_artifact
    from edgeloop_fleet.lake import Lake
    from edgeloop_fleet.monitor import Monitor

    monitor = Monitor(Lake(args.lake), read_artifact(args.artifact), rules=_read_rules(args), write=False)
    report = monitor.evaluate()
    lines = [f"{len(report.series)} windows, {len(report.open)} open alarms"]
    for alarm in report.alarms:
        lines += [_alarm_line(alarm), *(f"  {e.device}: {e.description}" for e in alarm.evidence), f"  {alarm.advice}"]
    data = {
        "windows": len(report.series),
        "unusable_profiles": report.unusable_profiles,
        "alarms": msgspec.to_builtins(report.alarms),
        "series": msgspec.to_builtins(report.series),
    }
    return Result(data, "\n".join(lines), holds=not (args.fail_on_drift and report.open))


def _alarm_line(alarm: Any) -> str:
    state = "open" if alarm.closed is None else f"closed, {alarm.closed_because}"
    return f"{alarm.opened} {alarm.kind} on {', '.join(alarm.devices)} (alarm {alarm.id}, {state})"


def _configure_deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", help="the artifact's file")
    _broker(parser)
    _lake(parser)
    devices = parser.add_mutually_exclusive_group(required=True)
    devices.add_argument("--devices", metavar="A,B", help="the devices' names")
    devices.add_argument("--all", action="store_true", help="all devices that the lake knows as online")
    parser.add_argument(
        "--timeout", type=float, default=60, dest="timeout_s", metavar="SECONDS", help="(default: %(default)s)"
    )


def _deploy(args: argparse.Namespace) -> Result:
    from edgeloop.artifact import read_artifact
    from edgeloop_fleet.follow import deploy
    from edgeloop_fleet.lake import Lake

    artifact = read_artifact(args.artifact).to_bytes()
    names = None if args.all else [name for name in args.devices.split(",") if name]
    ref, devices = deploy(args.broker, Lake(args.lake), artifact, names, timeout_s=args.timeout_s)
    data = {"name": ref.name, "version": ref.version, "sha256": ref.sha256, "devices": devices}
    return Result(data, f"{ref.name} {ref.version} runs on {', '.join(devices)}")


def _devices(args: argparse.Namespace) -> Result:
    from edgeloop_fleet.devices import load_devices
    from edgeloop_fleet.lake import Lake

    states = sorted(load_devices(Lake(args.lake)).snapshot().values(), key=lambda state: state.device)
    rows = [
        {
            "device": state.device,
            "online": state.online,
            "model": None if state.model is None else f"{state.model.name} {state.model.version}",
            "edgeloop": state.edgeloop,
            "epoch": state.epoch,
        }
        for state in states
    ]
    lines = [f"{r['device']:32} {'online' if r['online'] else 'offline':8} {r['model'] or '-'}" for r in rows]
    return Result({"devices": rows}, "\n".join(lines) or "no device has said anything yet")


def _configure_forget(parser: argparse.ArgumentParser) -> None:
    _lake(parser)
    parser.add_argument("--device", metavar="NAME", help="whose samples (default: all devices')")
    parser.add_argument("--days", type=int, metavar="N", help="only those older than N days")
    parser.add_argument("--why", default="", metavar="TEXT", help="is written down beside what was deleted")


def _forget(args: argparse.Namespace) -> Result:
    from datetime import datetime, timedelta, timezone

    from edgeloop_fleet.lake import Lake
    from edgeloop_fleet.retention import forget

    if args.days is not None and args.days < 1:
        raise ConfigError("--days must be at least 1")
    before = None if args.days is None else (datetime.now(timezone.utc) - timedelta(days=args.days)).date()
    deleted = forget(Lake(args.lake), device=args.device, before=before, why=args.why)
    return Result(deleted, ", ".join(f"{count} {table}" for table, count in deleted.items()) + " deleted")


FORGET = Command("delete raw samples, by device or by age", _configure_forget, _forget, "fleet", _NEEDS)
INGEST = Command("store what devices send, and acknowledge it", _configure_ingest, _ingest, "fleet", _NEEDS)
CENTRE = Command("run ingest and monitor together", _configure_centre, _centre, "fleet", _NEEDS)
MONITOR = Command("look for drift in the profiles of an artifact", _configure_monitor, _monitor, "fleet", _NEEDS)
DEPLOY = Command("send an artifact to devices and wait until they run it", _configure_deploy, _deploy, "fleet", _NEEDS)
DEVICES = Command("list the devices and what they run", _lake, _devices, "fleet", _NEEDS)
