"""The embedded broker: what the rest relies on, tried with a client of its own."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from edgeloop.errors import BrokerError
from edgeloop_fleet.broker import EmbeddedBroker
from fleet_devices import FakeDevice, birth


def test_a_late_subscriber_gets_what_is_retained_and_nothing_once_it_is_cleared(broker_url: str, name: str):
    with FakeDevice(broker_url, name) as early, FakeDevice(broker_url, f"{name}-late") as late:
        early.publish(f"kept/{name}/1", b"old", retain=True)
        early.publish(f"kept/{name}/1", b"new", retain=True)
        early.publish(f"kept/{name}/2", b"x" * (1 << 20), retain=True)
        early.publish(f"kept/{name}/3", b"gone", retain=True)
        early.publish(f"kept/{name}/3", b"", retain=True)
        late.subscribe(f"kept/{name}/+")
        got = sorted(late.messages.get(timeout=5) for _ in range(2))
        assert [(topic, len(payload), retain) for topic, payload, retain in got] == [
            (f"kept/{name}/1", 3, True),
            (f"kept/{name}/2", 1 << 20, True),
        ]
        time.sleep(0.1)
        assert late.messages.empty()


def test_a_will_is_sent_for_a_client_that_dies_and_not_for_one_that_leaves(broker_url: str, name: str):
    with FakeDevice(broker_url, f"{name}-watch") as watch:
        watch.subscribe(f"edgeloop/1/+/{name}/state")
        with FakeDevice(broker_url, name, will=birth(name, 1, online=False)):
            pass
        time.sleep(0.2)
        assert watch.messages.empty()
        with FakeDevice(broker_url, name, will=birth(name, 2, online=False)) as device:
            device.client.socket().shutdown(socket.SHUT_RDWR)
            assert watch.messages.get(timeout=5)[0].endswith(f"{name}/state")


def test_it_listens_on_this_machine_only_and_leaves_nothing_behind(tmp_path: Path):
    threads = threading.active_count()
    with EmbeddedBroker(tmp_path / "new" / "folder") as broker:
        listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
        assert [address for address in listening if address.endswith(f":{broker.port:04X}")] == [
            f"0100007F:{broker.port:04X}"
        ]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broker.port), 1)
    assert threading.active_count() == threads


def test_a_taken_port_is_said(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=str(port)), EmbeddedBroker(tmp_path, port):
            pass
