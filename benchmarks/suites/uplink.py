"""Outbox and uplink on this machine, each beside its peer in one run, over a real Mosquitto.

    python benchmarks/suites/uplink.py [--rounds N] [--messages N] [--json]

- uplink: a device that puts messages of 1 kB durably, sends them, and forgets them when a centre (here one without a
  lake) has acknowledged them; beside bare paho-mqtt that publishes the same with QoS 1 to the same broker and
  subscriber and forgets. In turns.
- delay: from put to the acknowledgement after the commit, at 100 messages a second, with the defaults.
- footprint: memory that outbox and uplink add to a device's process, and processor time when nothing happens.
- wear: what a day of defaults writes to the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np

from edgeloop.machine import describe_machine
from edgeloop.order import median_interval

ROLES = Path(__file__).with_name("uplink_roles.py")
PROMISES = {"uplink_ratio": 0.8, "delay_p95_s": 1.5, "added_mb": 12}


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROLES), *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def role(*arguments: object) -> dict:
    done = subprocess.run(command(*arguments), env=environment(), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@contextmanager
def mosquitto(folder: Path) -> Iterator[str]:
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        sys.exit("no mosquitto on this machine: apt-get install mosquitto")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\nmax_queued_messages 0\n"
    )
    child = subprocess.Popen([binary, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


def measure_uplink(url: str, rounds: int, messages: int) -> dict:
    child = subprocess.Popen(command("acknowledger", url), env=environment(), stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        pairs = []
        for i in range(rounds):
            order = ("bare", "device") if i % 2 else ("device", "bare")
            found = {}
            for who in order:
                extra = ["TEMP"] if who == "device" else []
                found[who] = role(who, url, messages, *extra)
            pairs.append((found["device"], found["bare"]))
        footprint = role("footprint", url, "TEMP")
    finally:
        child.kill()
        child.wait()
    ratios = [device["per_s"] / bare["per_s"] for device, bare in pairs]
    devices, bares = zip(*pairs, strict=True)
    return {
        "uplink_per_s": middle(devices, "per_s"),
        "bare_paho_per_s": middle(bares, "per_s"),
        "uplink_ratio": round(float(np.median(ratios)), 2),
        "uplink_ratio_ci": interval(ratios),
        "uplink_ratio_least_and_most": [round(min(ratios), 2), round(max(ratios), 2)],
        "uplink_cpu_us": middle(devices, "cpu_us"),
        "bare_paho_cpu_us": middle(bares, "cpu_us"),
        **footprint,
    }


def middle(runs: Sequence[dict], what: str) -> int:
    return round(float(np.median([run[what] for run in runs])))


def measure_delay(url: str, folder: Path, seconds: float) -> dict:
    code = (
        "import sys, time; from edgeloop_fleet.ingest import Ingester; from edgeloop_fleet.lake import Lake\n"
        "with Ingester(sys.argv[1], Lake(sys.argv[2])) as i: i.wait_connected(); print(1, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, url, str(folder / "lake-delay")],
        env=environment(),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        return {f"delay_{name}": value for name, value in role("delay", url, seconds, "TEMP").items()}
    finally:
        child.kill()
        child.wait()


def interval(ratios: list[float]) -> list[float] | None:
    found = median_interval(np.sort(np.array(ratios)))
    return None if found is None else [round(float(x), 2) for x in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--delay-seconds", type=float, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    machine = msgspec.to_builtins(describe_machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with mosquitto(folder) as url:
            result = measure_uplink(url, args.rounds, args.messages)
        with mosquitto(folder) as url:
            result |= measure_delay(url, folder, args.delay_seconds)
        result |= {f"wear_{name}": value for name, value in role("wear", "TEMP").items()}
    if args.json:
        print(json.dumps({"machine": machine, **result}, indent=2))
        return
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']:.1f}\n")
    for name, value in result.items():
        promise = f"   (promised: {PROMISES[name]})" if name in PROMISES else ""
        print(f"{name:28} {value}{promise}")


if __name__ == "__main__":
    main()
