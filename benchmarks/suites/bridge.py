"""How much of a serial line's ceiling deliveries and sample streams use, and what a round trip costs.

    python benchmarks/suites/bridge.py [--json] [BAUD…]
    python benchmarks/suites/bridge.py --sizes MODEL…      # flash, RAM and instructions; see bridge_sizes.py

The ceiling of a line with one start and one stop bit is baud / 10 bytes a second. Over it stand the bytes that are
of use: of the model's image, from BEGIN to the end of END, and of samples. The firmware runs as a process, which `make`
builds; between it and the host's pseudo-terminal a process for each direction passes the bytes on at the rate that the
host has set. Where it may, the line and the device have the processor first, as hardware doesn't wait for one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import select
import socket
import subprocess
import tempfile
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import bridge_sizes
import numpy as np

from edgeloop_bridge.device import Device

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware_bridge" / "firmware"
BITS = 10  # of a byte: start, 8, stop
TRANSMIT_BYTES = 256  # of the device, as DMA gives it
BYTE_IN_KERNEL = 768  # that a byte takes in a socket's buffer when it is written by itself
RECEIVE_BYTES = (1024, 4096)  # of the device: 1024 is what the firmware has where nobody says otherwise
SECONDS = 8
PINGS = 200
STREAM, SAMPLE_BYTES = 2, 16
OFFERED = (0.82, 1.2)  # of the ceiling: what must get through whole, and what can't
SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


def first_in_line(process: int) -> bool:
    """Give a process the processor before all others, where that is allowed."""
    with suppress(PermissionError):
        os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(1))
    return os.sched_getscheduler(process) == os.SCHED_FIFO


def pass_on(source: int, target: int, terminal: int) -> None:
    """Pass bytes on; each comes out when its last bit has passed. Runs until it is ended."""
    free_s = 0.0
    while True:
        begun_s = free_s  # bytes that wait already follow the last ones without a gap, however late we are
        if not select.select([source], [], [], 0)[0]:
            select.select([source], [], [])
            begun_s = max(free_s, time.monotonic())
        baud = SPEEDS[termios.tcgetattr(terminal)[4]]
        data = os.read(source, max(1, baud // BITS // 1000))  # a millisecond of it
        free_s = begun_s + len(data) * BITS / baud
        time.sleep(max(0.0, free_s - time.monotonic()))
        os.write(target, data)


@contextmanager
def paced_device(receive_bytes: int) -> Iterator[tuple[str, bool]]:
    """The port's name, and whether line and device have the processor first."""
    with tempfile.TemporaryDirectory() as build:
        config = f"CONFIG=-DEL_RING_BYTES={receive_bytes}u"
        subprocess.run(["make", "-s", "-C", str(FIRMWARE), f"BUILD={build}", f"{build}/host", config], check=True)
        ours, its = socket.socketpair()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TRANSMIT_BYTES * BYTE_IN_KERNEL // 2)  # it doubles it
        its.setblocking(False)  # a full transmitter says so, as a UART does
        device = subprocess.Popen([f"{build}/host"], stdin=its, stdout=its)
        its.close()
        host, slave = os.openpty()
        tty.setraw(slave)
        fork = multiprocessing.get_context("fork")
        ends = ((host, ours.fileno()), (ours.fileno(), host))
        passing = [fork.Process(target=pass_on, args=(*end, slave), daemon=True) for end in ends]
        try:
            for process in passing:
                process.start()
            first = [first_in_line(process.pid or 0) for process in (device, *passing)]
            yield os.ttyname(slave), all(first)
        finally:
            for process in passing:
                process.terminate()
                process.join()
            device.kill()
            device.wait()
            ours.close()
            os.close(host)
            os.close(slave)


def round_trip_ms(device: Device) -> float:
    trips = []
    for _ in range(PINGS):
        start_s = time.perf_counter()
        device.link.ping()
        trips.append(time.perf_counter() - start_s)
    return 1e3 * float(np.median(trips))


def delivered(device: Device, ceiling: float) -> float:
    image = random.Random(1).randbytes(min(500_000, round(SECONDS * ceiling)))
    start_s = time.perf_counter()
    for _ in device.deliver(0, image):
        pass
    return len(image) / (time.perf_counter() - start_s)


def streamed(device: Device, ceiling: float, offered: float) -> dict[str, float]:
    """Samples of a sensor that gives `offered` of the ceiling."""
    period_us = round(1e6 * SAMPLE_BYTES / (offered * ceiling))
    received = on_device = on_line = 0
    with closing(device.samples(STREAM, period_us)) as blocks:
        next(blocks)
        start_s = elapsed_s = time.perf_counter()
        for block in blocks:
            received += len(block.values)
            on_device += block.lost_on_device
            on_line += block.lost_on_line
            elapsed_s = time.perf_counter() - start_s
            if elapsed_s >= SECONDS:
                break
    return {
        "offered": round(1e6 * SAMPLE_BYTES / period_us / ceiling, 3),
        "received": round(received * SAMPLE_BYTES / elapsed_s / ceiling, 3),
        "lost_on_device": round(on_device / (received + on_device + on_line), 5),
        "lost_on_line": on_line,
    }


def measure(baud: int, receive_bytes: int) -> dict[str, Any]:
    ceiling = baud / BITS
    with paced_device(receive_bytes) as (name, is_first), Device.open(name, baud=baud) as device:
        assert device.link.baud == baud
        return {
            "baud": baud,
            "receive_bytes": receive_bytes,
            "window_ms": round(1e3 * device.hello.window_bytes / ceiling, 1),
            "round_trip_ms": round(round_trip_ms(device), 2),
            "delivery_of_ceiling": round(delivered(device, ceiling) / ceiling, 3),
            "streams_of_ceiling": [streamed(device, ceiling, offered) for offered in OFFERED],
            "retries": device.line.retries,
            "line_has_the_processor_first": is_first,
        }


def table(lines: list[dict[str, Any]]) -> str:
    rows = [
        "| baud | receive buffer | round trip | delivery | samples at 82 % offered | at 120 % offered |",
        "|---|---|---|---|---|---|",
    ]
    for line in lines:
        whole, over = line["streams_of_ceiling"]
        rows.append(
            f"| {line['baud']:,} | {line['receive_bytes']:,} B, {line['window_ms']:.0f} ms of the line "
            f"| {line['round_trip_ms']:.1f} ms | {line['delivery_of_ceiling']:.0%} "
            f"| {whole['received']:.0%}, {whole['lost_on_device']:.2%} lost | {over['received']:.0%} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baud", nargs="*", type=int, default=[115_200, 921_600])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sizes", nargs="+", metavar="MODEL", help="full-integer .tflite files")
    args = parser.parse_args()
    if args.sizes:
        print(bridge_sizes.report(args.sizes))
        return
    lines = [measure(baud, size) for baud in args.baud for size in RECEIVE_BYTES]
    load = os.getloadavg()[0]
    print(
        json.dumps({"load_1m": load, "lines": lines}, indent=2) if args.json else f"{table(lines)}\n\nload {load:.1f}"
    )


if __name__ == "__main__":
    main()
