"""Long messages in parts: cut on the device, joined at the centre within bounds. Outbox and lake see the whole."""

from __future__ import annotations

import zlib
from collections import OrderedDict

import msgspec

from edgeloop.errors import MessageError
from edgeloop.messages import Part
from edgeloop.outbox import Row

__all__ = ["Joiner", "split"]

_WHOLE_BYTES = 256 << 10
_PART_BYTES = 128 << 10
_ENVELOPE_BYTES = 512
_PART_COST_BYTES = 512  # what holding one takes beside its data: many empty ones are no way around the bound

Key = tuple[str, int, int]


def split(device: str, row: Row, max_packet_bytes: int) -> list[bytes]:
    """The parts of a row, encoded; none where it goes as it is, with up to 256 kB or what the broker takes."""
    if row.kind != "sample" or len(row.payload) <= min(_WHOLE_BYTES, max_packet_bytes - _ENVELOPE_BYTES):
        return []
    size = max(1024, min(_PART_BYTES, max_packet_bytes - _ENVELOPE_BYTES))
    size = max(size, -(-len(row.payload) // 4096))
    pieces = [row.payload[i : i + size] for i in range(0, len(row.payload), size)]
    crc = zlib.crc32(row.payload)
    return [
        msgspec.msgpack.encode(
            Part(
                device=device,
                epoch=row.epoch,
                seq=row.seq,
                of="sample",
                index=index,
                count=len(pieces),
                size_bytes=len(row.payload),
                crc=crc,
                data=piece,
            )
        )
        for index, piece in enumerate(pieces)
    ]


class _Joining:
    def __init__(self, part: Part) -> None:
        self.form = (part.of, part.count, part.size_bytes, part.crc)
        self.pieces: dict[int, bytes] = {}
        self.size_bytes = self.cost = 0


class Joiner:
    """Joins parts. What is given up comes again, since the device wasn't answered.

    Args:
        max_bytes: what may be held at once; past it the message goes whose last part is the longest ago.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._open: OrderedDict[Key, _Joining] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """What the parts take that wait for others."""
        return self._bytes

    def add(self, part: Part) -> bytes | None:
        """Take a part in; give the whole's payload once it is complete.

        Raises:
            MessageError: the parts contradict each other, or don't give the whole; all of them are forgotten.
        """
        key = (part.device, part.epoch, part.seq)
        form = (part.of, part.count, part.size_bytes, part.crc)
        joining = self._open.setdefault(key, _Joining(part))
        self._open.move_to_end(key)
        if joining.form != form:  # another cut: the device has restarted, or its broker takes less
            self._forget(key)
            joining = self._open[key] = _Joining(part)
        if part.index >= part.count:
            self._forget(key)
            raise MessageError(f"part {part.index} of {part.count}")
        if part.index not in joining.pieces:
            joining.pieces[part.index] = part.data
            joining.size_bytes += len(part.data)
            joining.cost += len(part.data) + _PART_COST_BYTES
            self._bytes += len(part.data) + _PART_COST_BYTES
        if joining.size_bytes > part.size_bytes:
            self._forget(key)
            raise MessageError(f"the parts are longer than the {part.size_bytes} bytes that they say")
        if len(joining.pieces) == part.count:
            self._forget(key)
            whole = b"".join(joining.pieces[i] for i in range(part.count))
            if len(whole) != part.size_bytes or zlib.crc32(whole) != part.crc:
                raise MessageError(f"{part.count} parts don't give the {part.size_bytes} bytes that they say")
            return whole
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._open)))
        return None

    def _forget(self, key: Key) -> None:
        joining = self._open.pop(key)
        self._bytes -= joining.cost
