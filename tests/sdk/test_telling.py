"""What a running agent tells: to `edgeloop top`, to Prometheus, to systemd; and what its shadow says."""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeloop.agent import Agent
from edgeloop.artifact import write_artifact
from edgeloop.cli import main
from edgeloop.config import AgentConfig, MetricsConfig, ShadowConfig
from edgeloop.errors import ConfigError
from edgeloop.logs import log_json
from edgeloop.outbox import Outbox
from edgeloop.sources import SourceItem
from running_agent import outbox_events, running, wait_until
from small_graphs import product_and_sum
from two_ports import two_ports


class TestTelling:
    def test_two_agents_can_t_run_from_one_folder(self, steady: AgentConfig) -> None:
        with running(steady) as run:
            with pytest.raises(ConfigError, match=f"another agent runs from this folder, process {os.getpid()}"):
                Agent(steady).run(drain_s=0)
            run.goes_on()

    def test_a_folder_with_a_long_name_and_a_socket_left_behind(self, steady: AgentConfig, tmp_path: Path) -> None:
        directory = tmp_path / ("x" * 200)
        directory.mkdir()
        (directory / "agent.sock").touch()
        with running(msgspec.structs.replace(steady, directory=str(directory))) as run:
            assert run.status()["device"] == "cam-1"
        assert not (directory / "agent.sock").exists()

    def test_top_shows_a_running_agent(self, steady: AgentConfig, capsys) -> None:
        with running(steady) as run:
            wait_until(lambda: run.status()["runtime"]["runs"] > 0)
            assert main(["top", str(run.directory), "--once"]) == 0
            text = capsys.readouterr().out
            assert main(["top", str(run.directory), "--once", "--json"]) == 0
            status = json.loads(capsys.readouterr().out)
        assert "cam-1" in text
        assert "tiny version 1" in text
        assert "p99" in text
        assert status["runtime"]["runs"] > 0
        assert status["stream"]["error"] is None

    def test_top_says_when_no_agent_runs(self, tmp_path: Path, capsys) -> None:
        assert main(["top", str(tmp_path)]) == 2
        assert "no agent runs from there" in capsys.readouterr().err

    def test_prometheus_is_answered_while_it_runs(self, steady: AgentConfig) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{probe.getsockname()[1]}"
        with running(msgspec.structs.replace(steady, metrics=MetricsConfig(listen))) as run:
            run.goes_on()
            text = urllib.request.urlopen(f"http://{listen}/metrics", timeout=10).read().decode()
        assert 'edgeloop_runs_total{model="tiny",version="1"}' in text

    def test_logs_are_lines_of_json_with_the_statistics(self, steady: AgentConfig, capfd) -> None:
        root = logging.getLogger()
        before = root.handlers[:], root.level
        try:
            log_json()
            with running(steady) as run:
                wait_until(lambda: run.status()["runtime"]["runs"] > 50)
            logging.getLogger("edgeloop.test").error("it %s", "failed", exc_info=ValueError("why"))
        finally:
            root.handlers[:], root.level = before
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        statistics = [line["statistics"] for line in lines if line["message"] == "statistics"]
        assert statistics[-1]["runtime"]["runs"] > 50
        assert all(line["time"].endswith("+00:00") and line["level"] for line in lines)
        assert (lines[-1]["message"], lines[-1]["logger"]) == ("it failed", "edgeloop.test")
        assert "ValueError: why" in lines[-1]["error"]

    def test_systemd_is_told(self, steady: AgentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(20)
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "2000000")
            with running(steady):
                heard = [manager.recv(4096).decode() for _ in range(3)]
            assert "READY=1" in heard[0]
            assert heard[1:] == ["WATCHDOG=1"] * 2
            last = ""
            while "STOPPING=1" not in last:
                last = manager.recv(4096).decode()


class TestShadow:
    def test_its_agreement_and_disagreements_reach_the_outbox(
        self, steady: AgentConfig, tmp_path: Path, make_artifact
    ) -> None:
        write_artifact(tmp_path / "v2.tflite", make_artifact(version=2, sign=0))
        shadow = ShadowConfig(str(tmp_path / "v2.tflite"), cpu_percent=50)
        with running(msgspec.structs.replace(steady, shadow=shadow)) as run:
            wait_until(lambda: run.status()["shadow"]["looked"] > 200)
            wait_until(lambda: run.status()["outbox"]["put"] > 60)
        stats = run.reports[0].shadow
        assert 0 < stats["agreed"] < stats["looked"]
        windows = [e for e in outbox_events(run.directory) if e["event"] == "shadow-agreement"]
        assert (sum(e["looked"] for e in windows), sum(e["agreed"] for e in windows)) == (
            stats["looked"],
            stats["agreed"],
        )
        assert sum(e["n"] for e in windows) == run.reports[0].stats["runs"]
        with Outbox(run.directory / "outbox.sqlite") as outbox:
            rows = outbox.pending(limit=100_000)
        reasons = [msgspec.msgpack.decode(row.payload)["reason"] for row in rows if row.kind == "sample"]
        assert reasons.count("disagreement") > len(reasons) / 2

    @pytest.mark.parametrize("bad", ["unsigned", "another task", "not there"])
    def test_one_that_can_t_be_used_is_told_and_the_device_runs(
        self, steady: AgentConfig, tmp_path: Path, make_artifact, bad: str
    ) -> None:
        path = tmp_path / "v2.tflite"
        if bad != "not there":
            fields = {"signed": False} if bad == "unsigned" else {"task": "regression", "labels": ()}
            write_artifact(path, make_artifact(version=2, **fields))
        with running(msgspec.structs.replace(steady, shadow=ShadowConfig(str(path)))) as run:
            run.goes_on()
            assert run.status()["shadow"] is None
        (refusal,) = [e for e in outbox_events(run.directory) if e["event"] == "shadow-refused"]
        kinds = {"unsigned": "SignatureError", "another task": "ConfigError", "not there": "FileNotFoundError"}
        assert refusal["kind"] == kinds[bad]

    def test_models_of_several_inputs_are_compared_by_their_names(
        self, agent_config: AgentConfig, tmp_path: Path, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_artifact(tmp_path / "one.tflite", two_ports(key=key))
        write_artifact(tmp_path / "two.tflite", two_ports(key=key, version=2, model=product_and_sum()))
        config = msgspec.structs.replace(
            agent_config,
            artifact=str(tmp_path / "one.tflite"),
            shadow=ShadowConfig(str(tmp_path / "two.tflite"), cpu_percent=100, max_slowdown_percent=1e6),
        )

        def pairs() -> Iterator[SourceItem]:
            for i in itertools.count():
                yield SourceItem({"my_b": np.full(4, 3 + i % 5), "my_a": np.arange(4)})
                time.sleep(2e-3)

        monkeypatch.setattr("edgeloop.agent.open_source", lambda _: pairs())
        with running(config) as run:
            wait_until(lambda: run.status()["shadow"]["looked"] > 20)
        shadow = run.reports[0].shadow
        assert (shadow["agreed"], shadow["refused"], shadow["ended"]) == (0, 0, "")
