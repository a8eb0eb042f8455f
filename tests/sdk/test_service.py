"""What the service manager hears of the agent, and the unit that it is run by."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeloop.cli import main
from edgeloop.config import AgentConfig, ServiceConfig
from edgeloop.notify import Notifier
from edgeloop.sources import PythonSource
from edgeloop.systemd import systemd_unit


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(10)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().splitlines()

    def hears_nothing(self) -> bool:
        self.socket.setblocking(False)
        try:
            return not self.socket.recv(4096)
        except BlockingIOError:
            return True


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, str]]:
    name = str(tmp_path / "n") if request.param == "a path" else f"@edgeloop-{uuid.uuid4().hex}"
    running = Manager(name.replace("@", "\0"))
    yield running, name
    running.socket.close()


def test_it_says_ready_alive_and_stopping(manager: tuple[Manager, str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("edgeloop.notify.time.monotonic", lambda: now[0])
    with Notifier({"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "8000000"}) as notifier:
        notifier.ready("digits version 3")
        assert {"READY=1", "STATUS=digits version 3"} <= set(manager[0].heard())
        for _ in range(10):  # a loop that turns fast says it once
            notifier.alive()
        assert manager[0].heard() == ["WATCHDOG=1"]
        now[0] += 2.5
        notifier.alive()
        assert manager[0].heard() == ["WATCHDOG=1"]
        notifier.stopping()
    assert manager[0].heard() == ["STOPPING=1"]
    assert manager[0].hears_nothing()


def test_without_a_watchdog_there_are_no_signs_of_life(manager: tuple[Manager, str]) -> None:
    for more in ({}, {"WATCHDOG_USEC": "junk"}, {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}):
        with Notifier({"NOTIFY_SOCKET": manager[1], **more}) as notifier:
            notifier.alive()
    assert manager[0].hears_nothing()


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        with Notifier(environment) as notifier:
            notifier.ready("x")
            notifier.alive()


@pytest.fixture
def unit(tmp_path: Path) -> Callable[..., str]:
    def make(name: str = "agent.toml", **service: int) -> str:
        config = AgentConfig(
            device="cam-1",
            directory=str(tmp_path),
            broker="mqtt://h",
            trusted_keys=("k",),
            source=PythonSource("m:f"),
            service=ServiceConfig(**service),
        )
        return systemd_unit(config, tmp_path / name, python="/bin/true", user="root")

    return make


def test_the_unit_has_a_watchdog_and_a_memory_limit(unit, tmp_path: Path) -> None:
    lines = unit(memory_max_mb=300, watchdog_s=20).splitlines()
    assert {"Type=notify", "WatchdogSec=20", "MemoryMax=300M", "Restart=on-failure", "User=root"} <= set(lines)
    assert f"ExecStart=/bin/true -m edgeloop agent {tmp_path}/agent.toml" in lines


def test_a_name_with_blanks_and_percents_is_quoted(unit, tmp_path: Path) -> None:
    assert f'agent "{tmp_path}/my 100%% \\"$$x\\".toml"' in unit('my 100% "$x".toml')


def test_the_command_prints_it(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.toml").write_text(
        'device = "d"\ndirectory = "."\nbroker = "mqtt://h"\ntrusted_keys = ["k"]\n[source]\ncall = "m:f"\n'
        "[service]\nmemory_max_mb = 200\n"
    )
    assert main(["agent", str(tmp_path / "a.toml"), "--systemd"]) == 0
    unit = capsys.readouterr().out
    assert f"ExecStart={sys.executable} -m edgeloop agent {tmp_path}/a.toml\n" in unit
    assert "MemoryMax=200M" in unit


@pytest.mark.parametrize("name", ["agent.toml", "my 100% agent.toml"])
def test_systemd_finds_nothing_wrong_with_it(unit, tmp_path: Path, name: str) -> None:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("no systemd-analyze on this machine")
    path = tmp_path / "edgeloop-cam-1.service"
    path.write_text(unit(name))
    done = subprocess.run([command, "verify", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
