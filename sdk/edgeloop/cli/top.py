"""`edgeloop top`: how a running agent does, in the terminal."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from edgeloop.cli import Command, Result

__all__ = ["COMMAND"]

_CLEAR = "\x1b[H\x1b[2J"
_RARE = {
    "held": "held in memory",
    "merged": "merged",
    "damaged": "damaged",
    "set_aside": "times set aside",
    "withheld": "withheld",
}
"""Of the outbox's counters those that are shown only where there is something to show."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("agent", help="the agent's TOML file, or the `directory` that it names")
    parser.add_argument("--once", action="store_true", help="show it once; --json does, too")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")


def run(args: argparse.Namespace) -> Result:
    """Ask the agent again and again, until Ctrl-C."""
    from edgeloop.errors import ConfigError

    if not args.interval > 0:
        raise ConfigError(f"--interval {args.interval:g}: more than 0")
    directory = _directory(args.agent)
    status = _ask(directory)
    if args.once or args.json:
        return Result(data=status, text=show(status))
    screen = sys.stdout.isatty()
    try:
        while True:
            sys.stdout.write((_CLEAR if screen else "") + show(status) + "\n")
            sys.stdout.flush()
            time.sleep(args.interval)
            status = _ask(directory)
    except KeyboardInterrupt:
        return Result()


def _directory(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from edgeloop.config import load_config

    return Path(load_config(name).directory)


def _ask(directory: Path) -> dict[str, Any]:
    from edgeloop.errors import DataError
    from edgeloop.status import read_status

    try:
        return read_status(directory)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise DataError(f"{directory}: no agent runs from there: start it with `edgeloop agent`") from error


def show(status: dict[str, Any]) -> str:
    """A status (see `Status.to_dict`) as some lines of text."""
    runtime, stream, outbox = status["runtime"], status["stream"], status["outbox"]
    source = f"SILENT for {_span(stream['silent_s'])}" if stream["silent_s"] else "gives inputs"
    lines = {
        status["device"]: [
            f"process {status['pid']}, up {_span(status['uptime_s'])}",
            f"broker {'connected' if status['is_connected'] else 'NOT CONNECTED'}",
        ],
        "model": [
            f"{runtime['model']} version {runtime['version']}",
            f"{runtime['runs']:,} inputs answered",
            f"{runtime['runs_per_s']:,.1f} a second",
            f"{status['switches']} switches",
        ],
        "runs on": _execution(status["execution"]),
        "latency": [f"{name} {_us(runtime[f'{name}_us'])}" for name in ("p50", "p90", "p99", "max", "first_call")],
        "observed": _observed(status["observer"]),
        "source": [
            source,
            f"{stream['came']:,} inputs",
            f"{stream['waiting']} waiting",
            f"{stream['dropped']:,} dropped",
            f"{stream['silences']} silences",
        ],
        "skipped": _counts(stream["skipped"]),
        "errors": [
            *_counts(runtime["errors"]),
            f"{stream['failed']:,} without an answer",
            f"{stream['missed_deadlines']:,} deadlines missed",
            f"{runtime['overwritten']:,} overwritten",
            f"{stream['lost']:,} predictions lost",
        ],
        "outbox": [
            f"in {status['outbox_kind']}",
            f"{outbox['pending']:,} waiting ({outbox['pending_bytes'] / 1e3:,.0f} kB)",
            f"{outbox['acknowledged']:,} acknowledged",
            f"{outbox['dropped']:,} dropped",
            f"{outbox['lost']:,} lost",
            *(f"{outbox[what]:,} {text}" for what, text in _RARE.items() if outbox[what]),
        ],
        "board": _board(runtime["board"]),
    }
    if status["shadow"] is not None:
        lines["shadow"] = _shadow(status["shadow"])
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{', '.join(parts)}" for name, parts in lines.items())


def _execution(execution: dict[str, Any]) -> list[str]:
    import msgspec

    from edgeloop.execution import Execution

    return msgspec.convert(execution, Execution).to_words()


def _observed(observer: dict[str, Any]) -> list[str]:
    profiled, left_out = observer["profiled"], observer["left_out"]
    parts = [f"{profiled:,} profiled", f"{left_out:,} left out"]
    if profiled + left_out:
        parts.append(f"{observer['cpu_s'] / (profiled + left_out) * 1e6:.1f} µs of processor an input")
    return parts


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"{n:,} {what}" for what, n in sorted(counts.items())] or ["none"]


def _board(board: dict[str, Any]) -> list[str]:
    known = [] if board["memory_bytes"] is None else [f"{board['memory_bytes'] / 1e6:.0f} MB"]
    if board["cpu_hz"] is not None:
        known.append(f"{board['cpu_hz'] / 1e6:.0f} MHz")
    if board["temperature_c"] is not None:
        known.append(f"{board['temperature_c']:.0f} °C")
    for when, reasons in (("now", board["throttled"]), ("since boot", board["throttled_since_boot"])):
        if reasons is not None:
            known.append(f"{when} {' and '.join(reasons) or 'not throttled'}")
    return known or ["tells nothing"]


def _shadow(shadow: dict[str, Any]) -> list[str]:
    looked = shadow["looked"]
    slowdown = shadow["slowdown"]
    beside = "not known yet" if slowdown is None else f"{max(0.0, slowdown):.1%}"  # a model isn't quicker for it: noise
    parts = [
        f"{shadow['model']} version {shadow['version']}",
        f"{looked:,} compared",
        f"{shadow['agreed'] / looked:.2%} agree" if looked else "nothing to say yet",
        f"{shadow['refused']:,} refused",
        f"{shadow['share']:.1%} of a processor",
        f"slowdown {beside}",
    ]
    return [*parts, f"ended: {shadow['ended']}"] if shadow["ended"] else parts


def _us(us: float | None) -> str:
    if us is None:
        return "-"
    return f"{us:.1f} µs" if us < 1e3 else f"{us / 1e3:.1f} ms" if us < 1e6 else f"{us / 1e6:.1f} s"


def _span(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    return f"{days} d {h} h" if days else f"{h} h {m} min" if h else f"{m} min {s} s" if m else f"{seconds:.1f} s"


COMMAND = Command(help="show how a running agent does", configure=configure, run=run)
