"""What befalls a device in the field: sources that hang and flood, full disks, clocks that jump."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop.agent import Agent
from edgeloop.config import AgentConfig, StreamConfig
from edgeloop.messages import decode_up
from edgeloop.outbox import Outbox
from edgeloop.sinks import Sqlite
from edgeloop.sources import Item, JsonLines, SkippedItem, SourceItem
from running_agent import outbox_events, running, wait_until

X = np.array([0, 1, 0, 0], np.float32)


class TestSources:
    def test_a_pipe_that_nobody_writes_to_doesn_t_keep_the_agent_from_starting_and_ending(
        self, agent_config: AgentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.setattr("edgeloop.agent._OPEN_S", 0.1)
        config = msgspec.structs.replace(
            agent_config, source=JsonLines(str(tmp_path / "pipe")), stream=StreamConfig(silent_s=0.2)
        )
        with running(config) as run:
            wait_until(lambda: run.status()["stream"]["silent_s"] > 0)
            with (tmp_path / "pipe").open("w") as pipe:  # now somebody does, and then says no more
                pipe.write("[0, 1, 0, 0]\n" * 3)
                pipe.flush()
                wait_until(lambda: run.answered() == 3)
                wait_until(lambda: run.status()["stream"]["silences"] == 2)
                run.agent.stop()
                run.thread.join(60)
        report = run.reports[0]
        assert (report.inferences, report.silences) == (3, 2)
        events = outbox_events(run.directory)
        assert [e["event"] for e in events] == ["started", "source-silent", "source-back", "source-silent"]
        assert events[2]["silent_s"] > 0

    def test_an_unplugged_camera_is_silent_whatever_it_says(self, agent_config, monkeypatch) -> None:
        plugged = threading.Event()

        def camera() -> Iterator[Item]:
            while True:
                yield SourceItem(X) if plugged.is_set() else SkippedItem("the camera gives no frame")
                time.sleep(0.01)

        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: camera())
        with running(msgspec.structs.replace(agent_config, stream=StreamConfig(silent_s=0.3))) as run:
            wait_until(lambda: run.status()["stream"]["silences"] == 1)
            plugged.set()
            wait_until(lambda: run.answered() > 0 and run.status()["stream"]["silent_s"] == 0)
        assert run.reports[0].skipped_inputs["the camera gives no frame"] > 0

    def test_a_flood_is_dropped_and_counted_in_memory_that_does_not_grow(self, agent_config, monkeypatch) -> None:
        def flood() -> Iterator[Item]:
            while True:
                yield SourceItem(X)

        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: flood())
        stream = StreamConfig(queue_size=8, policy="drop-oldest")
        with running(msgspec.structs.replace(agent_config, stream=stream)) as run:
            run.goes_on()
            status = run.status()["stream"]
            assert status["waiting"] <= 8
            assert status["dropped"] > 0
        report = run.reports[0]
        assert report.dropped_inputs > 0

    def test_sixteen_bit_frames_are_sampled_too(self, agent_config, monkeypatch) -> None:
        frames = (SourceItem(np.array([0, i, 0, 0], np.uint16)) for i in range(500))
        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: frames)
        report = Agent(agent_config).run(drain_s=0)
        assert report.inferences == 500
        assert report.outbox["put"] > 5


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[Callable[[], None]]:
    """A file system of its own in `folder`; gives a function that fills it with the file `fill`."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", folder], check=False)
    if done.returncode:
        pytest.skip("a small file system can't be mounted here: only root may")

    def fill() -> None:
        with (folder / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    try:
        yield fill
    finally:
        subprocess.run(["umount", folder], check=True)


class TestFullDisk:
    @pytest.fixture
    def on(self, steady: AgentConfig, tmp_path: Path) -> AgentConfig:
        disk = tmp_path / "disk"
        return msgspec.structs.replace(
            steady,
            directory=str(disk / "state"),
            predictions=str(disk / "p.jsonl"),
            sinks=(Sqlite(str(disk / "p.db")),),
            metrics_file=str(disk / "metrics.prom"),
        )

    def test_a_disk_that_fills_up_and_is_freed(self, on: AgentConfig, tmp_path: Path, baseline) -> None:
        with small_disk(tmp_path / "disk", 1024) as fill, running(on) as run:
            run.goes_on()
            fill()
            wait_until(lambda: run.status()["outbox"]["held"] > 0 and run.status()["stream"]["lost"] > 0)
            run.goes_on()
            (tmp_path / "disk/fill").unlink()
            before = run.status()["outbox"]["put"]
            wait_until(lambda: run.status()["outbox"]["put"] > before + 3)
            run.agent.stop()
            run.thread.join(60)
            report = run.reports[0]
            with Outbox(run.directory / "outbox.sqlite") as outbox:
                rows = outbox.pending(limit=10_000)
            profiles = [decode_up("profile", on.device, row.payload).n for row in rows if row.kind == "profile"]
        assert report.outbox["held"] == 0
        assert sum(profiles) == report.stats["runs"], "profiles wait in memory for room"

    def test_a_disk_that_is_full_at_the_start(self, on: AgentConfig, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", 512) as fill:
            (tmp_path / "disk/state").mkdir()
            fill()
            with running(on) as run:
                run.goes_on()
                assert run.status()["outbox_kind"] == "memory"
                wait_until(lambda: run.status()["stream"]["lost"] > 0)


@pytest.mark.parametrize("jump_s", [-1.6e9, -3600.0, 3600.0, 3e8])
def test_a_clock_that_jumps_stops_nothing(steady: AgentConfig, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    real, offset = time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: real() + offset[0])
    with running(steady) as run:
        run.goes_on()
        offset[0] = jump_s
        before = run.status()["outbox"]["put"]
        run.goes_on()
        wait_until(lambda: run.status()["outbox"]["put"] > before + 5)
    first_epoch = run.reports[0].epoch
    with Outbox(run.directory / "outbox.sqlite") as outbox:
        assert outbox.epoch > first_epoch, "the epoch grows, whatever the clock says"
