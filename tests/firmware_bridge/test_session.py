"""The host's end of the protocol over lines that lose, damage and repeat frames, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop_bridge import messages as m
from edgeloop_bridge.errors import VersionError
from edgeloop_bridge.frames import Decoder, Frame, encode
from edgeloop_bridge.session import RETRIES, TIMEOUT_S, Answered, Event, Session, TimedOut, Unasked

FATES = ("passes", "is lost", "is damaged", "comes twice", "comes late")


class SmallDevice:
    """Answers SLOT with the slot's number, and keeps its last answer, as PROTOCOL.md says."""

    def __init__(self) -> None:
        self.decoder, self.worked = Decoder(), 0
        self.kept: tuple[Frame, bytes] | None = None

    def receive(self, data: bytes) -> list[bytes]:
        answers = []
        for found in self.decoder.feed(data):
            if isinstance(found, Frame):
                if self.kept is None or self.kept[0] != found:
                    self.worked += 1
                    request = m.from_frame(found)
                    answer = m.Slot(request.slot, 0, 0, 0, 0, 0, self.worked, bytes(32), bytes(32))
                    self.kept = found, encode(m.frame(answer, found.sequence))
                answers.append(self.kept[1])
        return answers


class Channel:
    """One direction of a line: a frame's fate is drawn when it is sent."""

    def __init__(self, draw: Callable[[], str]) -> None:
        self.draw = draw
        self.late: list[bytes] = []

    def carry(self, frame: bytes) -> bytes:
        fate = self.draw()
        late, self.late = b"".join(self.late), []
        if fate == "is lost":
            return late
        if fate == "is damaged":
            return late + frame[: len(frame) // 2] + bytes([frame[len(frame) // 2] ^ 5]) + frame[len(frame) // 2 + 1 :]
        if fate == "comes twice":
            return late + frame * 2
        if fate == "comes late":
            self.late.append(frame)
            return late
        return late + frame


@given(st.data())
def test_each_request_has_one_outcome_and_only_its_own_answer(data: st.DataObject) -> None:
    def fate() -> str:
        return data.draw(st.sampled_from(FATES))

    session, device = Session(), SmallDevice()
    there, back = Channel(fate), Channel(fate)
    now_s, outcomes = 0.0, 0
    for number in range(data.draw(st.integers(1, 6))):
        ticket, sent = session.request(m.SlotRequest(number), now_s), 0
        outcome: Event | None = None
        while outcome is None:
            out = session.to_send()
            sent += bool(out)
            came = b"".join(back.carry(answer) for answer in device.receive(there.carry(out))) if out else b""
            events = session.receive(came, now_s)
            now_s += 0.05
            events += session.tick(now_s)
            assert len(events) <= 1
            outcome = events[0] if events else None
        outcomes += 1
        assert sent <= 1 + RETRIES
        assert outcome.ticket == ticket
        if isinstance(outcome, Answered):
            assert outcome.message.slot == number
            assert outcome.attempts == sent
        else:
            assert isinstance(outcome, TimedOut)
            assert sent == 1 + RETRIES
        assert session.next_deadline_s is None
    assert device.worked <= outcomes, "a request that was repeated was worked off twice"


@given(st.binary(max_size=200))
def test_noise_gives_no_event(noise: bytes) -> None:
    session = Session()
    session.request(m.PingRequest(), 0.0)
    assert session.receive(noise, 0.1) == []


def test_a_request_is_given_up_after_three_retries() -> None:
    session = Session()
    ticket = session.request(m.PingRequest(), 0.0)
    first = session.to_send()
    for attempt in range(1, 1 + RETRIES):
        assert session.tick(attempt * TIMEOUT_S) == []
        assert session.to_send() == first, "unchanged"
    assert session.tick((1 + RETRIES) * TIMEOUT_S) == [TimedOut(ticket)]
    assert session.to_send() == b""
    assert (session.counters.retries, session.counters.timeouts) == (RETRIES, 1)


def test_after_busy_a_request_is_sent_anew() -> None:
    session = Session()
    ticket = session.request(m.PingRequest(), 0.0)
    first = session.to_send()
    busy = encode(m.frame(m.Error(m.ErrorCode.BUSY, m.PingRequest.TYPE, "busy"), 0))
    assert session.receive(busy, 0.01) == []
    assert session.tick(0.05) == []
    assert session.tick(0.12) == []
    again = session.to_send()
    assert again not in (b"", first), "a device repeats its last answer to the same sequence number"
    (event,) = session.receive(encode(m.frame(m.Ping(7), 1)), 0.13)
    assert (event.ticket, event.message) == (ticket, m.Ping(7))


@pytest.mark.parametrize(("speaks", "update"), [(2, "edgeloop here"), (0, "its firmware")])
def test_another_version_is_said(speaks: int, update: str) -> None:
    session = Session()
    session.request(m.HelloRequest(), 0.0)
    error = m.Error(m.ErrorCode.VERSION, m.HelloRequest.TYPE, str(speaks))
    with pytest.raises(VersionError, match=f"version {speaks} .*update {update}"):
        session.receive(encode(Frame(error.TYPE, 0, error.encode(), version=speaks)), 0.1)


def test_a_gap_in_what_comes_unasked_is_a_loss_on_the_line() -> None:
    session = Session()
    for sequence in (65534, 65535, 1):
        (event,) = session.receive(encode(m.frame(m.Log(20, "x"), sequence)), 0.0)
        assert isinstance(event, Unasked)
    assert session.counters.unasked_lost == 1
    session.receive(encode(m.frame(m.Log(20, "started"), 0)), 0.0)
    assert session.counters.unasked_lost == 1, "the device was reset, and counts from 0"


def test_an_answer_of_another_type_is_no_answer() -> None:
    session = Session()
    session.request(m.PingRequest(), 0.0)
    assert session.receive(encode(m.frame(m.Stats(0, 0, 0, 0, 0, 0, 0), 0)), 0.1) == []
    assert session.receive(encode(Frame(m.Ping.TYPE, 0, b"short")), 0.1) == []
    assert session.counters.strays == 2
