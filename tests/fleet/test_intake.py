"""Receiving by the hundred, over real brokers: nothing is left out, and paho goes on with all that isn't a message."""

from __future__ import annotations

import threading

import pytest
from paho.mqtt.client import Client

from edgeloop.link import Link
from edgeloop_fleet.inbox import Received
from edgeloop_fleet.intake import Intake


class Heard:
    """Collects what comes, and says when it is enough."""

    def __init__(self, enough: int) -> None:
        self.messages: list[Received] = []
        self._enough, self._done = enough, threading.Event()

    def __call__(self, messages: list[Received]) -> None:
        self.messages += messages
        if len(self.messages) >= self._enough:
            self._done.set()

    def wait(self) -> list[Received]:
        assert self._done.wait(20), f"{len(self.messages)} of {self._enough}"
        return self.messages


def test_a_burst_comes_whole_and_in_order_without_paho_reading_it(
    broker_url: str, name: str, monkeypatch: pytest.MonkeyPatch
):
    read_by_paho: list[object] = []
    monkeypatch.setattr(Client, "_handle_publish", lambda *_: read_by_paho.append(1))
    payloads = [bytes([i % 251]) * (i * 37 % 5000) for i in range(2000)] + [b"z" * 900_000]
    heard = Heard(len(payloads))
    with (
        Intake(broker_url, f"in-{name}", on_messages=heard, subscriptions=[f"t/{name}"], receive_max=100) as intake,
        Link(broker_url, f"out-{name}") as out,
    ):
        intake.wait_connected()
        for future in [out.publish(f"t/{name}", payload) for payload in payloads]:
            future.result(20)
        assert heard.wait() == [Received(f"t/{name}", payload) for payload in payloads]
        # It sends, too, and hears the answer, which paho reads.
        intake.publish(f"elsewhere/{name}", b"x").result(10)
    assert read_by_paho == []


def test_what_was_taken_in_is_acknowledged_so_that_the_broker_does_not_bring_it_again(mosquitto_url: str, name: str):
    options = {"subscriptions": [f"t/{name}"], "session_s": 60}
    with Link(mosquitto_url, f"out-{name}") as out:
        first = Heard(300)
        with Intake(mosquitto_url, f"in-{name}", on_messages=first, **options) as intake:
            intake.wait_connected()
            for i in range(300):
                out.publish(f"t/{name}", str(i).encode())
            first.wait()
        out.publish(f"t/{name}", b"last").result(10)
        second = Heard(1)
        with Intake(mosquitto_url, f"in-{name}", on_messages=second, **options):
            assert [message.payload for message in second.wait()] == [b"last"]
