"""Ctrl-C in a real `edgeloop convert` process that searches, and the same command again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tf, pytest.mark.timeout(600)]  # two whole searches, each with five starts of TensorFlow
ARGUMENTS = (
    "--scale", "1/16", "--images", "--target", "edgetpu", "--max-drop", "3%", "--max-size", "80kB", "--workers", "1",
)  # fmt: skip
# `edgeloop` itself, where it isn't installed.
COMMAND_LINE = """
import sys
from edgeloop.cli import build_parser, run_command
from edgeloop_converters.commands import CONVERT

sys.exit(run_command(CONVERT, build_parser({"convert": CONVERT}).parse_args(sys.argv[1:])))
"""


def start(files: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "EDGELOOP_RUNS": str(folder / "runs"),
        "TMPDIR": str(folder / "tmp"),
    }
    words = [
        "convert", files / "model.keras", "--data", files / "train.npz", "--eval", files / "test.npz",
        "-o", folder / "out.tflite", *ARGUMENTS, *more,
    ]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND_LINE, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(folder: Path) -> list[Path]:
    return list((folder / "cache" / "edgeloop" / "trials").glob("[!.]*"))


def test_ctrl_c_leaves_nothing_half_written_and_the_same_command_goes_on(digit_files, tmp_path) -> None:
    (tmp_path / "tmp").mkdir()
    search = start(digit_files, tmp_path)
    making = tmp_path / "cache" / "edgeloop" / "trials"
    deadline = time.monotonic() + 250
    while not (len(finished(tmp_path)) >= 1 and list(making.glob(".making-*"))):
        assert search.poll() is None, search.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    search.send_signal(signal.SIGINT)
    _, said = search.communicate(timeout=60)
    assert search.returncode == 130
    kept = len(finished(tmp_path))
    assert f"interrupted: {kept} finished trials are kept; the same command goes on from there" in said
    assert said.rstrip().endswith("edgeloop convert: interrupted")
    assert not (tmp_path / "out.tflite").exists()
    assert not (tmp_path / "runs").exists()
    assert list((tmp_path / "tmp").glob("edgeloop-*")) == []
    assert list(making.glob(".*")) == []

    again = start(digit_files, tmp_path, "--json")
    out, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert json.loads(out)["trials"] == {"all": 4, "reused": kept}
    assert (tmp_path / "out.tflite").exists()
    assert list(making.glob(".*")) == []
