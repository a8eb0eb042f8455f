from __future__ import annotations

import json

import pytest

from edgeloop import cli

pytest.importorskip("serial", reason="needs edgeloop[bridge]")


@pytest.mark.parametrize("arguments", [("ports", "--json"), ("--json", "ports")])
def test_ports_are_listed_as_json(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bridge", *arguments]) == 0
    ports = json.loads(capsys.readouterr().out)["ports"]
    assert all(set(port) >= {"device", "description", "serial_number"} for port in ports)


def test_a_usb_port_is_told_by_its_serial_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from serial.tools import list_ports
    from serial.tools.list_ports_common import ListPortInfo

    port = ListPortInfo("/dev/ttyACM0", skip_link_detection=True)
    port.description, port.serial_number, port.vid, port.pid = "Pico", "E661", 0x2E8A, 0x000A
    monkeypatch.setattr(list_ports, "comports", lambda: [port])
    assert cli.main(["bridge", "ports"]) == 0
    assert capsys.readouterr().out == "/dev/ttyACM0\tPico\tE661\n"


def test_no_port_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from serial.tools import list_ports

    monkeypatch.setattr(list_ports, "comports", list)
    assert cli.main(["bridge", "ports"]) == 0
    assert "no serial port found" in capsys.readouterr().out
