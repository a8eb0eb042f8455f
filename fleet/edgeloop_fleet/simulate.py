"""A load test of the whole centre: simulated devices, a broker, ingest processes, a lake, and what became of it all."""

from __future__ import annotations

import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop.errors import BrokerError, ConfigError
from edgeloop.histogram import histogram
from edgeloop.messages import ModelRef, ProfileMessage, encode
from edgeloop.mqtt import parse_broker_url
from edgeloop.profile import pack_counts
from edgeloop.tls import TlsFiles
from edgeloop.topics import SHARDS
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.meters import ProcessMeter, children
from edgeloop_fleet.progress import Progress
from edgeloop_fleet.swarm import Swarm

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

__all__ = ["Load", "simulate"]

_FEATURES, _BINS = 10, 21
_READY_S = 60.0
_LOOK_S = 5.0
_SPARE_FILES = 200


@dataclass(frozen=True)
class Load:
    """What is simulated.

    Args:
        devices: how many.
        duration_s: for how long they send.
        interval_s: between two messages of a device.
        connects_per_s: how many connect, at most.
        ingest: how many ingest processes share the shards; 0: one runs already.
        drain_s: how long the last acknowledgements are waited for.
        seed: of the profiles' counts and of the moments of sending.
    """

    devices: int
    duration_s: float
    interval_s: float = 60.0
    connects_per_s: float = 500.0
    ingest: int = 1
    drain_s: float = 60.0
    seed: int = 1


def simulate(
    load: Load,
    *,
    broker_url: str | None,
    lake_uri: str | None,
    centre_url: str | None = None,
    certificates: Path | None = None,
    watch: Sequence[tuple[str, int]] = (),
    progress: Progress,
) -> dict[str, Any]:
    """Run it.

    Args:
        load: what.
        broker_url: `mqtt://…`; None starts the embedded broker.
        lake_uri: where it goes; None is a folder that is gone afterwards.
        centre_url: where the ingest processes connect; None for where the devices do.
        certificates: the folder of devices that `edgeloop enroll` writes, for `mqtts://…`: the first of them are
            simulated. The centre's own files come from the environment (see `edgeloop.tls`).
        watch: processes to be measured as well: (name, pid).
        progress: told how it goes.

    Returns:
        What the command prints as JSON; see `docs/reference/sizing.md`.

    Raises:
        ConfigError: the system allows fewer open files than there are devices, or some of them have no certificate.
        BrokerError: not all devices or ingest processes could connect.
        LakeError: the lake can't be read.
    """
    _allow_files(load.devices + _SPARE_FILES)
    epoch = int(time.time()) << 20 | random.Random(time.time_ns()).getrandbits(20)  # noqa: S311  # no secret
    rng = random.Random(load.seed)  # noqa: S311  # the load, no secret
    devices = _devices(load.devices, broker_url, certificates)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeloop-simulate-")))
        lake = Lake(lake_uri or folder / "lake")
        meters = [ProcessMeter(name, pid) for name, pid in watch]
        url = broker_url or stack.enter_context(_embedded(folder, meters))
        ingests = stack.enter_context(_ingests(centre_url or url, lake.uri, load.ingest, meters))
        swarm = Swarm(parse_broker_url(url), devices, epoch=epoch, payload=_payloads(epoch, load.seed), rng=rng)
        stack.callback(swarm.close)
        meters.append(ProcessMeter("devices", multiprocessing.current_process().pid or 0))
        with progress.bar(f"connect {load.devices} devices", load.devices) as advance:
            connect_s = swarm.connect(
                per_s=load.connects_per_s, timeout_s=_connect_timeout_s(load), on_ready=_by(advance)
            )
        look = _looker(meters)
        with progress.bar(f"send for {load.duration_s:g} s", int(load.duration_s)) as advance:
            by = _by(advance)
            start_s = time.monotonic()

            def on_step(elapsed_s: float) -> None:
                by(int(elapsed_s))
                look()

            swarm.send_for(load.duration_s, interval_s=load.interval_s, on_step=on_step)
        connected = swarm.ready
        with progress.spinner("wait for the last acknowledgements"):
            swarm.drain(load.drain_s, lambda _: look())
            seconds = time.monotonic() - start_s
        counters = [ingest.stop() for ingest in ingests]
        found = _count(lake, epoch, {device.name: device.seq for device in swarm.devices})
    tally = swarm.tally
    delays = histogram(np.asarray(tally.delays_us))
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        "devices": load.devices,
        "connected": connected,
        "duration_s": load.duration_s,
        "interval_s": load.interval_s,
        "broker": broker_url or "embedded",
        "connect": {"seconds": round(connect_s, 1), "refused": tally.refused, "problem": tally.problem},
        "reconnects": tally.connections - load.devices,
        "sent": tally.sent,
        "resent": tally.resent,
        "acknowledged": tally.acknowledged,
        **found,
        "sent_per_s": round(tally.sent / load.duration_s, 1),
        "stored_per_s": round(found["stored"] / seconds, 1),
        "delay_ms": {name: _ms(delays.quantile_us(q)) for name, q in quantiles.items()},
        "ingest": counters,
        "processes": [meter.report() for meter in meters],
    }


def _devices(count: int, broker_url: str | None, certificates: Path | None) -> dict[str, TlsFiles | None]:
    """The devices' names, and the files of each."""
    if certificates is None:
        if broker_url is not None and parse_broker_url(broker_url).tls:
            raise ConfigError(f"{broker_url}: each device needs a certificate of its own: say where --certificates are")
        return {f"sim-{index:06d}": None for index in range(count)}
    folders = sorted(path.parent for path in certificates.glob("*/device.crt"))[:count]
    if len(folders) < count:
        raise ConfigError(f"{certificates}: {len(folders)} certificates for {count} devices: `edgeloop enroll` them")
    return {path.name: TlsFiles(*(str(path / f) for f in ("ca.crt", "device.crt", "device.key"))) for path in folders}


def _ingest(url: str, lake_uri: str, shards: list[int], pipe: Connection) -> None:
    """An ingest process: says when it is ready, and at the end, when it is asked to, what it has done."""
    from edgeloop_fleet.ingest import Ingester
    from edgeloop_fleet.retention import Caretaker

    lake = Lake(lake_uri)
    with Caretaker(lake), Ingester(url, lake, shards=shards) as ingester:
        ingester.wait_connected(_READY_S)
        pipe.send(None)
        while not pipe.poll(0.5):
            ingester.check()
    pipe.send(vars(ingester.counters))


class _Ingest:
    """The parent's side of an ingest process."""

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process, self._pipe = process, pipe

    def wait_ready(self) -> None:
        if not self._pipe.poll(_READY_S):
            raise BrokerError(f"an ingest process isn't ready after {_READY_S:g} s")
        self._receive()

    def stop(self) -> dict[str, int]:
        """Have it commit what has come; what it has done."""
        self._pipe.send(None)
        return dict(self._receive())

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise BrokerError("an ingest process has ended early: its message stands above") from error


@contextmanager
def _ingests(url: str, lake_uri: str, count: int, meters: list[ProcessMeter]) -> Iterator[list[_Ingest]]:
    context = multiprocessing.get_context("spawn")
    started: list[_Ingest] = []
    try:
        for part in range(count):
            ours, theirs = context.Pipe()
            shards = list(range(SHARDS))[part::count]
            process = context.Process(target=_ingest, args=(url, lake_uri, shards, theirs), daemon=True)
            process.start()
            theirs.close()
            started.append(_Ingest(process, ours))
            meters.append(ProcessMeter(f"ingest {part}", process.pid or 0))
        for ingest in started:
            ingest.wait_ready()
        yield started
    finally:
        for ingest in started:
            ingest.process.terminate()
            ingest.process.join()


@contextmanager
def _embedded(folder: Path, meters: list[ProcessMeter]) -> Iterator[str]:
    from edgeloop_fleet.broker import EmbeddedBroker

    own = multiprocessing.current_process().pid or 0
    before = set(children(own))
    with EmbeddedBroker(folder / "broker") as broker:
        meters += [ProcessMeter("broker", pid) for pid in children(own) if pid not in before]
        yield broker.url


def _payloads(epoch: int, seed: int) -> Callable[[str, int], bytes]:
    """Profiles as of a model with ten features: some hundred inputs over twenty bins and one for missing values."""
    rng = np.random.default_rng(seed)
    model = ModelRef(name="simulated", version=1, sha256="0" * 64)
    packed = [
        pack_counts(rng.multinomial(600, [0.998 / (_BINS - 1)] * (_BINS - 1) + [0.002], size=_FEATURES).reshape(-1))
        for _ in range(64)
    ]

    def payload(device: str, seq: int) -> bytes:
        now_s = time.time()
        return encode(
            ProfileMessage(
                device=device,
                epoch=epoch,
                seq=seq,
                time_s=now_s,
                model=model,
                start_s=now_s - 60,
                end_s=now_s,
                n=600,
                counts=packed[seq % len(packed)],
            )
        )

    return payload


def _count(lake: Lake, epoch: int, sent: dict[str, int]) -> dict[str, int]:
    """What of this run is in the lake: by identity, since a count alone could hide a loss behind a duplicate."""
    rows = lake.read("profiles", ("device", "seq"), f"epoch = {epoch}")
    aside = lake.read("quarantine", ("device", "seq"), f"epoch = {epoch}").num_rows
    identities = set(zip(rows["device"].to_pylist(), rows["seq"].to_pylist(), strict=True))
    expected = {(device, seq) for device, last in sent.items() for seq in range(1, last + 1)}
    return {
        "stored": len(identities & expected),
        "lost": len(expected - identities),
        "duplicates": rows.num_rows - len(identities),
        "quarantined": aside,
    }


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(f"{wanted} open files are needed and {hard} allowed: raise the limit (`ulimit -Hn`)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _connect_timeout_s(load: Load) -> float:
    return 60 + 3 * load.devices / load.connects_per_s


def _looker(meters: list[ProcessMeter]) -> Callable[[], None]:
    last_s = -_LOOK_S

    def look() -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _LOOK_S:
            last_s = now_s
            for meter in meters:
                meter.look(now_s)

    return look


def _by(advance: Callable[[], None]) -> Callable[[int], None]:
    """From how far it is to steps of a bar."""
    done = 0

    def to(count: int) -> None:
        nonlocal done
        for _ in range(count - done):
            advance()
        done = max(done, count)

    return to


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else round(microseconds / 1000, 1)
