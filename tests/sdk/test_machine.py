from __future__ import annotations

import getpass
import socket
from pathlib import Path

import msgspec

from edgeloop.machine import describe_machine


def test_this_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.memory_bytes > 1 << 26
    assert machine.libraries["numpy"]


def test_nothing_tells_whose_machine_it_is() -> None:
    told = {str(v) for v in msgspec.to_builtins(describe_machine()).values()}
    assert not told & {socket.gethostname(), getpass.getuser(), str(Path.cwd())}
    assert set(msgspec.to_builtins(describe_machine())) == {
        "board", "cpu", "arch", "cores", "memory_bytes", "governor", "kernel", "python", "libraries", "load_1m"
    }  # fmt: skip


def test_a_raspberry_pi_names_its_board_and_its_governor(tmp_path: Path) -> None:
    files = {
        "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
        "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nSerial\t\t: 00000000deadbeef\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = describe_machine(tmp_path)
    assert machine.board == "Raspberry Pi Zero 2 W Rev 1.0"
    assert machine.cpu == "implementer 0x41 part 0xd03"
    assert machine.governor == "ondemand"
    assert "deadbeef" not in str(machine)


def test_a_machine_that_tells_nothing_is_described_all_the_same(tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    assert machine.board is None
    assert machine.governor is None
    assert machine.cpu
