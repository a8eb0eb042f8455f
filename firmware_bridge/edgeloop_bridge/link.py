"""A session over a line, with a clock: requests that are waited for, a line that is taken up again when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from edgeloop_bridge.clock import ClockAligner
from edgeloop_bridge.errors import (
    BridgeError,
    ForeignDeviceError,
    LineLostError,
    NoAnswerError,
    PortError,
    RefusedError,
    ResetError,
)
from edgeloop_bridge.messages import (
    FIRST_BAUD,
    Baud,
    BaudRequest,
    Error,
    Hello,
    HelloRequest,
    Log,
    Message,
    Ping,
    PingRequest,
    Samples,
)
from edgeloop_bridge.session import RETRIES, TIMEOUT_S, Answered, Session, TimedOut, Unasked
from edgeloop_bridge.transport import Line

__all__ = ["CAREFUL_ROUNDS", "PATIENCE_S", "ROUNDS", "Link"]

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

PATIENCE_S = 8.0
"""A device that was left at another rate comes back to the first one after 5 s."""

ROUNDS = 6
CAREFUL_ROUNDS = 12

_KEEP_S = 4.0  # at a raised rate the device goes back after 5 s of silence
_REOPEN_S = 0.1
_SHOWN_BYTES = 24
_BAUD_TRIES = 2


class Link:
    """Asks a device, whatever the line does.

    Args:
        line: open, at `FIRST_BAUD`.
        baud: to raise it to; where that fails, the line stays at the first rate.
        timeout_s: of a request that takes the device no time; those that do have a multiple of it.
        patience_s: for how long a silent or an unplugged device is looked for.
        on_samples: called with what a stream brings.

    `hello` is what the device said last, and `aligner` its clock since its last reset. `taken_up`, `reconnects` and
    `resets` count how often the line was taken up, opened again, and the device found reset.
    """

    def __init__(
        self,
        line: Line,
        *,
        baud: int = FIRST_BAUD,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        on_samples: Callable[[Samples], None] = lambda _: None,
    ) -> None:
        self.session = Session()
        self.timeout_s = timeout_s
        self.patience_s = patience_s
        self.aligner = ClockAligner()
        self.taken_up = self.resets = self.reconnects = 0
        self.baud = FIRST_BAUD
        self._line = line
        self._wanted_baud = baud
        self._on_samples = on_samples
        self._hello: Hello | None = None
        self._asked_s = time.monotonic()
        self._raw = b""

    @property
    def hello(self) -> Hello:
        """Who the device is. Raises `NoAnswerError` before `take_up`."""
        if self._hello is None:
            raise NoAnswerError("the device was never asked who it is")
        return self._hello

    def take_up(self) -> Hello:
        """Find the device, wherever the line and its rate are, and raise the rate.

        Raises:
            PortError, LineLostError: the port is gone, and didn't come back in time.
            NoAnswerError: nothing answers; a `ForeignDeviceError` where it isn't silent.
            VersionError: it speaks another version of the protocol.
        """
        self.taken_up += 1
        hello = self._find()
        if self._wanted_baud != FIRST_BAUD and self._line.has_baud:
            try:
                hello = self._raise_baud(hello)
            except LineLostError:
                hello = self._find()
        return self._met(hello)

    def greet(self) -> Hello:
        """Ask the device anew who it is: another model may run on it, or it was reset."""
        return self._met(self.ask_for(HelloRequest(), Hello))

    def ask(self, request: Message, *, timeout_s: float | None = None, rounds: int = ROUNDS) -> Message:
        """The answer to a request; asked again after a lost line was taken up, since all requests are idempotent.

        Args:
            request: what to ask.
            timeout_s: for each attempt; None is the link's.
            rounds: how often the line is taken up for it.

        Raises:
            RefusedError: the device refuses it.
            NoAnswerError, LineLostError, PortError: it can't be reached any more.
        """
        return self.ask_timed(request, timeout_s=timeout_s, rounds=rounds).message

    def ask_for(self, request: Message, kind: type[M], *, timeout_s: float | None = None) -> M:
        """`ask`, where the answer is of this kind."""
        answer = self.ask(request, timeout_s=timeout_s)
        if not isinstance(answer, kind):
            raise BridgeError(f"{_name(request)} was answered with {type(answer).__name__}")
        return answer

    def ask_timed(self, request: Message, *, timeout_s: float | None = None, rounds: int = ROUNDS) -> Answered:
        """`ask`, with the times."""
        for _ in range(rounds):
            try:
                self._look_after_the_rate()
                return self._ask_once(request, timeout_s)
            except (NoAnswerError, LineLostError) as error:
                log.debug("%s: taking up the line again", error)
                self.take_up()
        return self._ask_once(request, timeout_s)

    def ask_carefully(self, request: Message, kind: type[M], *, timeout_s: float, resets: int = 0) -> M:
        """`ask_for`, where the answer may be a reset: a model that faults or hangs takes the device with it.

        It is sent once, and again only where the line, and not the device, has lost it: each attempt may cost a reset.

        Args:
            request: what to ask.
            kind: of the answer.
            timeout_s: for each attempt.
            resets: how many are borne, since a device may be reset for another reason, too.

        Raises:
            ResetError: the device was reset once more than that.
        """
        borne = self.resets + resets
        for left in range(CAREFUL_ROUNDS, -1, -1):
            try:
                self._look_after_the_rate()
                answer = self._ask_once(request, timeout_s, retries=0).message
            except (NoAnswerError, LineLostError):
                if left == 0:
                    raise
                self.take_up()
                if self.resets > borne:
                    raise ResetError(f"{_name(request)} was answered by a reset of the device") from None
                continue
            if not isinstance(answer, kind):
                raise BridgeError(f"{_name(request)} was answered with {type(answer).__name__}")
            return answer
        raise AssertionError("the last round returns or raises")

    def ping(self) -> Ping:
        """Ask for the device's time, and align the clocks by it."""
        answer = self.ask_timed(PingRequest())
        if not isinstance(answer.message, Ping):
            raise BridgeError(f"PING was answered with {answer.message}")
        if answer.attempts == 1:
            self.aligner.add(answer.sent_s, answer.received_s, answer.message.time_us)
        return answer.message

    def send(self, request: Message, *, timeout_s: float) -> int:
        """Send a request that isn't waited for nor repeated, and give its ticket. Its answer comes out of `step`."""
        self._asked_s = time.monotonic()
        return self.session.request(request, self._asked_s, timeout_s=timeout_s, retries=0)

    def step(self, timeout_s: float) -> list[Answered | TimedOut]:
        """Send what waits, listen for up to `timeout_s` or until something comes, and give what came of requests.

        Raises:
            LineLostError: the line has gone.
        """
        if data := self.session.to_send():
            self._line.write(data)
        now_s = time.monotonic()
        deadline_s = self.session.next_deadline_s
        wait_s = timeout_s if deadline_s is None else min(timeout_s, deadline_s - now_s)
        came = self._line.read(max(0.0, wait_s))
        self._raw = (self._raw + came)[-_SHOWN_BYTES:]
        now_s = time.monotonic()
        of_requests: list[Answered | TimedOut] = []
        for event in [*self.session.receive(came, now_s), *self.session.tick(now_s)]:
            if not isinstance(event, Unasked):
                of_requests.append(event)
            elif isinstance(event.message, Log):
                log.log(event.message.level, "the device says: %s", event.message.text)
            else:
                self._on_samples(event.message)
        return of_requests

    def wake(self) -> None:
        """End a `step` of another thread that only listens."""
        self._line.wake()

    def close(self) -> None:
        """Close the line; at the first rate, where who comes next takes it up."""
        try:
            if self.baud != FIRST_BAUD:
                self._ask_once(BaudRequest(FIRST_BAUD), None)
        except (NoAnswerError, LineLostError, RefusedError) as error:
            log.debug("going back to %d baud: %s", FIRST_BAUD, error)
        finally:
            self._line.close()

    def _ask_once(self, request: Message, timeout_s: float | None, retries: int = RETRIES) -> Answered:
        self._asked_s = time.monotonic()
        ticket = self.session.request(request, self._asked_s, timeout_s=timeout_s or self.timeout_s, retries=retries)
        while True:
            for event in self.step(self.patience_s):
                if event.ticket != ticket:
                    continue
                if isinstance(event, TimedOut):
                    raise NoAnswerError(f"no answer to {_name(request)}")
                if isinstance(event.message, Error):
                    raise RefusedError(event.message)
                return event

    def _met(self, hello: Hello) -> Hello:
        if self._hello is not None and hello.boot_id != self._hello.boot_id:
            self.resets += 1
            self.aligner = ClockAligner()
            log.info("the device was reset")
        self._hello = hello
        return hello

    def _look_after_the_rate(self) -> None:
        if self.baud != FIRST_BAUD and time.monotonic() - self._asked_s > _KEEP_S:
            self.take_up()

    def _find(self) -> Hello:
        """HELLO at the first rate until there is an answer."""
        frames, self._raw = self.session.counters.frames, b""
        end_s = time.monotonic() + self.patience_s
        self.session.forget()
        is_lost = False
        while True:
            try:
                if is_lost:
                    self._line.reopen()
                    self.reconnects += 1
                    self.session.forget()
                    is_lost = False
                    self.baud = FIRST_BAUD
                self._set_baud(FIRST_BAUD)
                return self._say_hello()
            except NoAnswerError as error:
                if time.monotonic() < end_s:
                    continue
                if self._raw and self.session.counters.frames == frames:
                    raise ForeignDeviceError(
                        f"what is on the line speaks another protocol, or at another rate: it sent {self._raw!r}"
                    ) from error
                raise NoAnswerError(
                    f"no answer within {self.patience_s:g} s: is this the port, and edgeloop's firmware on the device?"
                ) from error
            except (LineLostError, PortError):
                is_lost = True
                if time.monotonic() >= end_s:
                    raise
                time.sleep(_REOPEN_S)

    def _say_hello(self) -> Hello:
        hello = self._ask_once(HelloRequest(), None).message
        if not isinstance(hello, Hello):
            raise BridgeError(f"HELLO was answered with {hello}")
        return hello

    def _raise_baud(self, hello: Hello) -> Hello:
        """Change the rate on both sides; where that fails, both fall back by themselves."""
        for _ in range(_BAUD_TRIES):
            try:
                answer = self._ask_once(BaudRequest(self._wanted_baud), None).message
                if isinstance(answer, Baud):
                    self._set_baud(answer.baud)
                    return self._say_hello()
            except RefusedError as error:
                log.warning("%d baud: %s: staying at %d", self._wanted_baud, error, FIRST_BAUD)
                break
            except (NoAnswerError, PortError) as error:
                log.debug("%d baud: %s", self._wanted_baud, error)
            hello = self._find()
        else:
            log.warning("%d baud doesn't work on this line: staying at %d", self._wanted_baud, FIRST_BAUD)
        self._wanted_baud = FIRST_BAUD
        return hello

    def _set_baud(self, baud: int) -> None:
        if baud != self.baud and self._line.has_baud:
            self._line.set_baud(baud)
        self.baud = baud


def _name(request: Message) -> str:
    return type(request).__name__.removesuffix("Request").upper()
