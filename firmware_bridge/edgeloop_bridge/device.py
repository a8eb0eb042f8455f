"""A microcontroller, as a program sees it.

    with Device.open("/dev/ttyACM0", baud=921_600) as device:
        print(device.hello.board, device.stats())
        for block in device.samples(0, period_us=1000):
            ...

Several threads may use it: each call takes its turn on the line, and what comes of a stream meanwhile waits for its
reader. Nothing happens in the background. `edgeloop_bridge.aio` has its asynchronous face.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from edgeloop.errors import MessageError
from edgeloop_bridge.clock import Alignment
from edgeloop_bridge.delivery import Delivery
from edgeloop_bridge.errors import (
    BridgeError,
    LineLostError,
    NoAnswerError,
    RefusedError,
    ResetError,
)
from edgeloop_bridge.inference import Inference, infer
from edgeloop_bridge.link import PATIENCE_S, Link
from edgeloop_bridge.messages import (
    FIRST_BAUD,
    Activate,
    ActivateRequest,
    Begin,
    BeginRequest,
    ConfirmRequest,
    Data,
    EndRequest,
    Error,
    Hello,
    ResetRequest,
    Samples,
    Slot,
    SlotRequest,
    SlotState,
    Stats,
    StatsRequest,
    Stream,
    StreamRequest,
)
from edgeloop_bridge.session import TIMEOUT_S, LineCounters, TimedOut
from edgeloop_bridge.stream import Block, StreamReader
from edgeloop_bridge.transport import Line, SerialLine
from edgeloop_bridge.turns import Turns

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Device"]

log = logging.getLogger(__name__)

_SLOW = 25  # PROTOCOL.md gives END and ACTIVATE 5 s
_ERASING = 10
_LOOK_S = 1.0
_STEP_S = 0.1
_WAITING_BLOCKS = 4096
_FRUITLESS = 8


class Device:
    """A device on a line.

    Args:
        line: open, at the first rate; closed with the device.
        baud: see `Link`, as the next two.
        timeout_s: see there.
        patience_s: see there.

    Raises:
        BridgeError: it can't be reached; see `Link.take_up`.
    """

    def __init__(
        self,
        line: Line,
        *,
        baud: int = FIRST_BAUD,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._waiting: dict[int, deque[Samples]] = {}
        self.link = Link(line, baud=baud, timeout_s=timeout_s, patience_s=patience_s, on_samples=self._keep)
        self._turns = Turns(self.link.wake)
        try:
            self.link.take_up()
        except BaseException:
            line.close()
            raise

    @classmethod
    def open(cls, port: str, *, baud: int = FIRST_BAUD, patience_s: float = PATIENCE_S) -> Self:
        """Open a port (see `edgeloop_bridge.transport`) and greet the device on it. Raises `BridgeError`."""
        return cls(SerialLine(port), baud=baud, patience_s=patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the line."""
        with self._turns:
            self.link.close()

    @property
    def hello(self) -> Hello:
        """Who the device is, as it said last."""
        return self.link.hello

    @property
    def line(self) -> LineCounters:
        """What the host's end of the line has seen."""
        return self.link.session.counters

    def stats(self) -> Stats:
        """What the device's end has seen."""
        with self._turns:
            return self.link.ask_for(StatsRequest(), Stats)

    def slot(self, number: int) -> Slot:
        """What is in a slot. Raises `RefusedError` where there is no such slot."""
        with self._turns:
            return self.link.ask_for(SlotRequest(number), Slot)

    def align(self, trips: int = 8) -> Alignment:
        """Align the clocks by some more round trips; the host's is `time.monotonic`."""
        for _ in range(trips):
            with self._turns:
                self.link.ping()
        return self.link.aligner.alignment()

    def greet(self) -> Hello:
        """Ask the device anew who it is: another model may run on it, or it was reset."""
        with self._turns:
            return self.link.greet()

    def reset(self) -> Hello:
        """Reset the device, and greet it again. A model on trial gives way to the confirmed one."""
        with self._turns:
            before = self.hello.boot_id
            self.link.ask(ResetRequest())
            hello = self.link.take_up()
        if hello.boot_id == before:
            raise BridgeError("the device has answered RESET, and wasn't reset")
        return hello

    def samples(
        self, stream: int, period_us: int, *, stop: threading.Event | None = None
    ) -> Generator[Block, None, None]:
        """Switch a stream on, and give its samples until the generator is closed, which switches it off.

        Args:
            stream: its number.
            period_us: from one sample to the next, in microseconds.
            stop: ends it, too, and may be set by another thread.

        Raises:
            RefusedError: there is no such stream, or the period is too short for it.
            ResetError: the device was reset: call it again.
            BridgeError: somebody reads this stream already.
            LineLostError, NoAnswerError, PortError: it can't be reached.
        """
        with self._turns:
            self._describe(stream)  # it is off then, and what comes once it is on is of now
            waiting = self._waiting[stream] = deque(maxlen=_WAITING_BLOCKS)
        try:
            with self._turns:
                reader = StreamReader(self._switch_on(stream, period_us, waiting))
            look_s, heard = time.monotonic() + _LOOK_S, True
            resets = self.link.resets
            while stop is None or not stop.is_set():
                if self.link.resets != resets:
                    raise ResetError("the device was reset: its streams are off")
                while waiting:
                    heard = True
                    try:
                        block = reader.read(waiting.popleft())
                    except MessageError as error:
                        raise ResetError(str(error)) from error
                    yield block
                with self._turns:
                    if not waiting:
                        self.link.step(_STEP_S)
                if time.monotonic() >= look_s:
                    with self._turns:
                        self._look(heard=heard)
                    look_s, heard = time.monotonic() + _LOOK_S, False
            self._switch_off(stream)
        except GeneratorExit:
            self._switch_off(stream)
            raise
        finally:
            self._waiting.pop(stream, None)

    def describe_stream(self, stream: int) -> Stream:
        """What a stream holds; it is switched off by that.

        Raises:
            RefusedError: there is no such stream.
            BridgeError: somebody reads it.
        """
        with self._turns:
            return self._describe(stream)

    def free_slot(self) -> Slot:
        """A slot that neither runs nor is confirmed. Raises `BridgeError` where there is none."""
        for number in range(self.hello.slots):
            slot = self.slot(number)
            if slot.state <= SlotState.VERIFIED:
                return slot
        raise BridgeError(
            f"{self.hello.board} has no free slot for a model"
            + (": each runs or is confirmed: reset it, or confirm the one that runs" if self.hello.slots else "")
        )

    def deliver(self, slot: int, image: bytes) -> Iterator[int]:
        """Write an image into a slot, and verify it there; gives the device's next offset as it grows.

        What an earlier delivery of the same image has written isn't sent again, also after a reset or a pulled cable.

        Raises:
            RefusedError: it doesn't fit the slot, or the slot is in use.
            NoAnswerError, LineLostError, PortError: the device can't be reached any more.
        """
        sha256 = hashlib.sha256(image).digest()
        fruitless, best = 0, -1
        while True:
            with self._turns:
                begun = self.link.ask_for(
                    BeginRequest(slot, len(image), sha256), Begin, timeout_s=self.link.timeout_s * _ERASING
                )
            delivery = Delivery(image, begun, time.monotonic(), timeout_s=self.link.timeout_s)
            yield delivery.acknowledged
            failure: BridgeError | None = None
            try:
                yield from self._send(delivery)
                if not delivery.is_stalled:
                    self._ask_end(slot)
                    return
            except (RefusedError, LineLostError) as error:  # it was reset, or the cable was pulled
                failure = error
            fruitless = 0 if delivery.acknowledged > best else fruitless + 1
            best = max(best, delivery.acknowledged)
            if fruitless == _FRUITLESS:
                raise failure or NoAnswerError(f"no DATA gets through: {delivery.acknowledged} of {len(image)} bytes")
            with self._turns:
                self.link.take_up()

    def activate(self, slot: int, sha256: bytes) -> Hello:
        """Run a slot's image on trial, once it has answered its golden input. `sha256` is the image's.

        Raises:
            RefusedError: it answers wrongly, or the slot holds another image. What ran before runs on.
            ResetError: it took the device down, by a fault or by never coming back. What is confirmed runs.
        """
        with self._turns:
            try:
                self.link.ask_carefully(ActivateRequest(slot, sha256), Activate, timeout_s=self.link.timeout_s * _SLOW)
            except ResetError as error:
                raise ResetError(
                    "the model took the device down in its golden input, by a fault or a hang that the watchdog ended: "
                    "the confirmed model runs"
                ) from error
            return self.link.greet()

    def confirm(self, slot: int, sha256: bytes) -> None:
        """Run the image on trial after each boot, too. Raises `RefusedError` where it doesn't run (any more)."""
        with self._turns:
            self.link.ask(ConfirmRequest(slot, sha256))

    def infer(self, model: bytes, given: bytes) -> Inference:
        """Run the device's model.

        Args:
            model: its SHA-256, or at least the first 8 bytes of it.
            given: the input as the model stores it, of any length.

        Raises:
            DataError: no model is active, another one is, or its input has another length.
            ResetError: the device was reset by it, twice.
        """
        with self._turns:
            return infer(self.link, model, given)

    def _ask_end(self, slot: int) -> None:
        with self._turns:
            self.link.ask(EndRequest(slot), timeout_s=self.link.timeout_s * _SLOW)

    def _send(self, delivery: Delivery) -> Iterator[int]:
        link = self.link
        while not (delivery.is_done or delivery.is_stalled):
            before = delivery.acknowledged
            with self._turns:
                while (request := delivery.next_request()) is not None:
                    delivery.sent(link.send(request, timeout_s=link.timeout_s * _SLOW), request, time.monotonic())
                deadline_s = delivery.next_deadline_s
                events = link.step(0 if deadline_s is None else deadline_s - time.monotonic())
            for event in events:
                if isinstance(event, TimedOut):
                    continue
                if isinstance(event.message, Error):
                    raise RefusedError(event.message)
                if isinstance(event.message, Data):
                    delivery.answered(event.ticket, event.message.next_offset, event.received_s)
            delivery.tick(time.monotonic())
            if delivery.acknowledged > before:
                yield delivery.acknowledged

    def _keep(self, samples: Samples) -> None:
        if samples.stream in self._waiting:
            self._waiting[samples.stream].append(samples)

    def _switch_on(self, stream: int, period_us: int, waiting: deque[Samples]) -> Stream:
        about = self.link.ask_for(StreamRequest(stream, 1, period_us), Stream)
        # The device may have had a frame of before ready to be sent; and where an answer was lost, it may have been
        # switched on twice.
        starts = [i for i, samples in enumerate(waiting) if samples.first == 0]
        for _ in range(starts[-1] if starts else len(waiting)):
            waiting.popleft()
        return about

    def _describe(self, stream: int) -> Stream:
        if stream in self._waiting:
            raise BridgeError(f"stream {stream} of {self.hello.board} is read already: a stream has one reader")
        return self.link.ask_for(StreamRequest(stream, 0, 0), Stream)

    def _switch_off(self, stream: int) -> None:
        try:
            with self._turns:
                self.link.ask(StreamRequest(stream, 0, 0), rounds=0)
        except BridgeError as error:
            log.debug("switching off stream %d: %s", stream, error)

    def _look(self, *, heard: bool) -> None:
        """Keep the rate and align the clocks; where no sample came, see whether the device was reset."""
        if heard:
            self.link.ping()
        else:
            self.link.greet()
