"""The campaign: devices, broker and ingest in all that can go wrong, and the lake held against what was put.

    python benchmarks/suites/campaign/run.py                                  # 200,000 messages, 500 faults
    python benchmarks/suites/campaign/run.py --messages 8000 --faults 30 --seconds 20
    python benchmarks/suites/campaign/run.py … --sabotage no-dedupe           # must fail: it shows that it can
    python benchmarks/suites/campaign/run.py … --sabotage forget-at-puback

One machine, a real Mosquitto, real processes. The faults come at random moments out of a seeded generator and overlap:
they are started in its order, while how the processes interleave is the machine's. Exit code 0 when nothing was lost,
doubled or changed, 1 otherwise. It ends by itself, and kills nothing but its own children.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from proxy import Proxy
from stage import Disk, Process, broker, free_port, read_status, script
from verdict import judge

from edgeloop_fleet.lake import Lake

DEVICES = 4
OUTBOX_DISK_BYTES = 64 << 20
LAKE_DISK_BYTES = 512 << 20

WEIGHTS = {
    "device killed": 16,
    "ingest killed": 6,
    "broker restarted without saving": 7,
    "network cut": 12,
    "network delayed": 8,
    "network throttled": 8,
    "connections half-open": 9,
    "severed in mid-packet": 16,
    "device's disk filled": 4,
    "lake's disk filled": 3,
    "device's clock moved": 4,
    "ingest's clock moved": 3,
    "second ingest on the same shards": 2,
    "second ingest under the same name": 1,
    "lake compacted": 1,
}


class Campaign:
    """All that runs, and what can be done to it."""

    def __init__(self, folder: Path, args: argparse.Namespace, stack: ExitStack) -> None:
        self.rng = random.Random(args.seed)
        self.done: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.devices: dict[str, Path] = {}
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._extra: list[Process] = []
        self._folder, self._args = folder, args
        port = free_port()
        self._broker = broker(folder, port)
        stack.callback(self._broker.kill)
        self._broker.start()
        self._down, self._up = (stack.enter_context(Proxy(port)) for _ in range(2))
        self._lake_disk = self._disk("lake-disk", LAKE_DISK_BYTES, stack)
        self.lake = str(self._lake_disk.folder / "lake")
        self._ingest = Process(self._centre("ingest"), folder / "ingest.log")
        stack.callback(self._ingest.kill)
        self._ingest.start()
        self._processes: list[Process] = []
        self._disks: list[Disk] = []
        for i in range(DEVICES):
            self._add_device(f"device-{i}", stack)

    def _disk(self, name: str, size_bytes: int, stack: ExitStack) -> Disk:
        disk = Disk(self._folder / name, size_bytes)
        stack.callback(disk.close)
        return disk

    def _centre(self, name: str) -> list[str]:
        extra = ["--no-dedupe"] if self._args.sabotage == "no-dedupe" else []
        return script("centre.py", self._up.url, self.lake, name, self.rng.randrange(10**9), *extra)

    def _add_device(self, name: str, stack: ExitStack) -> None:
        folder = self._folder / name
        folder.mkdir()
        disk = self._disk(f"{name}-disk", OUTBOX_DISK_BYTES, stack)
        args = self._args
        extra = ["--forget-at-puback"] if args.sabotage == "forget-at-puback" else []
        total, rate = args.messages // DEVICES, args.messages / DEVICES / args.seconds
        command = script(
            "device.py", name, self._down.url, folder, disk.folder / "outbox", total, rate, self.rng.randrange(10**9)
        )
        process = Process([*command, *extra], self._folder / f"{name}.log")
        stack.callback(process.kill)
        process.start()
        self._processes.append(process)
        self._disks.append(disk)
        self.devices[name] = folder

    def run_due(self) -> None:
        """End the faults whose time is over."""
        now_s = time.monotonic()
        due = [action for when, action in self._later if when <= now_s]
        self._later = [(when, action) for when, action in self._later if when > now_s]
        for action in due:
            action()

    def heal(self) -> None:
        """End all faults at once."""
        for _, action in self._later:
            action()
        self._later.clear()
        for process in [self._broker, self._ingest, *self._processes]:
            process.start()

    def fault(self) -> None:
        """Do one thing that goes wrong."""
        name = self.rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if "disk" in name and not self._lake_disk.is_small:
            self.skipped[name] += 1
            return
        self.done[name] += 1
        i = self.rng.randrange(DEVICES)
        proxy = self.rng.choice([self._down, self._down, self._up])
        getattr(self, "_" + name.replace(" ", "_").replace("-", "_").replace("'", ""))(i, proxy)

    def stop(self) -> None:
        """End in order: the devices write their counters, the ingest commits what it has."""
        for process in [*self._processes, self._ingest, *self._extra]:
            process.stop()

    def failures(self) -> list[str]:
        """The logs of children that ended with an error."""
        return [str(p.log) for p in [*self._processes, self._ingest, *self._extra] if p.has_failed]

    def _for(self, low_s: float, high_s: float, end: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + self.rng.uniform(low_s, high_s), end))

    def _device_killed(self, i: int, _: Proxy) -> None:
        self._processes[i].kill()
        self._for(0, 2, self._processes[i].start)

    def _ingest_killed(self, *_: object) -> None:
        self._ingest.kill()
        self._for(0, 2, self._ingest.start)

    def _broker_restarted_without_saving(self, *_: object) -> None:
        self._broker.kill()
        self._for(0, 1.5, self._broker.start)

    def _network_cut(self, _: int, proxy: Proxy) -> None:
        proxy.cut()
        self._for(0.1, 2, proxy.heal)

    def _network_delayed(self, _: int, proxy: Proxy) -> None:
        proxy.slow(delay_s=self.rng.uniform(0.02, 0.3))
        self._for(0.5, 4, proxy.heal)

    def _network_throttled(self, _: int, proxy: Proxy) -> None:
        proxy.slow(bytes_per_s=self.rng.uniform(3e3, 1e5))
        self._for(0.5, 4, proxy.heal)

    def _connections_half_open(self, _: int, proxy: Proxy) -> None:
        proxy.half_open()

    def _severed_in_mid_packet(self, _: int, proxy: Proxy) -> None:
        proxy.sever()

    def _devices_disk_filled(self, i: int, _: Proxy) -> None:
        self._disks[i].fill()
        self._for(0.5, 3, self._disks[i].free)

    def _lakes_disk_filled(self, *_: object) -> None:
        self._lake_disk.fill()
        self._for(0.5, 3, self._lake_disk.free)

    def _devices_clock_moved(self, i: int, _: Proxy) -> None:
        self._processes[i].send(signal.SIGUSR1)

    def _ingests_clock_moved(self, *_: object) -> None:
        self._ingest.send(signal.SIGUSR1)

    def _second_ingest_on_the_same_shards(self, *_: object) -> None:
        self._second("second")

    def _second_ingest_under_the_same_name(self, *_: object) -> None:
        self._second("ingest")

    def _second(self, name: str) -> None:
        process = Process(self._centre(name), self._folder / "second.log")
        process.start()
        self._extra.append(process)
        self._for(3, 8, process.kill)

    def _lake_compacted(self, *_: object) -> None:
        code = "import sys; from edgeloop_fleet.lake import Lake; lake = Lake(sys.argv[1]); "
        code += "[lake.compact(table) for table in ('events', 'profiles', 'samples')]"
        process = Process([sys.executable, "-c", code, self.lake], self._folder / "compact.log")
        process.start()
        self._extra.append(process)


def main() -> int:
    """Run it and print the table; with `--json` the numbers alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=420, help="the devices put their messages in about this time")
    parser.add_argument("--drain", type=float, default=240, help="how long the rest may take to come, seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sabotage", choices=["no-dedupe", "forget-at-puback"])
    parser.add_argument("--keep", metavar="DIR", help="where to leave the logs")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    start_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="edgeloop-campaign-"))
    try:
        with ExitStack() as stack:
            result = run(Campaign(folder, args, stack), args, start_s)
    finally:
        if args.keep:
            shutil.copytree(folder, args.keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-disk"))
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result, indent=2) if args.json else table(result))
    return 0 if result["holds"] else 1


def run(campaign: Campaign, args: argparse.Namespace, start_s: float) -> dict:
    """Fault after fault, then peace, then the verdict."""
    wanted = args.messages // DEVICES
    for _ in range(args.faults):
        next_s = time.monotonic() + campaign.rng.expovariate(args.faults / args.seconds)
        while True:
            campaign.run_due()
            left_s = next_s - time.monotonic()
            if left_s <= 0:
                break
            time.sleep(min(left_s, 0.02))
        campaign.fault()
    campaign.heal()
    peace_s = time.monotonic()
    deadline = time.monotonic() + args.drain
    states: list[dict[str, int]] = []
    while time.monotonic() < deadline:
        time.sleep(0.5)
        states = [read_status(path) for path in campaign.devices.values()]
        if all(state.get("put", 0) >= wanted and state["pending"] == 0 for state in states):
            break
    drained_s = time.monotonic()
    campaign.stop()
    verdict = judge(Lake(campaign.lake), campaign.devices)
    pending = sum(read_status(path).get("pending", 0) for path in campaign.devices.values())
    failures = campaign.failures()
    return {
        "seed": args.seed,
        "sabotage": args.sabotage,
        "seconds": round(time.monotonic() - start_s),
        "drain_seconds": round(drained_s - peace_s),
        "load": os.getloadavg()[0],
        "faults": dict(sorted(campaign.done.items())),
        "faults_total": campaign.done.total(),
        "skipped": dict(campaign.skipped),
        **asdict(verdict),
        "pending": pending,
        "failed_processes": failures,
        "holds": verdict.holds and not pending and not failures,
    }


def table(result: dict) -> str:
    """The result as a person reads it."""
    lines = [f"{name:36} {count:>6}" for name, count in result["faults"].items()]
    lines += [f"{'faults':36} {result['faults_total']:>6}", ""]
    for name in ("put", "stored", "lost", "duplicated", "changed", "quarantined", "unknown", "pending"):
        lines.append(f"{name:36} {result[name]:>6}")
    lines += [f"skipped, since mounting isn't allowed here: {result['skipped']}"] if result["skipped"] else []
    lines += [f"ended with an error: {log}" for log in result["failed_processes"]]
    lines.append(f"{'holds' if result['holds'] else 'DOES NOT HOLD'} (seed {result['seed']}, {result['seconds']} s)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
