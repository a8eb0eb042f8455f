"""The processes of `uplink.py`; each prints one JSON document.

python benchmarks/suites/uplink_roles.py ROLE ARGUMENTS…
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from edgeloop.messages import ModelRef, SampleMessage, encode_up, pack_array
from edgeloop.topics import DeviceTopics

MODEL = ModelRef("bench", 1, "b" * 64)
NAME = "bench-device"
GROUP = 256  # of what the agent puts twice a second


def sample(rng: np.random.Generator, seq: int = 0, device: str = NAME, payload_bytes: int = 1000) -> SampleMessage:
    """A sample of about 1 kB on the wire; noise, which no compression makes smaller."""
    noise = rng.integers(0, 256, payload_bytes - 290, dtype=np.uint8)
    return SampleMessage(
        device=device,
        epoch=1,
        seq=seq,
        time_s=time.time(),
        model=MODEL,
        ref="frame",
        reason="audit",
        probability=1,
        input=pack_array(noise),
        output=pack_array(np.zeros(4, dtype=np.float32)),
    )


def client(url: str, name: str, **options: object):
    import paho.mqtt.client as paho

    parts = urlsplit(url)
    made = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5, **options)
    made.connect(parts.hostname, parts.port)
    return made


def spent(n: int, start_s: float, cpu_s: float) -> dict:
    """Messages a second since `start_s`, and processor time of this process for each since `cpu_s`."""
    return {
        "per_s": n / (time.perf_counter() - start_s),
        "cpu_us": 1e6 * (time.process_time() - cpu_s) / n,
    }


def bare(url: str, n: str) -> dict:
    """Bare paho: publish with QoS 1 as fast as it goes, until the broker has acknowledged all."""
    # In the range that the device's sequence numbers have on the average, so that both send as many bytes.
    payloads = [encode_up(sample(np.random.default_rng(i), 300 + i)) for i in range(64)]
    topic = DeviceTopics("bare-device").up("sample")
    mine = client(url, "bare")
    left, done = [int(n)], threading.Event()

    def published(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            done.set()

    mine.on_publish = published
    mine.loop_start()
    time.sleep(0.5)
    start, cpu = time.perf_counter(), time.process_time()
    for i in range(int(n)):
        mine.publish(topic, payloads[i % 64], 1)
    assert done.wait(120)
    return spent(int(n), start, cpu) | {"payload_bytes": len(payloads[0])}


def device(url: str, n: str, folder: str) -> dict:
    """The outbox and the uplink: durably put in groups of 256, sent, acknowledged by the centre and forgotten."""
    from edgeloop.mqtt import parse_broker_url
    from edgeloop.outbox import Outbox
    from edgeloop.uplink import Uplink

    made = [sample(np.random.default_rng(i)) for i in range(64)]
    with Outbox(Path(folder) / "outbox.sqlite") as outbox:
        uplink = Uplink(outbox, parse_broker_url(url), NAME)
        uplink.start()
        time.sleep(0.5)
        start, cpu = time.perf_counter(), time.process_time()
        for i in range(0, int(n), GROUP):
            outbox.put([made[(i + j) % 64] for j in range(min(GROUP, int(n) - i))])
            uplink.wake()
        while outbox.counters().pending:
            time.sleep(0.005)
            assert time.perf_counter() - start < 120
        result = spent(int(n), start, cpu)
        uplink.stop(drain_s=0)
    return result


def acknowledger(url: str) -> None:
    """A centre without a lake, until it is killed."""
    from uplink_centre import acknowledge_for_ever

    acknowledge_for_ever(url)


def delay(url: str, seconds: str, folder: str) -> dict:
    """From `put` to the centre's acknowledgement, at 100 messages a second."""
    from edgeloop.messages import Ack
    from edgeloop.mqtt import parse_broker_url
    from edgeloop.outbox import Outbox
    from edgeloop.uplink import Uplink

    put_s: dict[int, float] = {}
    delays: list[float] = []

    class Timed(Outbox):
        def acknowledge(self, ack: Ack) -> int:
            gone = super().acknowledge(ack)
            now = time.perf_counter()
            for first, last in ack.ranges:
                delays.extend(now - put_s.pop(seq) for seq in range(first, last + 1) if seq in put_s)
            return gone

    rng = np.random.default_rng(0)
    with Timed(Path(folder) / "outbox.sqlite") as outbox:
        uplink = Uplink(outbox, parse_broker_url(url), "delay-device")
        uplink.start()
        time.sleep(1)
        start = time.perf_counter()
        for i in range(int(float(seconds) * 100)):
            time.sleep(max(0.0, start + i / 100 - time.perf_counter()))
            now = time.perf_counter()
            (seq,) = outbox.put([sample(rng, device="delay-device")])
            put_s[seq] = now
            uplink.wake()
        uplink.stop(drain_s=10)
    return {f"p{q}_s": round(float(np.percentile(delays, q)), 3) for q in (50, 95, 99)} | {"n": len(delays)}


def footprint(url: str, folder: str) -> dict:
    """Memory that outbox and uplink add to a process that can run a model, and processor time at rest."""
    import edgeloop.updates  # noqa: F401  # artifact, signature and runtime: what the device has anyway

    made = [sample(np.random.default_rng(i)) for i in range(64)]
    [encode_up(each) for each in made]
    before = rss()
    from edgeloop.mqtt import parse_broker_url
    from edgeloop.outbox import Outbox
    from edgeloop.uplink import Uplink

    with Outbox(Path(folder) / "outbox.sqlite") as outbox:
        uplink = Uplink(outbox, parse_broker_url(url), NAME)
        uplink.start()
        for i in range(0, 20_000, 32):
            outbox.put([made[(i + j) % 64] for j in range(32)])
            uplink.wake()
        while outbox.counters().pending:
            time.sleep(0.01)
        after = rss()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(15)
        rest = (time.process_time() - cpu) / (time.perf_counter() - wall)
        uplink.stop(drain_s=0)
    return {
        "added_mb": round(after - before, 1),
        "peak_added_mb": round(peak - before, 1),
        "at_rest_share_of_a_core": round(rest, 5),
    }


def rss() -> float:
    """Resident memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def wear(folder: str) -> dict:
    """What a day of defaults writes: a profile a minute, 1 MB of samples, each acknowledged; by the kernel."""
    from edgeloop.messages import Ack, ProfileMessage
    from edgeloop.outbox import Outbox

    rng = np.random.default_rng(0)
    profiles = 1440
    samples = int(1e6 / 1000)
    with Outbox(Path(folder) / "outbox.sqlite") as outbox:
        os.sync()
        before = written()
        payload = 0
        for minute in range(profiles):
            counts = b"\x02" + rng.integers(0, 256, 800, dtype=np.uint8).tobytes()
            profile = ProfileMessage(device=NAME, time_s=0, model=MODEL, start_s=0, end_s=60, n=1800, counts=counts)
            picked = [sample(rng) for _ in range(samples * (minute + 1) // profiles - samples * minute // profiles)]
            for group in ([*picked], [profile]):  # they rarely come in one batch
                if group:
                    seqs = outbox.put(group)
                    payload += sum(len(row.payload) for row in outbox.pending())
                    outbox.acknowledge(Ack(outbox.epoch, ((seqs[0], seqs[-1]),)))
    os.sync()
    total = written() - before
    return {
        "payload_mb": round(payload / 1e6, 2),
        "written_mb": round(total / 1e6, 1),
        "factor": round(total / payload, 1),
    }


def written() -> int:
    """Bytes that this process has had written to a disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


ROLES = {f.__name__: f for f in (bare, device, acknowledger, delay, footprint, wear)}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as own:
        role, arguments = sys.argv[1], sys.argv[2:]
        print(json.dumps(ROLES[role](*[own if a == "TEMP" else a for a in arguments])))
