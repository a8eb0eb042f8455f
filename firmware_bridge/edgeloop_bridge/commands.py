"""`edgeloop bridge`: the microcontrollers on this machine's serial ports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from edgeloop.cli import Command, Result, common_options

__all__ = ["BRIDGE"]


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = common_options(nested=True)
    ports = actions.add_parser(
        "ports", parents=[common], help="the serial ports here", description="The serial ports here."
    )
    ports.set_defaults(act=_list_ports)


def _run(args: argparse.Namespace) -> Result:
    act: Callable[[argparse.Namespace], Result] = args.act
    return act(args)


def _list_ports(_: argparse.Namespace) -> Result:
    ports = _ports()
    rows = [f"{p['device']}\t{p['description']}\t{p['serial_number'] or ''}".rstrip() for p in ports]
    return Result({"ports": ports}, "\n".join(rows) or "no serial port found: is the board plugged in?")


def _ports() -> list[dict[str, Any]]:
    from serial.tools import list_ports

    return [
        {
            "device": port.device,
            "description": port.description,
            "serial_number": port.serial_number,
            "usb_vendor_id": port.vid,
            "usb_product_id": port.pid,
        }
        for port in sorted(list_ports.comports())
    ]


BRIDGE = Command("talk to microcontrollers on a serial line", _configure, _run, extra="bridge", needs=("serial",))
