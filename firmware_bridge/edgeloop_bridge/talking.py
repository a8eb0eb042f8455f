"""`edgeloop bridge info`, `stream` and `infer`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.cli import Result
from edgeloop.errors import DataError
from edgeloop_bridge.device import Device
from edgeloop_bridge.messages import BUILT_IN, NO_SLOT, Slot, SlotState

__all__ = ["infer", "info", "read_inputs", "stream"]


def info(args: argparse.Namespace) -> Result:
    """What the device says of itself."""
    with Device.open(args.port, baud=args.baud) as device:
        hello, stats, clock = device.hello, device.stats(), device.align()
        slots = [device.slot(number) for number in range(hello.slots)]
        baud = device.link.baud
    data = {
        "port": args.port,
        "baud": baud,
        **_readable(asdict(hello)),
        "stats": asdict(stats),
        "slots": [{**_readable(asdict(slot)), "state": SlotState(slot.state).name.lower()} for slot in slots],
        "round_trip_us": round(2e6 * clock.uncertainty_s, 1),
    }
    runs = {NO_SLOT: "no model runs", BUILT_IN: f"the built-in model runs, {hello.model.hex()}"}
    lines = [
        f"{hello.board}: protocol {hello.protocol}, {baud} baud, round trip {2e3 * clock.uncertainty_s:.2f} ms",
        f"arena {hello.arena_bytes:,} bytes, frames of {hello.largest_frame_bytes} bytes, boot {hello.boot_id:08x}",
        runs.get(hello.active, f"slot {hello.active}'s model runs, {hello.model.hex()}"),
        *(_slot_line(slot, hello.arena_bytes) for slot in slots),
        ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in asdict(stats).items()),
    ]
    return Result(data, "\n".join(lines))


def stream(args: argparse.Namespace) -> Result:
    """Samples as they come; with `--json` only how many came and were lost."""
    end_s = None if args.seconds is None else time.monotonic() + args.seconds
    received = on_device = on_line = 0
    with Device.open(args.port, baud=args.baud) as device:
        about = device.describe_stream(args.stream)
        clock = device.align()
        epoch_s = time.time() - time.monotonic()
        with closing(device.samples(args.stream, args.period_us)) as blocks:
            try:
                for block in blocks:
                    received += len(block.values)
                    on_device += block.lost_on_device
                    on_line += block.lost_on_line
                    if not args.json:
                        first_s = epoch_s + clock.to_host_s(block.time_us)
                        for i, values in enumerate(block.values.tolist()):
                            at_s = first_s + i * args.period_us / 1e6
                            sys.stdout.write(f"{block.first + i},{at_s:.6f},{','.join(map(str, values))}\n")
                        sys.stdout.flush()
                    if end_s is not None and time.monotonic() >= end_s:
                        break
            except KeyboardInterrupt:
                pass
    data = {
        "name": about.name,
        "received": received,
        "lost_on_device": on_device,
        "lost_on_line": on_line,
        "clock_uncertainty_us": round(1e6 * clock.uncertainty_s, 1),
    }
    sys.stderr.write(f"{about.name}: {received:,} samples, lost {on_device} on the device and {on_line} on the line\n")
    return Result(data, holds=not (on_device or on_line))


def infer(args: argparse.Namespace) -> Result:
    """Run the model that the device says it runs."""
    inputs = read_inputs(args.inputs)
    found: list[dict[str, Any]] = []
    with Device.open(args.port, baud=args.baud) as device:
        for given in inputs:
            start_s = time.perf_counter()
            answer = device.infer(device.hello.model, given.tobytes())
            row = {
                "output": np.frombuffer(answer.output, np.int8).tolist(),
                "invoke_us": answer.invoke_us,
                "copy_in_us": answer.copy_in_us,
                "copy_out_us": answer.copy_out_us,
                "round_trip_us": round(1e6 * (time.perf_counter() - start_s), 1),
            }
            if args.json:
                found.append(row)
            else:
                sys.stdout.write(json.dumps(row) + "\n")
        model = device.hello.model.hex()
    return Result({"model": model, "inferences": found})


def read_inputs(path: str) -> NDArray[Any]:
    """An .npy file of 8-bit inputs, (n, …). Raises `DataError`, `OSError`."""
    try:
        inputs: NDArray[Any] = np.load(Path(path), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not an .npy file: {error}") from error
    if not isinstance(inputs, np.ndarray) or inputs.dtype not in (np.int8, np.uint8) or inputs.ndim < 2:
        raise DataError(f"{path}: it must be an array of int8 or uint8, (n, …): as the model stores its inputs")
    return inputs


def _readable(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


def _slot_line(slot: Slot, arena_bytes: int) -> str:
    return (
        f"slot {slot.slot}: {SlotState(slot.state).name.lower()}, {slot.length:,} of {slot.capacity_bytes:,} bytes; "
        f"core {slot.core:#x}, --slot {slot.address:#x}:{slot.capacity_bytes} "
        f"--arena {slot.arena_address:#x}:{arena_bytes}"
    )
