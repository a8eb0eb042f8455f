"""What users get wrong: one clear line, exit code 2, and nothing half-written."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from edgeloop.cli import main
from tiny_models import tiny_artifact, tiny_model


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "good.tflite"
    path.parent.mkdir()
    path.write_bytes(tiny_artifact().to_bytes())
    return path


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fails(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 2) -> str:
    """Run the command, see that it fails with one line, and give that line."""
    assert main([str(arg) for arg in argv]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert "Traceback" not in lines[0]
    return lines[0]


def test_a_missing_file(tmp_path: Path, capsys) -> None:
    assert "none.tflite: No such file" in fails(capsys, "inspect", tmp_path / "none.tflite")


def test_a_text_file_named_tflite(tmp_path: Path, capsys) -> None:
    path = tmp_path / "notes.tflite"
    path.write_text("not a model\n")
    for command in (("inspect", path), ("run", path, path), ("bench", path), ("sign", path, "--key", path)):
        line = fails(capsys, *command)
        assert "notes.tflite" in line


def test_a_plain_tflite_is_told_what_to_do(tmp_path: Path, capsys) -> None:
    path = tmp_path / "plain.tflite"
    path.write_bytes(tiny_model())
    assert "edgeloop convert" in fails(capsys, "inspect", path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip"])
def test_inputs_that_are_no_arrays(artifact: Path, tmp_path: Path, capsys, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    assert "x.npy" in fails(capsys, "run", artifact, path)


def test_an_array_of_objects_is_never_unpickled(artifact: Path, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "x.npy" in fails(capsys, "run", artifact, tmp_path / "x.npy")


def test_an_empty_data_set(artifact: Path, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", np.empty((0, 4), dtype=np.float32))
    assert "no inputs" in fails(capsys, "run", artifact, tmp_path / "x.npy")


def test_a_table_without_a_row(artifact: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "x.csv").write_text("a,b,c,d\n")
    assert "no inputs" in fails(capsys, "run", artifact, tmp_path / "x.csv")


def test_a_float_model_is_not_compiled_to_c(artifact: Path, tmp_path: Path, capsys) -> None:
    line = fails(capsys, "compile-c", artifact, "-o", tmp_path / "c")
    assert "edgeloop convert" in line
    assert not (tmp_path / "c").exists()


def test_convert_writes_nothing_where_its_data_is_empty(tmp_path: Path, capsys) -> None:
    pytest.importorskip("tensorflow", reason="the convert extra isn't installed")
    (tmp_path / "model.keras").write_text("not a model")
    np.savez(tmp_path / "empty.npz", x=np.empty((0, 4), dtype=np.float32), y=np.empty(0, dtype=np.int64))
    out = tmp_path / "out.tflite"
    data = tmp_path / "empty.npz"
    line = fails(capsys, "convert", tmp_path / "model.keras", "--data", data, "--eval", data, "-o", out)
    assert "empty" in line
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.npz", "model.keras"]


@pytest.mark.parametrize("command", ["ingest", "deploy"])
def test_a_broker_that_is_not_there(artifact: Path, tmp_path: Path, capsys, command: str) -> None:
    pytest.importorskip("deltalake", reason="the fleet extra isn't installed")
    url = f"mqtt://127.0.0.1:{unused_port()}"
    own = {"ingest": ["--once"], "deploy": [artifact, "--devices", "cam-1"]}[command]
    assert url in fails(capsys, command, *own, "--broker", url, "--lake", tmp_path / "lake")


def test_a_broker_that_is_no_url(tmp_path: Path, capsys) -> None:
    pytest.importorskip("deltalake", reason="the fleet extra isn't installed")
    line = fails(capsys, "ingest", "--once", "--broker", "http://x", "--lake", tmp_path / "lake")
    assert "mqtt://" in line


def test_a_key_is_never_overwritten(tmp_path: Path, capsys) -> None:
    (tmp_path / "key").write_text("mine")
    assert "exists" in fails(capsys, "keygen", tmp_path / "key")
    assert (tmp_path / "key").read_text() == "mine"


def test_a_public_key_can_not_sign_and_the_artifact_stays(artifact: Path, tmp_path: Path, capsys) -> None:
    assert main(["keygen", str(tmp_path / "key")]) == 0
    capsys.readouterr()
    before = artifact.read_bytes()
    assert "private key" in fails(capsys, "sign", artifact, "--key", tmp_path / "key.pub")
    assert artifact.read_bytes() == before


def test_an_agent_s_mistake_in_its_configuration(tmp_path: Path, capsys) -> None:
    (tmp_path / "agent.toml").write_text('device = "cam-1"\n')
    assert "directory" in fails(capsys, "agent", tmp_path / "agent.toml")
