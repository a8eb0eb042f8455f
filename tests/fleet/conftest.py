"""Real brokers, and devices that speak to them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import mosquitto
from edgeloop_fleet.broker import EmbeddedBroker
from edgeloop_fleet.lake import Lake
from fleet_devices import FakeDevice

_NAMES = itertools.count(1)


@pytest.fixture(scope="session")
def mosquitto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's Mosquitto on a free port of 127.0.0.1."""
    with mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker.url


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedBroker(tmp_path_factory.mktemp("embedded")) as broker:
        yield broker.url


@pytest.fixture(params=["mosquitto", "embedded"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Each of the two brokers in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def name() -> str:
    """A device name that no other test uses: the brokers live as long as the session."""
    return f"cam-{os.getpid()}-{next(_NAMES)}"


@pytest.fixture
def device(broker_url: str, name: str) -> Iterator[FakeDevice]:
    with FakeDevice(broker_url, name) as device:
        yield device


@pytest.fixture(scope="session")
def tflite() -> bytes:
    """The smallest model that the format allows: a version, an empty list of operator codes and one subgraph."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [], [schema.BufferT()]
    model.subgraphs = [schema.SubGraphT()]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
