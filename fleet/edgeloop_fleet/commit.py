"""From a batch of messages to commits and acknowledgements: exactly once, by identity. No thread, no broker.

A row is new when its identity isn't committed; all that is, new or not, is acknowledged. Each shard's rows carry the
shard's transaction version of that table, so that of two ingest processes which overlap by mistake one loses, reads
again what is committed, and finds the other's rows there. The same holds after a crash between two tables' commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import pyarrow as pa

from edgeloop.compression import inflate
from edgeloop.errors import MessageError
from edgeloop.messages import MAX_SAMPLE_BYTES, Ack, Part, State, decode, decode_part, decode_up
from edgeloop.parts import Joiner
from edgeloop.topics import UpTopic, parse_up, shard_of
from edgeloop_fleet.dedupe import Ranges, Seen, runs
from edgeloop_fleet.devices import Devices
from edgeloop_fleet.errors import LostRaceError
from edgeloop_fleet.inbox import Received
from edgeloop_fleet.lake import Lake
from edgeloop_fleet.rows import Row, device_row, message_row, quarantine_row, table_of
from edgeloop_fleet.schemas import SCHEMAS

__all__ = ["Committer", "Counters"]

Identity = tuple[str, int, int]

_TABLES = ("events", "profiles", "samples", "quarantine")


@dataclass
class Counters:
    """What an ingest has done since it started.

    Args:
        received: messages that came; the sum of the next five, and of the states.
        stored: rows that it has committed.
        duplicates: messages that were stored already.
        quarantined: messages that didn't validate.
        parts: pieces of longer messages, but for the last piece of each.
        foreign: messages of devices that are another ingest's.
    """

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    parts: int = 0
    foreign: int = 0


@dataclass
class _Sorted:
    """A batch, read: rows by table, states, and what is to be acknowledged."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    states: list[State] = field(default_factory=list)
    identities: set[Identity] = field(default_factory=set)
    duplicates: int = 0
    parts: int = 0
    foreign: int = 0


class Committer:
    """Stores batches for a group of shards. One thread at a time.

    Args:
        lake: where to.
        shards: whose devices' rows; what is committed of them is read from the lake.
        devices: the view that states go to.
        clock: gives the time of ingest, aware.

    Raises:
        LakeError: the lake can't be read.
    """

    def __init__(self, lake: Lake, shards: Iterable[int], devices: Devices, clock: Callable[[], datetime]) -> None:
        self.counters = Counters()
        self._lake = lake
        self._shards = sorted(set(shards))
        self._devices = devices
        self._clock = clock
        self._seen = Seen(self._committed)
        self._joiner = Joiner()
        # Of the batch that is being stored: it may be stored again, but its parts are joined once.
        self._wholes: dict[Identity, bytes] = {}
        self._versions: dict[str, dict[int, int]] = {}
        self._reload()

    def store(self, batch: list[Received]) -> list[tuple[str, Ack]]:
        """Commit what is new in a batch, and give the acknowledgements to send, as (device, ack).

        Raises:
            LostRaceError: another writer of these shards was faster; what is committed was read again: call it again.
            LakeError: the storage failed: call it again with the same batch.
        """
        found = self._sort(batch)
        try:
            for table in _TABLES:
                if found.rows[table]:
                    self._commit(table, found.rows[table])
        except LostRaceError:
            self._reload()
            raise
        self._store_states(found.states)
        self.counters.received += len(batch)
        self.counters.duplicates += found.duplicates
        self.counters.parts += found.parts
        self.counters.foreign += found.foreign
        self._wholes.clear()
        return _acks(found.identities)

    def _sort(self, batch: list[Received]) -> _Sorted:
        found = _Sorted()
        now = self._clock()
        read: list[tuple[Identity, str, Row]] = []
        for message in batch:
            topic = None
            try:
                topic = parse_up(message.topic)
                if shard_of(topic.device) not in self._shards:
                    found.foreign += 1
                    continue
                if topic.kind == "state":
                    if message.payload:  # an empty one clears what is retained: MQTT's way, and no state
                        found.states.append(_state(topic.device, message.payload))
                    continue
                kind, payload = topic.kind, message.payload
                if kind == "part":
                    whole = self._join(decode_part(topic.device, payload))
                    if whole is None:
                        found.parts += 1
                        continue
                    kind, payload = whole
                up = decode_up(kind, topic.device, payload)
                table, row = table_of(up), message_row(up, now)
            except MessageError as error:
                identity = _identity(topic, message.payload)
                row = quarantine_row(message.topic, message.payload, str(error), identity, now)
                if identity is None:
                    found.rows["quarantine"].append(row)
                    continue
                table = "quarantine"
            read.append(((row["device"], row["epoch"], row["seq"]), table, row))
        self._seen.load({key[0] for key, _, _ in read})
        for key, table, row in read:
            if key in self._seen or key in found.identities:
                found.duplicates += 1
            else:
                found.rows[table].append(row)
            found.identities.add(key)
        return found

    def _join(self, part: Part) -> tuple[str, bytes] | None:
        """The kind and the payload of the whole, once it is there.

        A batch that is stored again brings its parts again, of which the earlier ones may be gone: what came out of
        them is kept until then.
        """
        key = (part.device, part.epoch, part.seq)
        if key not in self._wholes:
            whole = self._joiner.add(part)
            if whole is None:
                return None
            self._wholes[key] = whole
        return part.of, self._wholes[key]

    def _commit(self, table: str, rows: list[Row]) -> None:
        versions = self._versions[table]
        shards = sorted({row["shard"] for row in rows if row["shard"] is not None})
        for shard in shards:
            versions.setdefault(shard, self._lake.transaction_version(table, _app_id(shard)))
        self._lake.append(
            table,
            pa.Table.from_pylist(rows, schema=SCHEMAS[table]),
            transactions={_app_id(shard): versions[shard] + 1 for shard in shards},
        )
        for shard in shards:
            versions[shard] += 1
        self._seen.add((r["device"], r["epoch"], r["seq"]) for r in rows if r["device"] is not None)
        if table == "quarantine":
            self.counters.quarantined += len(rows)
        else:
            self.counters.stored += len(rows)

    def _store_states(self, states: list[State]) -> None:
        changed = [state.device for state in states if self._devices.update(state)]
        if changed:
            now, view = self._clock(), self._devices.snapshot()
            rows = [device_row(view[device], now) for device in sorted(set(changed))]
            self._lake.append("devices", pa.Table.from_pylist(rows, schema=SCHEMAS["devices"]))

    def _reload(self) -> None:
        """Read where the lake stands. The identities are read when their devices are heard of, which is later.

        So a commit in between shows in them and not in the versions, and makes us lose a race. The other way round,
        fresh versions with stale identities would let a row in twice.
        """
        self._versions = {t: {s: self._lake.transaction_version(t, _app_id(s)) for s in self._shards} for t in _TABLES}
        self._seen.clear()

    def _committed(self, devices: Collection[str]) -> Iterator[tuple[str, int, int, int]]:
        where = f"device IN ({', '.join(repr(device) for device in devices)})"  # their names have passed `parse_up`
        for table in _TABLES:
            for batch in self._lake.scan(table, ("device", "epoch", "seq"), where):
                names, epochs, seqs = batch.columns
                yield from runs(names.cast(pa.string()).dictionary_encode(), epochs, seqs)
        for row in self._lake.read("forgotten", ("device", "epoch", "first", "last"), where).to_pylist():
            yield row["device"], row["epoch"], row["first"], row["last"]


def _app_id(shard: int) -> str:
    return f"ingest/{shard:02d}"


def _state(device: str, payload: bytes) -> State:
    state = decode(payload, State)
    if state.device != device:
        raise MessageError(f"a state of device {state.device!r} came on the topic of {device!r}")
    return state


class _Head(msgspec.Struct):
    device: str
    epoch: int
    seq: int


def _identity(topic: UpTopic | None, payload: bytes) -> Identity | None:
    """The identity of a message that doesn't validate, where it still tells one that is its sender's own.

    It is then acknowledged too: an outbox that got no answer would send it for ever.
    """
    if topic is None or topic.kind == "state":
        return None
    try:
        payload = inflate(payload, MAX_SAMPLE_BYTES)
    except MessageError:
        return None
    for read in (msgspec.msgpack.decode, msgspec.json.decode):
        try:
            head = read(payload, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if head.device == topic.device and 0 <= head.epoch < 2**63 and 1 <= head.seq < 2**63:
            return head.device, head.epoch, head.seq
    return None


def _acks(identities: set[Identity]) -> list[tuple[str, Ack]]:
    ranges: dict[tuple[str, int], Ranges] = defaultdict(Ranges)
    for device, epoch, seq in sorted(identities):
        ranges[device, epoch].add(seq)
    return [(device, Ack(epoch=epoch, ranges=r.as_tuple())) for (device, epoch), r in ranges.items()]
