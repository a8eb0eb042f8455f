from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop import cli
from edgeloop.signing import generate_key, key_id
from int8_networks import artifact_of
from serial_device import Process

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


@pytest.fixture
def terminal(firmware_process: Path) -> Iterator[str]:
    process = Process(firmware_process, "--pty")
    yield process.read(5).decode().strip()
    process.process.kill()
    process.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert cli.main(["bridge", *arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_model_is_pushed_and_run(
    terminal: str,
    tmp_path: Path,
    tiny_int8_model: bytes,
    answers: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, inputs = tmp_path / "tiny.tflite", tmp_path / "inputs.npy"
    model.write_bytes(tiny_int8_model)
    given = np.array([[1, -2, 3, -4], [5, 6, 7, 8]], np.int8)
    np.save(inputs, given)
    assert run(capsys, "infer", terminal, str(inputs), code=2)["error"]["message"].startswith("no model runs")
    pushed = run(capsys, "push", terminal, str(model), "--trial", "--unsigned")
    assert (pushed["slot"], pushed["resumed_at"], pushed["confirmed"]) == (0, 0, False)
    assert pushed["model_sha256"] == hashlib.sha256(tiny_int8_model).hexdigest()
    found = run(capsys, "infer", terminal, str(inputs))
    wanted = [np.frombuffer(answers(tiny_int8_model, x.tobytes()), np.int8).tolist() for x in given]
    assert [row["output"] for row in found["inferences"]] == wanted
    about = run(capsys, "info", terminal)
    assert [slot["state"] for slot in about["slots"]] == ["trial", "empty"]
    assert about["model"] == pushed["model_sha256"]
    benched = run(capsys, "bench", terminal, "--seconds", "0.2", "--inputs", str(inputs))
    assert benched["inference"]["n"] > 0
    assert benched["window_ms"] == pytest.approx(1e4 * 1023 / 115_200)
    assert benched["samples"]["rate_hz"] > 0


def test_samples_are_printed_with_the_host_s_time(terminal: str, capsys: pytest.CaptureFixture[str]) -> None:
    before_s = time.time()
    cli.main(["bridge", "stream", terminal, "--seconds", "0.3"])
    out, err = capsys.readouterr()
    rows = [line.split(",") for line in out.splitlines()]
    assert len(rows) > 5
    assert all(before_s - 1 < float(row[1]) < time.time() + 1 for row in rows)
    assert all(int(row[3]) == ~int(row[2]) for row in rows)
    assert f"ramp: {len(rows)} samples" in err


def test_a_model_that_the_device_cannot_take_is_an_error(
    terminal: str, tmp_path: Path, shared_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = str(shared_dir / "models" / "kws_float32.tflite")
    assert "op 0 (CONV_2D)" in run(capsys, "push", terminal, unknown, "--unsigned", code=2)["error"]["message"]
    image = tmp_path / "large.img"
    image.write_bytes(bytes(600_000))
    message = run(capsys, "push", terminal, str(image), "--unsigned", code=2)["error"]["message"]
    assert message.endswith("an image of 600,000 bytes; slot 0 takes 524,288")
    image.write_bytes(bytes(600))
    assert "no image of a model" in run(capsys, "push", terminal, str(image), "--unsigned", code=2)["error"]["message"]


def test_only_what_a_trusted_key_signed_is_pushed(
    terminal: str, tmp_path: Path, tiny_int8_model: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    model, artifact, image = tmp_path / "tiny.tflite", tmp_path / "signed.tflite", tmp_path / "tiny.img"
    model.write_bytes(tiny_int8_model)
    image.write_bytes(bytes(600))
    key, other = generate_key(tmp_path / "key"), generate_key(tmp_path / "other")
    trust = ("--trust", str(tmp_path / "key.pub"))
    signed = artifact_of(tiny_int8_model)

    def refused(path: Path, *options: str) -> str:
        message: str = run(capsys, "push", terminal, str(path), *options, code=2)["error"]["message"]
        return message

    assert "--trust KEY.pub; or --unsigned" in refused(model)
    assert "carries no signature" in refused(image, *trust)
    assert "no manifest" in refused(model, *trust).lower() or "manifest" in refused(model, *trust)
    artifact.write_bytes(signed.to_bytes())
    assert "not signed" in refused(artifact, *trust)
    artifact.write_bytes(signed.sign(other).to_bytes())
    assert "isn't trusted here" in refused(artifact, *trust)
    forged = replace(signed.sign(key), raw_manifest=signed.raw_manifest.replace(b'"tiny"', b'"tinx"'))
    artifact.write_bytes(forged.to_bytes())
    assert "altered after signing" in refused(artifact, *trust)
    assert run(capsys, "info", terminal)["slots"][0]["state"] == "empty", "something of it was sent"
    artifact.write_bytes(signed.sign(key).to_bytes())
    pushed = run(capsys, "push", terminal, str(artifact), *trust)
    assert (pushed["signed_by"], pushed["confirmed"]) == (key_id(key.public_key()), True)


def test_inputs_that_are_none_are_refused(terminal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "inputs.npy"
    path.write_bytes(b"hello")
    assert "not an .npy file" in run(capsys, "infer", terminal, str(path), code=2)["error"]["message"]
    np.save(path, np.zeros((2, 4), np.float32))
    assert "int8 or uint8" in run(capsys, "infer", terminal, str(path), code=2)["error"]["message"]
