"""`edgeloop agent`: run a device from one TOML file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgeloop.cli import Command, Result

if TYPE_CHECKING:
    from edgeloop.config import AgentConfig

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("config", help="the agent's TOML file (docs/reference/agent.md)")
    parser.add_argument(
        "--drain",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="at the end, wait so long for what is still to be sent",
    )
    parser.add_argument(
        "--systemd", action="store_true", help="print a systemd unit that runs it, with watchdog and memory limit"
    )


def run(args: argparse.Namespace) -> Result:
    """Run until the source ends, or SIGTERM or SIGINT asks for the end."""
    from dataclasses import asdict

    from edgeloop.config import load_config

    config = load_config(args.config)
    if args.systemd:
        return _systemd(args.config, config)
    if config.log == "json":
        from edgeloop.logs import log_json

        log_json()
    from edgeloop.agent import Agent

    report = Agent(config).run_until_signalled(drain_s=args.drain)
    box = report.outbox
    text = (
        f"{report.device}: {report.inferences:,} inferences, {report.switches} switches; inputs: "
        f"{report.refused_inputs} refused, {report.failed_inputs} without an answer, "
        f"{report.skipped_inputs} skipped, {report.dropped_inputs} dropped; "
        f"{report.missed_deadlines} deadlines missed, {report.silences} silences, "
        f"{report.lost_predictions} predictions lost; "
        f"{box['put']:,} messages put, {box['acknowledged']:,} acknowledged, {box['dropped']} dropped, "
        f"{box['merged']} merged, {box['pending']} waiting, {box['lost'] + box['held']} lost"
    )
    return Result(data=asdict(report), text=text)


def _systemd(path: str, config: AgentConfig) -> Result:
    import getpass
    import sys
    from pathlib import Path

    from edgeloop.systemd import systemd_unit

    unit = systemd_unit(config, Path(path), python=sys.executable, user=getpass.getuser())
    return Result(data={"unit": unit}, text=unit)


COMMAND = Command(help="run a device: source, model, uplink and updates", configure=configure, run=run)
