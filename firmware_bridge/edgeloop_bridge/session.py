"""Requests and their answers, without a line and without a clock: bytes in, events out, bytes to send.

    session = Session()
    ticket = session.request(PingRequest(), now_s)
    line.write(session.to_send())
    events = session.receive(line.read(session.next_deadline_s - now_s), now_s)   # and session.tick(now_s)

A request is sent at most 1 + `RETRIES` times, always with the same bytes, so that the device does its work once. After
BUSY it is sent anew, with another sequence number, since a device repeats its last answer to a repeated request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from edgeloop.errors import MessageError
from edgeloop_bridge.errors import VersionError
from edgeloop_bridge.frames import VERSION, Damaged, Decoder, Frame, encode
from edgeloop_bridge.messages import ANSWER, Error, ErrorCode, Log, Message, Samples, frame, from_frame

__all__ = ["RETRIES", "TIMEOUT_S", "Answered", "Event", "LineCounters", "Session", "TimedOut", "Unasked"]

TIMEOUT_S = 0.2
RETRIES = 3

_BUSY_S = 0.1
_SEQUENCES = 1 << 16


@dataclass(frozen=True)
class Answered:
    """An answer came, which may be an `Error`.

    Args:
        ticket: the request's.
        message: the answer.
        sent_s: when the request was sent for the last time.
        received_s: when the answer came.
        attempts: how often the request was sent; more than 1: the answer may be to any of them.
    """

    ticket: int
    message: Message
    sent_s: float
    received_s: float
    attempts: int


@dataclass(frozen=True)
class TimedOut:
    """No answer came to any attempt."""

    ticket: int


@dataclass(frozen=True)
class Unasked:
    """The device sent this by itself; it came at `received_s`."""

    message: Log | Samples
    received_s: float


Event: TypeAlias = Answered | TimedOut | Unasked


@dataclass
class LineCounters:
    """What the host's end of the line has seen.

    Attributes:
        frames: whole ones.
        damaged: the others, by reason.
        strays: whole ones that nobody expected: late answers, unknown types.
        retries: requests that were sent again.
        timeouts: requests that were given up.
        unasked_lost: frames of LOG and SAMPLES that the line lost.
    """

    frames: int = 0
    damaged: Counter[str] = field(default_factory=Counter)
    strays: int = 0
    retries: int = 0
    timeouts: int = 0
    unasked_lost: int = 0


@dataclass(frozen=True)
class _Pending:
    request: Message
    data: bytes
    sequence: int
    timeout_s: float
    deadline_s: float
    sent_s: float
    attempts: int
    left: int
    is_out: bool = True


class Session:
    """The host's end of the protocol. One request at a time is the caller's to keep, but for DATA."""

    def __init__(self) -> None:
        self.counters = LineCounters()
        self._decoder = Decoder()
        self._out = bytearray()
        self._pending: dict[int, _Pending] = {}
        self._by_sequence: dict[int, int] = {}
        self._sequence = self._ticket = -1
        self._unasked_sequence: int | None = None

    @property
    def next_deadline_s(self) -> float | None:
        """When `tick` has something to do; None: never."""
        return min((each.deadline_s for each in self._pending.values()), default=None)

    def request(self, message: Message, now_s: float, *, timeout_s: float = TIMEOUT_S, retries: int = RETRIES) -> int:
        """Send a request, and give its ticket. Raises `MessageError` where it doesn't fit a frame."""
        self._ticket += 1
        self._send_anew(self._ticket, message, now_s, timeout_s=timeout_s, attempts=0, left=retries)
        return self._ticket

    def to_send(self) -> bytes:
        """The bytes that are to go on the line now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now_s: float) -> list[Event]:
        """What these bytes of the line bring.

        Raises:
            VersionError: the device speaks another version of the protocol.
        """
        events: list[Event] = []
        for found in self._decoder.feed(data):
            if isinstance(found, Damaged):
                self.counters.damaged[found.reason] += 1
                continue
            self.counters.frames += 1
            try:
                event = self._take(found, from_frame(found), now_s)
            except MessageError:
                self.counters.strays += 1
                event = None
            if event is not None:
                events.append(event)
        return events

    def tick(self, now_s: float) -> list[Event]:
        """Repeat what has waited for too long, and give up what was repeated often enough."""
        events: list[Event] = []
        for ticket, pending in list(self._pending.items()):
            if now_s < pending.deadline_s:
                continue
            if pending.left == 0:
                self._forget(ticket)
                self.counters.timeouts += 1
                events.append(TimedOut(ticket))
                continue
            self.counters.retries += 1
            if pending.is_out:
                self._repeat(ticket, pending, now_s)
            else:
                self._send_anew(
                    ticket,
                    pending.request,
                    now_s,
                    timeout_s=pending.timeout_s,
                    attempts=pending.attempts,
                    left=pending.left - 1,
                )
        return events

    def forget(self) -> None:
        """Nothing is awaited any more, and what was half received is none of ours: the line is another one."""
        self._pending.clear()
        self._by_sequence.clear()
        self._out.clear()
        self._decoder = Decoder()
        self._unasked_sequence = None

    def _repeat(self, ticket: int, pending: _Pending, now_s: float) -> None:
        self._out += pending.data
        self._pending[ticket] = replace(
            pending,
            deadline_s=now_s + pending.timeout_s,
            sent_s=now_s,
            attempts=pending.attempts + 1,
            left=pending.left - 1,
        )

    def _send_anew(
        self, ticket: int, message: Message, now_s: float, *, timeout_s: float, attempts: int, left: int
    ) -> None:
        self._sequence = (self._sequence + 1) % _SEQUENCES
        data = encode(frame(message, self._sequence))
        deadline_s = now_s + timeout_s
        self._forget(ticket)
        self._pending[ticket] = _Pending(
            message, data, self._sequence, timeout_s, deadline_s, now_s, attempts + 1, left
        )
        self._by_sequence[self._sequence] = ticket
        self._out += data

    def _forget(self, ticket: int) -> None:
        pending = self._pending.pop(ticket, None)
        if pending is not None:
            self._by_sequence.pop(pending.sequence, None)

    def _take(self, found: Frame, message: Message, now_s: float) -> Event | None:
        if isinstance(message, Log | Samples) and found.version == VERSION:
            self._count_lost(found.sequence)
            return Unasked(message, now_s)
        ticket = self._by_sequence.get(found.sequence)
        pending = None if ticket is None else self._pending[ticket]
        if ticket is None or pending is None or not _answers(message, pending.request):
            self.counters.strays += 1
            return None
        if isinstance(message, Error) and message.code == ErrorCode.VERSION:
            self._forget(ticket)
            raise _other_version(message.text)
        if found.version != VERSION:
            self.counters.strays += 1
            return None
        if isinstance(message, Error) and message.code == ErrorCode.BUSY and pending.left > 0:
            self._by_sequence.pop(pending.sequence)
            self._pending[ticket] = replace(pending, deadline_s=now_s + _BUSY_S, is_out=False)
            return None
        self._forget(ticket)
        return Answered(ticket, message, pending.sent_s, now_s, pending.attempts)

    def _count_lost(self, sequence: int) -> None:
        if self._unasked_sequence is not None:
            gap = (sequence - self._unasked_sequence - 1) % _SEQUENCES
            # More than half a turn is no loss: the device was reset, and counts from 0 again.
            self.counters.unasked_lost += gap if gap < _SEQUENCES // 2 else 0
        self._unasked_sequence = sequence


def _answers(message: Message, request: Message) -> bool:
    if isinstance(message, Error):
        return message.refused == request.TYPE
    return message.TYPE == request.TYPE | ANSWER


def _other_version(text: str) -> VersionError:
    newer = text.isascii() and text.isdigit() and int(text) > VERSION
    return VersionError(
        f"the device speaks version {text} of the protocol, and this edgeloop version {VERSION}: "
        f"update {'edgeloop here' if newer else 'its firmware'}"
    )
