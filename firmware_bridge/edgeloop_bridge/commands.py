"""`edgeloop bridge`: the microcontrollers on this machine's serial ports."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from edgeloop.cli import Command, Result, common_options

__all__ = ["BRIDGE"]

_PORT = "a port (/dev/ttyACM0), usb:SERIAL, socket://HOST:PORT or rfc2217://HOST:PORT"


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = common_options(nested=True)

    def action(name: str, text: str, *, port: bool = True) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, parents=[common], help=text, description=f"{text[0].upper()}{text[1:]}.")
        if port:
            sub.add_argument("port", help=_PORT)
            sub.add_argument(
                "--baud", type=int, default=115_200, help="raise the line's rate to this (default: 115200)"
            )
        return sub

    action("ports", "the serial ports here", port=False)
    action("info", "who the device is, what runs on it, how its line is")
    stream = action("stream", "samples of a stream, one line each: number, time, values")
    stream.add_argument("--stream", type=int, default=0, metavar="N", help="the stream's number (default: 0)")
    stream.add_argument("--period-us", type=int, default=10_000, metavar="US", help="between samples (default: 10000)")
    stream.add_argument("--seconds", type=float, metavar="S", help="end after this time (default: at Ctrl-C)")
    push = action("push", "deliver a model into a free slot, try it there, and let it run")
    push.add_argument("model", help="a signed full-integer artifact; with --unsigned any .tflite, or an image (.img)")
    push.add_argument("--slot", type=int, metavar="N", help="which slot (default: the first that is free)")
    push.add_argument(
        "--trust", action="append", default=[], metavar="KEY.pub", help="a public key that may have signed the artifact"
    )
    push.add_argument(
        "--unsigned", action="store_true", help="push what nobody has signed: a bare .tflite, an image, an artifact"
    )
    push.add_argument("--trial", action="store_true", help="don't confirm: the next boot runs the old model")
    infer = action("infer", "run the device's model, one line of JSON for each input")
    infer.add_argument("inputs", help="an .npy file of int8 or uint8 inputs, (n, …), as the model stores them")
    bench = action("bench", "round trips, samples a second, and inferences")
    bench.add_argument("--seconds", type=float, default=2.0, metavar="S", help="for each measurement (default: 2)")
    bench.add_argument("--period-us", type=int, default=1000, metavar="US", help="of the samples (default: 1000)")
    bench.add_argument("--inputs", metavar="FILE", help="an .npy file for inferences, as for `infer`")


def _run(args: argparse.Namespace) -> Result:
    if args.action == "ports":
        return _list_ports()
    module = {"push": "pushing", "bench": "bench"}.get(args.action, "talking")
    act: Any = getattr(importlib.import_module(f"edgeloop_bridge.{module}"), args.action)
    result: Result = act(args)
    return result


def _list_ports() -> Result:
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
