"""Ingest on this machine, from messages that wait to the committed lake: one process, and two on two shards.

    python benchmarks/suites/ingest.py [--rounds N] [--messages N] [--json]

- broker: a real Mosquitto holds the messages for ingests that are away; then they come. Broker and ingests share the
  cores, so that two ingests show what this machine does with them.
- alone: the same bytes come out of a stand-in that only replays them, within the window that ingest grants, and hardly
  costs anything: that is what two cores do which are free for two ingests.

Beside each rate stand what ingest does in a second of a processor of its own, and how many cores were idle: without
some to spare in a run of one process, a second one has nothing to run on. One and two take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
from uplink import environment, interval, mosquitto

from edgeloop.machine import describe_machine

ROLES = Path(__file__).with_name("ingest_roles.py")
PROMISES = {"broker_per_s": 5000, "alone_two_ratio": 1.7}
SHARDS = (0, 1)


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROLES), *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)


def role(*arguments: object) -> dict:
    child = start(*arguments)
    out = child.communicate()[0]
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return json.loads(out)


def out_of_the_broker(folder: Path, shards: tuple[int, ...], messages: int) -> dict[str, float]:
    with mosquitto(folder) as url:
        for shard in shards:
            role("ingest", url, folder / "lake", shard, 0)
        role("preload", url, messages, ",".join(map(str, shards)))
        children = [start("ingest", url, folder / "lake", shard, messages) for shard in shards]
        return together([json.loads(child.communicate()[0]) for child in children], messages)


def out_of_the_replay(folder: Path, shards: tuple[int, ...], messages: int) -> dict[str, float]:
    with ExitStack() as stack:
        ingests = []
        for shard in shards:
            replay = stack.enter_context(start("replay", shard, messages))
            stack.callback(replay.kill)
            assert replay.stdout is not None
            url = replay.stdout.readline().decode().strip()
            ingests.append((url, folder / "lake", shard, messages))
        children = [start("ingest", *arguments) for arguments in ingests]
        return together([json.loads(child.communicate()[0]) for child in children], messages)


def together(found: list[dict], messages: int) -> dict[str, float]:
    """What the processes of one run did: from the first message of the first to the last commit of the last."""
    span_s = max(f["end_s"] for f in found) - min(f["start_s"] for f in found)
    stored = sum(messages - f["first"] for f in found)
    return {
        "per_s": stored / span_s,
        "per_cpu_s": stored / sum(f["cpu_s"] for f in found),
        "idle_cores": sum(f["idle_s"] for f in found) / sum(f["end_s"] - f["start_s"] for f in found),
    }


def measure(name: str, run, rounds: int, messages: int) -> dict:
    found: dict[int, list[dict[str, float]]] = defaultdict(list)
    for i in range(rounds):
        for shards in [SHARDS[:1], SHARDS] if i % 2 else [SHARDS, SHARDS[:1]]:
            with tempfile.TemporaryDirectory() as folder:
                found[len(shards)].append(run(Path(folder), shards, messages))
    result: dict[str, object] = {}
    for count, label in ((1, name), (2, f"{name}_two")):
        for figure, digits in (("per_s", 0), ("per_cpu_s", 0), ("idle_cores", 2)):
            result[f"{label}_{figure}"] = round(float(np.median([f[figure] for f in found[count]])), digits or None)
    ratios = [two["per_s"] / one["per_s"] for one, two in zip(found[1], found[2], strict=True)]
    result[f"{name}_two_ratio"] = round(float(np.median(ratios)), 2)
    result[f"{name}_two_ratio_ci"] = interval(ratios)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    machine = msgspec.to_builtins(describe_machine())
    result = measure("broker", out_of_the_broker, args.rounds, args.messages)
    result |= measure("alone", out_of_the_replay, args.rounds, args.messages)
    result["load_1m"] = round(os.getloadavg()[0], 1)
    if args.json:
        print(json.dumps({"machine": machine, **result}, indent=2))
        return
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1m']:.1f}\n")
    for name, value in result.items():
        promise = f"   (promised: {PROMISES[name]})" if name in PROMISES else ""
        print(f"{name:28} {value}{promise}")


if __name__ == "__main__":
    main()
