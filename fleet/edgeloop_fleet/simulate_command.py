"""`edgeloop simulate`: a fleet of simulated devices, for load tests and for sizing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeloop.cli import Command, Result
from edgeloop.errors import ConfigError

__all__ = ["SIMULATE"]

_MOST = 999_999


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--devices", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument(
        "--duration", type=float, default=60.0, metavar="SECONDS", help="for how long they send (default: %(default)s)"
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="between a device's profiles (default: %(default)s)",
    )
    parser.add_argument("--broker", metavar="URL", help="mqtt://… or mqtts://…; without it the embedded one starts")
    parser.add_argument(
        "--certificates", metavar="DIR", help="for mqtts://: the folder with a folder for each device, as of enroll"
    )
    parser.add_argument(
        "--centre-broker", metavar="URL", help="where ingest connects, if not there; who it is, EDGELOOP_TLS_… say"
    )
    parser.add_argument(
        "--lake", metavar="DIR", help="the lake's folder, or s3://… (default: one that is gone afterwards)"
    )
    parser.add_argument(
        "--ingest",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the shards; 0: ingest runs already, and writes to --lake (default: %(default)s)",
    )
    parser.add_argument(
        "--connect-rate", type=float, default=500.0, metavar="N", help="connections a second (default: %(default)s)"
    )
    parser.add_argument(
        "--watch",
        action="append",
        default=[],
        metavar="NAME=PID",
        help="a process to be measured, such as the broker's",
    )
    parser.add_argument(
        "--drain", type=float, default=60.0, metavar="SECONDS", help="wait so long for the last acknowledgements"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the profiles and the moments (default: %(default)s)")


def run(args: argparse.Namespace) -> Result:
    """Simulate, count, and judge: nothing may be lost, and nothing stored twice."""
    from edgeloop_fleet.progress import Progress
    from edgeloop_fleet.simulate import Load, simulate

    if not 0 < args.devices <= _MOST:
        raise ConfigError(f"--devices {args.devices}: give 1 to {_MOST}")
    if min(args.duration, args.interval, args.connect_rate) <= 0:
        raise ConfigError("--duration, --interval and --connect-rate are above 0")
    if not 0 <= args.ingest <= 16 or (args.ingest == 0 and not (args.lake and args.broker)):
        raise ConfigError("--ingest: 1 to 16 processes, or 0 with the --broker and the --lake of one that runs")
    load = Load(
        devices=args.devices,
        duration_s=args.duration,
        interval_s=args.interval,
        connects_per_s=args.connect_rate,
        ingest=args.ingest,
        drain_s=args.drain,
        seed=args.seed,
    )
    watch = [_process(text) for text in args.watch]
    progress = Progress(quiet=args.json)
    data = simulate(
        load,
        broker_url=args.broker,
        lake_uri=args.lake,
        centre_url=args.centre_broker,
        certificates=Path(args.certificates) if args.certificates else None,
        watch=watch,
        progress=progress,
    )
    return Result(data, _text(data), holds=data["lost"] == 0 and data["duplicates"] == 0)


def _process(text: str) -> tuple[str, int]:
    name, _, pid = text.rpartition("=")
    if not name or not pid.isdigit():
        raise ConfigError(f"--watch {text!r}: write NAME=PID")
    return name, int(pid)


def _text(data: dict[str, Any]) -> str:
    delay = data["delay_ms"]
    lines = [
        f"{data['connected']} of {data['devices']} devices connected (in {data['connect']['seconds']} s)",
        f"{data['sent']} messages sent, {data['sent_per_s']}/s",
        f"{data['stored']} stored, {data['lost']} lost, {data['duplicates']} duplicates, {data['resent']} sent again",
        f"until the centre's acknowledgement: p50 {delay['p50']} ms, p99 {delay['p99']} ms, at most {delay['max']} ms",
    ]
    for process in data["processes"]:
        if "cpu_share" in process:
            memory = process["memory_mb"]
            lines.append(
                f"{process['name']:10} {process['cpu_share']:6.1%} of a processor, "
                f"{memory['first']} → {memory['last']} MB"
            )
    return "\n".join(lines)


SIMULATE = Command(
    "drive a fleet of simulated devices, for load tests", configure, run, "fleet", ("deltalake", "pyarrow")
)
