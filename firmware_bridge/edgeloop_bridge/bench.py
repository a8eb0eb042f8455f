"""`edgeloop bridge bench`: what the line and the device do, measured from the host."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from edgeloop.cli import Result
from edgeloop_bridge.device import Device
from edgeloop_bridge.talking import read_inputs

__all__ = ["bench"]


def bench(args: argparse.Namespace) -> Result:
    """Round trips of PING, samples, and inferences where there are inputs; each for `--seconds`."""
    inputs = None if args.inputs is None else read_inputs(args.inputs)
    with Device.open(args.port, baud=args.baud) as device:
        data: dict[str, Any] = {"board": device.hello.board, "baud": device.link.baud}
        # Where a round trip takes longer than the window lasts, a delivery leaves the line idle in between.
        data["window_ms"] = 1e4 * device.hello.window_bytes / device.link.baud
        data["round_trip"] = _repeated(device.link.ping, args.seconds)
        data["samples"] = _samples(device, args.period_us, args.seconds)
        if inputs is not None:
            data["inference"] = _inferences(device, inputs, args.seconds)
        data["retries"] = device.line.retries
    trip, samples = data["round_trip"], data["samples"]
    lines = [
        f"{data['board']}, {data['baud']} baud",
        f"round trip  {trip['median_us']:,.0f} µs median, {trip['p90_us']:,.0f} µs for 90 % of {trip['n']:,}",
        f"window      {data['window_ms']:,.1f} ms of the line",
        f"samples     {samples['rate_hz']:,.0f} a second, {_lost(samples)}",
    ]
    if inputs is not None:
        found = data["inference"]
        invoke = "" if found["invoke_us"] is None else f", {found['invoke_us']:,.0f} µs of it in the model"
        lines.append(f"inference   {found['median_us']:,.0f} µs median of {found['n']:,}{invoke}")
    return Result(data, "\n".join(lines))


def _lost(samples: dict[str, Any]) -> str:
    return f"lost {samples['lost_on_device']} on the device, {samples['lost_on_line']} on the line"


def _repeated(call: Callable[[], object], seconds: float) -> dict[str, Any]:
    times: list[float] = []
    end_s = time.perf_counter() + seconds
    while not times or time.perf_counter() < end_s:
        start_s = time.perf_counter()
        call()
        times.append(1e6 * (time.perf_counter() - start_s))
    return {"n": len(times), "median_us": float(np.median(times)), "p90_us": float(np.quantile(times, 0.9))}


def _samples(device: Device, period_us: int, seconds: float) -> dict[str, Any]:
    received = on_device = on_line = 0
    with closing(device.samples(0, period_us)) as blocks:
        start_s = time.perf_counter()
        for block in blocks:
            received += len(block.values)
            on_device += block.lost_on_device
            on_line += block.lost_on_line
            elapsed_s = time.perf_counter() - start_s
            if elapsed_s >= seconds:
                break
    return {"rate_hz": received / elapsed_s, "lost_on_device": on_device, "lost_on_line": on_line}


def _inferences(device: Device, inputs: Any, seconds: float) -> dict[str, Any]:
    invokes: list[float | None] = []

    def once() -> None:
        given = inputs[len(invokes) % len(inputs)].tobytes()
        invokes.append(device.infer(device.hello.model, given).invoke_us)

    found = _repeated(once, seconds)
    known = [us for us in invokes if us is not None]
    return {**found, "invoke_us": float(np.median(known)) if known else None}
