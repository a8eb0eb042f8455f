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
from functools import lru_cache
from typing import Any

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
from edgeloop_fleet.rows import (
    KEPT_BYTES,
    Row,
    check_message,
    device_row,
    held_bytes,
    message_rows,
    quarantine_row,
    table_of,
)
from edgeloop_fleet.schemas import SCHEMAS

__all__ = ["Committer", "Counters"]

Identity = tuple[str, int, int]
Boot = tuple[str, int]

_TABLES = ("events", "profiles", "samples", "quarantine")
_MOST_BYTES = 64 << 20  # of messages as they are in memory: a deflated one may be a thousand times as long
_TOPICS = 1 << 16  # whose reading is remembered

_parse_up = lru_cache(maxsize=_TOPICS)(parse_up)


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
class _New:
    """What is to be committed to one table: its rows, and their sequence numbers by boot."""

    rows: list[Any] = field(default_factory=list)
    seqs: dict[Boot, list[int]] = field(default_factory=lambda: defaultdict(list))


@dataclass
class _Sorted:
    """A piece of a batch, read: what is new by table, states, and what is to be acknowledged."""

    new: dict[str, _New] = field(default_factory=lambda: defaultdict(_New))
    states: list[State] = field(default_factory=list)
    heard: dict[Boot, set[int]] = field(default_factory=lambda: defaultdict(set))
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
        self._shards = frozenset(shards)
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
        acks: list[tuple[str, Ack]] = []
        at = 0
        while at < len(batch):
            found, at = self._sort(batch, at)
            try:
                for table in _TABLES:
                    if found.new[table].rows:
                        self._commit(table, found.new[table])
            except LostRaceError:
                self._reload()
                raise
            self._store_states(found.states)
            self.counters.duplicates += found.duplicates
            self.counters.parts += found.parts
            self.counters.foreign += found.foreign
            acks += _acks(found.heard)
        self.counters.received += len(batch)
        self._wholes.clear()
        return acks

    def _sort(self, batch: list[Received], at: int) -> tuple[_Sorted, int]:
        """Read messages from `at` on, as many as memory is for; give what they are, and where the rest begins."""
        found = _Sorted()
        now = self._clock()
        read: list[tuple[Identity, str, Any]] = []
        held = 0
        while at < len(batch) and held < _MOST_BYTES:
            message = batch[at]
            at += 1
            topic = None
            try:
                topic = _parse_up(message.topic)
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
                check_message(up)
            except MessageError as error:
                identity = _identity(topic, message.payload)
                row = quarantine_row(message.topic, message.payload, str(error), identity, now)
                held += KEPT_BYTES
                if identity is None:
                    found.new["quarantine"].rows.append(row)
                else:
                    read.append((identity, "quarantine", row))
            else:
                held += held_bytes(up)
                read.append(((up.device, up.epoch, up.seq), table_of(up), up))
        self._seen.load({key[0] for key, _, _ in read})
        committed: dict[Boot, Ranges] = {}
        for (device, epoch, seq), table, row in read:
            boot = (device, epoch)
            if boot not in committed:
                committed[boot] = self._seen.of(device, epoch)
            if seq in found.heard[boot] or seq in committed[boot]:
                found.duplicates += 1
            else:
                found.new[table].rows.append(row)
                found.new[table].seqs[boot].append(seq)
            found.heard[boot].add(seq)
        return found, at

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

    def _commit(self, table: str, new: _New) -> None:
        versions = self._versions[table]
        shards = sorted({shard_of(device) for device, _ in new.seqs})
        for shard in shards:
            versions.setdefault(shard, self._lake.transaction_version(table, _app_id(shard)))
        is_aside = table == "quarantine"
        rows = _aside_rows(new.rows) if is_aside else message_rows(new.rows, self._clock())
        self._lake.append(table, rows, transactions={_app_id(shard): versions[shard] + 1 for shard in shards})
        for shard in shards:
            versions[shard] += 1
        for (device, epoch), seqs in new.seqs.items():
            self._seen.add(device, epoch, seqs)
        if is_aside:
            self.counters.quarantined += len(new.rows)
        else:
            self.counters.stored += len(new.rows)

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
        self._versions = {
            t: {s: self._lake.transaction_version(t, _app_id(s)) for s in sorted(self._shards)} for t in _TABLES
        }
        self._seen.clear()

    def _committed(self, devices: Collection[str]) -> Iterator[tuple[str, int, int, int]]:
        where = f"device IN ({', '.join(repr(device) for device in devices)})"  # their names have passed `parse_up`
        for table in _TABLES:
            for batch in self._lake.scan(table, ("device", "epoch", "seq"), where):
                names, epochs, seqs = batch.columns
                yield from runs(names.cast(pa.string()).dictionary_encode(), epochs, seqs)
        for row in self._lake.read("forgotten", ("device", "epoch", "first", "last"), where).to_pylist():
            yield row["device"], row["epoch"], row["first"], row["last"]


def _aside_rows(rows: list[Row]) -> Any:
    return pa.Table.from_pylist(rows, schema=SCHEMAS["quarantine"])


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


def _acks(heard: dict[Boot, set[int]]) -> list[tuple[str, Ack]]:
    return [(device, Ack(epoch, Ranges(seqs).as_tuple())) for (device, epoch), seqs in sorted(heard.items())]
