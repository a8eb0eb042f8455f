"""The processes of `ingest.py`; each prints one JSON document, but for `replay`.

python benchmarks/suites/ingest_roles.py ROLE ARGUMENTS…
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from pathlib import Path

import numpy as np
from uplink_roles import client, sample

from edgeloop.messages import encode_up
from edgeloop.topics import DeviceTopics, shard_of

WINDOW = 2000  # what ingest grants
WAITING = 30_000


def device_of(shard: int) -> str:
    return next(f"d{i}" for i in range(10**6) if shard_of(f"d{i}") == shard)


def preload(url: str, n: str, shards: str) -> dict:
    """Publish `n` messages of a device in each of some shards, for the queues of ingests that are away."""
    names = [device_of(int(shard)) for shard in shards.split(",")]
    mine = client(url, "preload")
    mine.loop_start()
    rng = np.random.default_rng(0)
    for seq in range(1, int(n) + 1):
        for name in names:
            mine.publish(DeviceTopics(name).up("sample"), encode_up(sample(rng, seq, name)), 1)
        # paho's packet identifiers begin again after 65,535, and a message that still waits under one is lost then.
        while seq % 1000 == 0 and len(mine._out_messages) > WAITING:  # noqa: SLF001  # paho has no other word for it
            time.sleep(0.01)
    while mine._out_messages:  # noqa: SLF001
        time.sleep(0.01)
    return {}


def ingest(url: str, lake: str, shard: str, n: str) -> dict:
    """The real ingest: from its first commit to that of its last message; and for `n` = 0 only the subscription."""
    from edgeloop_fleet.ingest import Ingester
    from edgeloop_fleet.lake import Lake

    with Ingester(url, Lake(lake), shards=[int(shard)]) as running:
        running.wait_connected()
        while int(n) and not running.counters.received:
            time.sleep(0.0005)
        start_s, cpu_s, idle_s = time.perf_counter(), time.process_time(), idle()
        first = running.counters.received
        while running.counters.stored < int(n):
            time.sleep(0.005)
            running.check()
        return {
            "start_s": start_s,
            "end_s": time.perf_counter(),
            "cpu_s": time.process_time() - cpu_s,
            "idle_s": idle() - idle_s,
            "first": first,
        }


def idle() -> float:
    """For how long the machine's cores have had nothing to do, seconds (proc_stat(5): idle and waiting for a disk)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def replay(shard: str, n: str) -> None:
    """Say where it listens, then give the `n` messages of one device to whoever connects and subscribes, within its
    window, and acknowledge what comes. Of MQTT 5 just what that takes; all bytes are made before.
    """
    name, rng = device_of(int(shard)), np.random.default_rng(0)
    topic = DeviceTopics(name).up("sample").encode()
    packets = [publish(topic, i % 65535 + 1, encode_up(sample(rng, i + 1, name))) for i in range(int(n))]
    ends = np.cumsum([len(packet) for packet in packets])
    stream = b"".join(packets)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(f"mqtt://127.0.0.1:{server.getsockname()[1]}", flush=True)
        sock, _ = server.accept()
    sock.setblocking(False)
    came, answers, out = bytearray(), bytearray(), memoryview(b"")
    sent = acknowledged = 0
    is_open = False
    while True:
        if not out:
            allowed = int(ends[min(acknowledged + WINDOW, len(ends)) - 1]) if is_open else 0
            out = memoryview(bytes(answers) + stream[sent:allowed])
            answers.clear()
            sent = max(sent, allowed)
        poll = select.poll()
        poll.register(sock, select.POLLIN | (select.POLLOUT if out else 0))
        event = poll.poll()[0][1]
        if event & select.POLLOUT:
            out = out[sock.send(out) :]
        if not event & ~select.POLLOUT:
            continue
        data = sock.recv(1 << 16)
        if not data:
            return
        came += data
        for kind, body in take_packets(came):
            if kind == 1:
                answers += b"\x20\x03\x00\x00\x00"
            elif kind == 8:
                filters = body.count(b"edgeloop/1/")
                answers += bytes([0x90, 3 + filters]) + body[:2] + b"\x00" + b"\x01" * filters
                is_open = True
            elif kind == 4:
                acknowledged += 1
            elif kind == 3:
                length = int.from_bytes(body[:2], "big")
                answers += b"\x40\x02" + body[2 + length : 4 + length]


def publish(topic: bytes, packet_id: int, payload: bytes) -> bytes:
    """A PUBLISH with QoS 1 and no properties (MQTT 5, 3.3)."""
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + b"\x00" + payload
    head = bytearray(b"\x32")
    left = len(body)
    while True:
        left, digit = left >> 7, left & 127
        head.append(digit | (128 if left else 0))
        if not left:
            return bytes(head) + body


def take_packets(came: bytearray) -> list[tuple[int, bytes]]:
    """The whole packets at the front, as (kind, body); they are removed."""
    found, at = [], 0
    while True:
        size, shift, here = 0, 0, at + 1
        while here < len(came):
            size |= (came[here] & 127) << shift
            shift, here = shift + 7, here + 1
            if came[here - 1] < 128:
                break
        else:
            break
        if here + size > len(came):
            break
        found.append((came[at] >> 4, bytes(came[here : here + size])))
        at = here + size
    del came[:at]
    return found


ROLES = {f.__name__: f for f in (preload, ingest, replay)}

if __name__ == "__main__":
    done = ROLES[sys.argv[1]](*sys.argv[2:])
    if done is not None:
        print(json.dumps(done))
