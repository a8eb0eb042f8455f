"""What the uplink does where the broker's access rules refuse what it sends."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from brokers import Mosquitto
from edgeloop.link import Link
from edgeloop.messages import Ack, encode
from edgeloop.mqtt import parse_broker_url
from edgeloop.outbox import Outbox
from edgeloop.refusals import Refusals
from edgeloop.topics import ROOT, DeviceTopics
from edgeloop.uplink import Uplink
from running_agent import wait_until
from up_messages import DEVICE, event, sample

TOPICS = DeviceTopics(DEVICE)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox.sqlite") as outbox:
        yield outbox


@contextmanager
def centre(address: str) -> Iterator[tuple[list[str], Link]]:
    came: list[str] = []
    listening = Link(
        address, "centre", on_message=lambda topic, _: came.append(topic), subscriptions=[f"{ROOT}/+/+/up/+"]
    )
    with listening as link:
        link.wait_connected()
        yield came, link


class Jitter:
    """Notes how long the link may wait between two attempts, and has it wait for less."""

    def __init__(self) -> None:
        self.longest_s: list[float] = []

    def uniform(self, _least: float, most: float) -> float:
        self.longest_s.append(most)
        return 0.01


def count_refused(uplink: Uplink) -> list[str]:
    link, told = uplink._link, []
    on_refused: Callable[[str], None] = link._on_refused
    link._on_refused = lambda topic: (told.append(topic), on_refused(topic))
    return told


def allow(broker: Mosquitto, *kinds: str) -> None:
    """Let the device write these kinds alone."""
    topics = [*map(TOPICS.up, kinds), *([TOPICS.state] if kinds else []), TOPICS.ack]
    acl = broker._config.with_name("acl")
    acl.write_text("topic read #\n" + "".join(f"topic write {topic}\n" for topic in topics))


@pytest.fixture(params=[False, True], ids=["answers", "hangs up"])
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mosquitto]:
    """A Mosquitto with access rules; of those that queue without a bound 2.0 hangs up after each refusal."""
    tmp_path.chmod(0o755)
    broker = Mosquitto(tmp_path)
    text = broker._config.read_text() + f"acl_file {tmp_path / 'acl'}\nuser root\n"
    assert "max_queued_messages 0\n" in text
    if not request.param:
        text = text.replace("max_queued_messages 0\n", "max_queued_messages 100000\n")
    broker._config.write_text(text)
    allow(broker)
    broker.start()
    yield broker
    broker.stop()


def reload(broker: Mosquitto) -> None:
    assert broker._process is not None
    broker._process.send_signal(signal.SIGHUP)
    time.sleep(0.5)


def test_a_kind_that_is_refused_waits_and_the_others_go(
    broker: Mosquitto, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("edgeloop.refusals._PAUSE_S", 0.5)
    allow(broker, "event", "profile")
    reload(broker)
    outbox.put([sample(i) for i in range(3000)])  # more than may be under way to the centre
    outbox.put([event()])
    uplink = Uplink(outbox, parse_broker_url(broker.url), DEVICE)
    refused = count_refused(uplink)
    with centre(broker.url) as (came, link):
        uplink.start()
        try:
            wait_until(lambda: came)
            assert came == [TOPICS.up("event")]
            assert 1 <= len(refused) <= 25  # what may be under way to the broker, and those that asked
            assert outbox.counters().pending == 3001
            assert len([r for r in caplog.records if "refuses messages" in r.getMessage()]) == 1
            allow(broker, "event", "profile", "sample")
            reload(broker)
            wait_until(lambda: TOPICS.up("sample") in came)
            link.publish(TOPICS.ack, encode(Ack(outbox.epoch, ((1, 1),))))
            wait_until(lambda: came.count(TOPICS.up("sample")) > 1500)
        finally:
            uplink.stop(drain_s=0)


@pytest.mark.parametrize("broker", [True], ids=["hangs up"], indirect=True)
def test_who_is_refused_everything_comes_back_ever_more_rarely(broker: Mosquitto, outbox: Outbox) -> None:
    uplink = Uplink(outbox, parse_broker_url(broker.url), DEVICE)
    jitter = uplink._link._rng = Jitter()
    uplink.start()
    try:
        wait_until(lambda: len(jitter.longest_s) >= 5)
        assert jitter.longest_s[:5] == [0.25, 0.5, 1, 2, 4]
    finally:
        uplink.stop(drain_s=0)


def test_one_message_asks_after_each_pause_which_doubles_up_to_ten_minutes() -> None:
    refusals, now_s, asked_s = Refusals(), 100.0, []
    assert refusals.refused("sample", now_s)
    assert not refusals.refused("sample", now_s)
    while now_s < 4000:
        now_s += 1
        if refusals.may_ask(("event", "sample"), now_s):
            refusals.asked("sample", now_s)
            asked_s.append(now_s - 100)
    assert asked_s == [5, 15, 35, 75, 155, 315, 635, 1235, 1835, 2435, 3035, 3635]
    assert refusals.may_ask(("event",), 10**9) is None
    assert refusals.others(("event", "sample")) == ("event",)
    refusals.accepted("sample")
    assert refusals.others(("event", "sample")) == ("event", "sample")
