"""The demo's devices: each a process of its own that runs `edgeloop agent`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeloop.errors import EdgeloopError
from edgeloop.files import write_atomic
from edgeloop_fleet.demo.camera import Scene, set_scene

__all__ = ["DemoDevice", "Line", "running"]

_WINDOW_S = 2.0
_SAMPLE_BYTES_PER_DAY = 2e7  # a demo's day lasts a minute
_RATE_HZ = 60.0


@dataclass(frozen=True)
class Line:
    """What a device wrote of one frame: its name, when, by which version of the model, and the class it saw."""

    ref: str
    time_s: float
    version: int
    index: int


class DemoDevice:
    """One device: its folder, its configuration, and its process."""

    def __init__(self, name: str, directory: Path, seed: int) -> None:
        self.name = name
        self._directory = directory
        self._seed = seed
        self._process: subprocess.Popen[str] | None = None
        directory.mkdir(parents=True)

    def start(self, *, broker: str, artifact: Path, trusted_key: Path, pools: Path, scene: Scene) -> None:
        """Write the configuration and start the process."""
        self.show(scene)
        write_atomic(
            self._directory / "agent.toml",
            f"""\
device = "{self.name}"
directory = "state"
broker = "{broker}"
artifact = "{artifact}"
trusted_keys = ["{trusted_key}"]
predictions = "predictions.jsonl"
window_s = {_WINDOW_S}
sample_bytes_per_day = {_SAMPLE_BYTES_PER_DAY}

[source]
call = "edgeloop_fleet.demo.camera:camera"
options.scene = "{self._directory / "scene.json"}"
options.pools = "{pools}"
options.seed = {self._seed}
options.rate_hz = {_RATE_HZ}
""",
        )
        with (self._directory / "log.txt").open("w") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "edgeloop",
                    "agent",
                    str(self._directory / "agent.toml"),
                    "--json",
                    "--drain",
                    "20",
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
            )

    def show(self, scene: Scene) -> None:
        """Change what the camera sees."""
        set_scene(self._directory / "scene.json", scene)

    def predictions(self) -> list[Line]:
        """What the device has written so far, oldest first; a line that is still being written is left out."""
        path = self._directory / "predictions.jsonl"
        text = path.read_text() if path.exists() else ""
        rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [Line(r["ref"], r["time_s"], r["version"], r["index"]) for r in rows]

    def check(self) -> None:
        """Raise `EdgeloopError`, with the end of its log, where the process has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise EdgeloopError(f"device {self.name} ended with {self._process.returncode}: {self._log_end()}")

    def stop(self) -> dict[str, Any]:
        """Ask the process to end, wait for it to send what waits, and give what it reported."""
        process = self._process
        if process is None:
            return {}
        process.terminate()
        try:
            out, _ = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
        self._process = None
        if process.returncode != 0:
            raise EdgeloopError(f"device {self.name} ended with {process.returncode}: {self._log_end()}")
        report: dict[str, Any] = json.loads(out)
        return report

    def kill(self) -> None:
        """End the process at once, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _log_end(self) -> str:
        lines = (self._directory / "log.txt").read_text().strip().splitlines()
        return lines[-1] if lines else "it left no log"


@contextlib.contextmanager
def running(devices: list[DemoDevice]) -> Iterator[None]:
    """See to it that no device process outlives the demo, whatever happens."""
    try:
        yield
    finally:
        for device in devices:
            device.kill()
