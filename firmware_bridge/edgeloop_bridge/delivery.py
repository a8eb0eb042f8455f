"""An image on its way into a slot, without a line and without a clock: which DATA to send, and what an answer means.

It is go-back-N: up to the device's window of DATA are under way, an answer acknowledges all before its offset, and one
that doesn't cover what it answers tells that something before it was lost. On a line that damages bytes long frames
are lost more often, so their length follows the losses: it grows by a step with each that arrives, and shrinks by a
part with each loss (as the window in D. Chiu and R. Jain, "Analysis of the increase and decrease algorithms for
congestion avoidance in computer networks", Computer Networks and ISDN Systems 17, 1989).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edgeloop_bridge.messages import Begin, DataRequest
from edgeloop_bridge.session import RETRIES, TIMEOUT_S

__all__ = ["Delivery"]

_UNIT_BYTES = 8  # all but the last DATA are multiples of it
_LEAST_BYTES = 16
_SHRUNK = 0.75


@dataclass(frozen=True)
class _Flying:
    end: int
    turn: int


class Delivery:
    """The DATA of one image.

    Args:
        image: all of it.
        begun: the device's answer to BEGIN.
        now_s: when it came.
        timeout_s: without an answer for so long all that is under way counts as lost.

    `acknowledged` is the device's next offset: all before it is written. `is_stalled`: nothing came through four times
    in turn, so something else is wrong than the line's noise.
    """

    def __init__(self, image: bytes, begun: Begin, now_s: float, *, timeout_s: float = TIMEOUT_S) -> None:
        self.acknowledged = begun.next_offset
        self.losses = 0
        self._image = image
        self._window = max(1, begun.window)
        self._most_bytes = max(_UNIT_BYTES, begun.data_bytes // _UNIT_BYTES * _UNIT_BYTES)
        self._least_bytes = min(_LEAST_BYTES, self._most_bytes)
        self._data_bytes = self._most_bytes
        self._timeout_s = timeout_s
        self._sent = self.acknowledged  # where the next DATA starts
        self._turn = 0  # what was sent before we went back is of an older one
        self._flying: deque[tuple[int, _Flying]] = deque()
        self._heard_s = now_s
        self._silences = 0

    @property
    def is_done(self) -> bool:
        """Whether all of it is written."""
        return self.acknowledged >= len(self._image)

    @property
    def is_stalled(self) -> bool:
        """Whether it is of no use to go on without looking after the device."""
        return self._silences > RETRIES

    @property
    def data_bytes(self) -> int:
        """How many bytes of the image a DATA carries now."""
        return self._data_bytes

    @property
    def next_deadline_s(self) -> float | None:
        """When `tick` has something to do; None: nothing is under way."""
        return self._heard_s + self._timeout_s if self._flying else None

    def next_request(self) -> DataRequest | None:
        """What to send now; None: an answer must come first. Call `sent` with its ticket."""
        if len(self._flying) >= self._window or self._sent >= len(self._image) or self.is_stalled:
            return None
        return DataRequest(self._sent, self._image[self._sent : self._sent + self._data_bytes])

    def sent(self, ticket: int, request: DataRequest, now_s: float) -> None:
        """The request that `next_request` gave is on its way."""
        if not self._flying:
            self._heard_s = now_s
        self._sent = request.offset + len(request.data)
        self._flying.append((ticket, _Flying(self._sent, self._turn)))

    def answered(self, ticket: int, next_offset: int, now_s: float) -> None:
        """The device has answered a DATA; one that isn't under way any more may still tell how far it is."""
        if self.acknowledged < next_offset <= len(self._image):
            self.acknowledged = next_offset
            self._sent = max(self._sent, next_offset)  # an answer that came late, after we went back
            self._silences = 0
        self._heard_s = now_s
        if all(ticket != flying for flying, _ in self._flying):
            return
        while True:  # answers come in order: what was sent before this one won't be answered any more
            first, flying = self._flying.popleft()
            if first == ticket:
                break
        if flying.turn != self._turn:
            return
        if next_offset >= flying.end:
            self._data_bytes = min(self._data_bytes + _UNIT_BYTES, self._most_bytes)
        else:
            self._go_back()

    def tick(self, now_s: float) -> None:
        """Go back where no answer came in time."""
        deadline_s = self.next_deadline_s
        if deadline_s is not None and now_s >= deadline_s:
            self._flying.clear()
            self._silences += 1
            self._go_back()

    def _go_back(self) -> None:
        self.losses += 1
        self._turn += 1
        self._sent = self.acknowledged
        shrunk = int(self._data_bytes * _SHRUNK) // _UNIT_BYTES * _UNIT_BYTES
        self._data_bytes = max(shrunk, self._least_bytes)
