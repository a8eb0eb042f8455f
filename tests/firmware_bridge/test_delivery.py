"""Deliveries over lines that lose frames, to a device that writes what is in order and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeloop_bridge import messages as m
from edgeloop_bridge.delivery import Delivery

images = st.binary(min_size=1, max_size=400)


class Slot:
    """Writes a DATA that starts at the next offset; answers any with the next offset."""

    def __init__(self, length: int, begun: int = 0) -> None:
        self.written, self.length = bytearray(begun), length

    def take(self, request: m.DataRequest) -> int:
        if request.offset == len(self.written):
            assert len(request.data) % 8 == 0 or request.offset + len(request.data) == self.length
            self.written += request.data
        return len(self.written)


@given(st.data(), images, st.integers(1, 6), st.integers(8, 64))
def test_whatever_the_line_loses_the_image_arrives_whole(
    data: st.DataObject, image: bytes, window: int, data_bytes: int
) -> None:
    slot, now_s, ticket = Slot(len(image)), 0.0, 0
    delivery = Delivery(image, m.Begin(0, window, data_bytes), now_s)
    flying = 0
    for _ in range(2000):
        answers = []
        while (request := delivery.next_request()) is not None:
            assert len(request.data) <= data_bytes
            ticket, flying = ticket + 1, flying + 1
            delivery.sent(ticket, request, now_s)
            # The line loses a DATA, or its answer, or none; it keeps the order.
            fate = data.draw(st.sampled_from(("passes", "passes", "DATA lost", "answer lost")))
            if fate != "DATA lost":
                offset = slot.take(request)
                if fate == "passes":
                    answers.append((ticket, offset))
        for answered, offset in answers:
            delivery.answered(answered, offset, now_s)
            assert delivery.acknowledged <= len(slot.written), "more than the device has was counted as written"
        if delivery.is_done:
            break
        now_s += 0.3
        delivery.tick(now_s)
        if delivery.is_stalled:  # the host looks after the device, and begins again
            delivery = Delivery(image, m.Begin(len(slot.written), window, data_bytes), now_s)
    assert bytes(slot.written) == image


@given(images, st.integers(1, 6))
def test_no_more_is_under_way_than_the_window(image: bytes, window: int) -> None:
    delivery = Delivery(image, m.Begin(0, window, 8), 0.0)
    for ticket in range(window + 1):
        request = delivery.next_request()
        if request is None:
            break
        delivery.sent(ticket, request, 0.0)
    assert delivery.next_request() is None or len(image) > 8 * window
    assert ticket <= window


def test_what_an_earlier_delivery_wrote_is_not_sent_again() -> None:
    image = bytes(range(100))
    delivery = Delivery(image, m.Begin(64, 4, 32), 0.0)
    assert delivery.next_request() == m.DataRequest(64, image[64:96])
    assert Delivery(image, m.Begin(100, 4, 32), 0.0).is_done


def test_one_lost_frame_is_known_by_the_next_answer() -> None:
    image = bytes(160)
    delivery = Delivery(image, m.Begin(0, 4, 32), 0.0)
    for ticket in range(4):
        delivery.sent(ticket, delivery.next_request(), 0.0)
    delivery.answered(0, 32, 0.01)
    delivery.answered(2, 32, 0.02)  # DATA 1 was lost: this one started past the next offset
    again = delivery.next_request()
    assert again.offset == 32, "without a time-out"
    assert len(again.data) < 32, "shorter frames are lost less often"
    assert delivery.losses == 1


def test_a_silent_device_stalls_it_after_four_windows() -> None:
    delivery = Delivery(bytes(100), m.Begin(0, 2, 32), 0.0)
    now_s = 0.0
    for ticket in range(4):
        assert not delivery.is_stalled
        delivery.sent(ticket, delivery.next_request(), now_s)
        now_s += 0.2
        delivery.tick(now_s)
    assert delivery.is_stalled
    assert delivery.next_request() is None


def test_an_offset_past_the_image_is_not_believed() -> None:
    delivery = Delivery(bytes(100), m.Begin(0, 2, 32), 0.0)
    delivery.sent(1, delivery.next_request(), 0.0)
    delivery.answered(1, 5000, 0.1)
    assert delivery.acknowledged == 0
