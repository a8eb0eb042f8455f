"""A device of the campaign: it puts messages into its outbox, writes down which, and sends them, until it is killed.

python device.py NAME BROKER_URL FOLDER OUTBOX TOTAL RATE SEED [--forget-at-puback]
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np

from edgeloop.compression import inflate
from edgeloop.errors import StorageError
from edgeloop.files import write_atomic
from edgeloop.link import Link
from edgeloop.messages import Ack, EventMessage, ModelRef, ProfileMessage, SampleMessage, Up, pack_array
from edgeloop.mqtt import parse_broker_url
from edgeloop.outbox import Outbox
from edgeloop.profile import pack_counts
from edgeloop.uplink import Uplink

MODEL = ModelRef("campaign", 1, "c" * 64)
LARGE_SHARE = 1 / 4000
KEEPALIVE_S = 4


class Clock:
    """`time.time`, which jumps at SIGUSR1."""

    def __init__(self, seed: int) -> None:
        self._rng, self._time, self._offset_s = random.Random(seed), time.time, 0.0
        time.time = self  # type: ignore[assignment]
        signal.signal(signal.SIGUSR1, self._jump)

    def __call__(self) -> float:
        return max(0.0, self._time() + self._offset_s)

    def _jump(self, *_: object) -> None:
        self._offset_s = self._rng.uniform(-3, 3) * 365 * 86400


def messages(name: str, rng: random.Random, n: int) -> list[Up]:
    """`n` messages of all kinds; a sample's `ref` is the hash of its input."""
    made: list[Up] = []
    for _ in range(n):
        kind = rng.random()
        if kind < 0.4:
            made.append(EventMessage(device=name, time_s=time.time(), event="campaign", detail={"n": rng.random()}))
        elif kind < 0.6:
            counts = pack_counts(np.array([rng.randrange(9) for _ in range(20)], dtype=np.int64))
            made.append(
                ProfileMessage(
                    device=name, time_s=time.time(), model=MODEL, start_s=0, end_s=1, n=sum(counts), counts=counts
                )
            )
        else:
            size = rng.randint(300_000, 500_000) if rng.random() < LARGE_SHARE / 0.4 else rng.randint(1, 400)
            data = rng.randbytes(size) if rng.random() < 0.5 else bytes(size)
            made.append(
                SampleMessage(
                    device=name,
                    time_s=time.time(),
                    model=MODEL,
                    ref=hashlib.sha256(data).hexdigest(),
                    reason="audit",
                    probability=1,
                    input=pack_array(np.frombuffer(data, dtype=np.uint8)),
                    output=pack_array(np.zeros(2, dtype=np.float32)),
                )
            )
    return made


def forget_at_puback(outbox: Outbox) -> None:
    """The mistake that the acknowledgement from end to end is there against."""

    class Head(msgspec.Struct):
        epoch: int
        seq: int

    sent: dict[int, Head] = {}
    send, was_sent = Link.send, Link._sent  # noqa: SLF001  # sabotage

    def remember(self: Link, topic: str, payload: bytes, **options: object) -> int:
        packet_id = send(self, topic, payload, **options)
        read = msgspec.json.decode if payload[:1] == b"{" else msgspec.msgpack.decode
        sent[packet_id] = read(inflate(payload, 1 << 24), type=Head)
        return packet_id

    def forget(self: Link, mid: int, reason: int) -> None:
        was_sent(self, mid, reason)
        if head := sent.pop(mid, None):
            outbox.acknowledge(Ack(head.epoch, ((head.seq, head.seq),)))

    Link.send, Link._sent = remember, forget  # noqa: SLF001


def main() -> None:
    name, url, folder, outbox_path, total, rate, seed = sys.argv[1:8]
    rng = random.Random(seed)
    Clock(int(seed))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    ledger = os.open(Path(folder) / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        try:
            outbox = Outbox(outbox_path, max_rows=10**6, max_bytes=1 << 30)
            break
        except StorageError:
            time.sleep(0.2)
    if "--forget-at-puback" in sys.argv:
        forget_at_puback(outbox)
    uplink = Uplink(outbox, parse_broker_url(url), name, keepalive_s=KEEPALIVE_S)
    uplink.start()
    next_status_s = 0.0
    while not stop.is_set():
        done = outbox.counters().put >= int(total)
        if not done:
            try:
                seqs = outbox.put(messages(name, rng, rng.randint(1, 40)))
            except StorageError:
                stop.wait(0.2)
            else:
                os.write(ledger, f"{outbox.epoch} {seqs[0]} {seqs[-1]}\n".encode())
                uplink.wake()
                stop.wait(len(seqs) / float(rate))
        else:
            stop.wait(0.1)
        if time.monotonic() >= next_status_s:
            next_status_s = time.monotonic() + 0.3
            write_atomic(Path(folder) / "status", json.dumps(asdict(outbox.counters())))
    uplink.stop(drain_s=0)
    write_atomic(Path(folder) / "status", json.dumps(asdict(outbox.counters())))
    outbox.close()


if __name__ == "__main__":
    main()
