"""How much of a serial line's ceiling a model's delivery uses, and what a round trip costs.

    python benchmarks/suites/bridge.py [BAUD…]

The firmware runs as a process, which `make` builds. Between it and the host's pseudo-terminal the bytes are passed on
at the rate that the host has set, 10 bits for each, each direction by itself; the device's transmitter holds some 256.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from edgeloop_bridge.device import Device

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware_bridge" / "firmware"
BITS = 10  # of a byte: start, 8, stop
TRANSMIT_BYTES = 256  # of the device, as DMA gives it
BYTE_IN_KERNEL = 768  # that a byte takes in a socket's buffer when it is written by itself
WINDOWS = (4, 16)  # frames; 4 is what a board with 1 kB for receiving grants
SECONDS = 8
PINGS = 200
SPEEDS = {getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()}


class PacedLine:
    """Passes bytes between a pseudo-terminal and a device; a byte comes out when its last bit has passed."""

    def __init__(self, device: int) -> None:
        self._host, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.name = os.ttyname(self._slave)
        self._ending = threading.Event()
        ends = ((self._host, device), (device, self._host))
        self._threads = [threading.Thread(target=self._pass, args=end, daemon=True) for end in ends]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()
        os.close(self._host)
        os.close(self._slave)

    def _pass(self, source: int, target: int) -> None:
        free_s = 0.0
        while not self._ending.is_set():
            begun_s = free_s  # bytes that wait already follow the last ones without a gap, however late we are
            if not select.select([source], [], [], 0)[0]:
                if not select.select([source], [], [], 0.05)[0]:
                    continue
                begun_s = max(free_s, time.monotonic())
            baud = SPEEDS[termios.tcgetattr(self._slave)[4]]
            data = os.read(source, max(1, baud // BITS // 1000))  # a millisecond of it
            free_s = begun_s + len(data) * BITS / baud
            time.sleep(max(0.0, free_s - time.monotonic()))
            os.write(target, data)


@contextmanager
def paced_device(window: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as build:
        flags = f"HOST_FLAGS=-DEL_DATA_WINDOW={window}u -DEL_RING_BYTES={256 * window}u"
        subprocess.run(["make", "-s", "-C", str(FIRMWARE), f"BUILD={build}", f"{build}/host", flags], check=True)
        ours, its = socket.socketpair()
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TRANSMIT_BYTES * BYTE_IN_KERNEL // 2)  # it doubles it
        its.setblocking(False)  # a full transmitter says so, as a UART does
        process = subprocess.Popen([f"{build}/host"], stdin=its, stdout=its)
        its.close()
        try:
            with closing(PacedLine(ours.fileno())) as line:
                yield line.name
        finally:
            process.kill()
            process.wait()
            ours.close()


def measure(baud: int, window: int) -> dict[str, float]:
    ceiling = baud / BITS
    with paced_device(window) as name, Device.open(name, baud=baud) as device:
        assert device.link.baud == baud
        trips = []
        for _ in range(PINGS):
            start_s = time.perf_counter()
            device.link.ping()
            trips.append(time.perf_counter() - start_s)
        image = random.Random(1).randbytes(min(500_000, round(SECONDS * ceiling)))
        start_s = time.perf_counter()
        for _ in device.deliver(0, image):
            pass
        delivery = len(image) / (time.perf_counter() - start_s)
        retries = device.line.retries
    return {
        "baud": baud,
        "window_frames": window,
        "ceiling_bytes_per_s": ceiling,
        "delivery_of_ceiling": round(delivery / ceiling, 3),
        "round_trip_ms": round(1e3 * float(np.median(trips)), 2),
        "retries": retries,
    }


def main() -> None:
    bauds = [int(each) for each in sys.argv[1:]] or [115_200, 921_600]
    lines = [measure(baud, window) for baud in bauds for window in WINDOWS]
    print(json.dumps({"load_1m": os.getloadavg()[0], "lines": lines}, indent=2))


if __name__ == "__main__":
    main()
