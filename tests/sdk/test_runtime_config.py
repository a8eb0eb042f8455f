"""How a model is run, as a configuration says it: at a start, at a switch, by `edgeloop run`, and with a plug-in."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop import threads
from edgeloop.artifact import write_artifact
from edgeloop.cli import main
from edgeloop.cli.top import show
from edgeloop.config import AgentConfig, load_config
from edgeloop.errors import ArtifactError, ConfigError
from edgeloop.failing import Failing
from edgeloop.runtime_config import RuntimeConfig
from edgeloop.signing import PublicKey, load_public_key
from edgeloop.updates import ArtifactStore
from plugin_package import install
from running_agent import outbox_events, running, wait_until

X = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]], np.float32)

# A board that runs the model in this process. Its line is a file: while that is away, so is the board.
BOARD = """
import os
from pathlib import Path
import msgspec
import numpy as np
from edgeloop.backends import open_backend
from edgeloop.delegates import Placement
from edgeloop.errors import EdgeloopError

class LineLostError(EdgeloopError):
    pass

class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    line: str
    baud: int = 115200

    def open(self, model):
        return Opened(Path(self.line), model)

class Opened:
    def __init__(self, line, model):
        self.line, self.inner = line, open_backend(model)
        self.name, self.placement = "microcontroller test", Placement(None, None, (), 0)
        self.inputs, self.outputs = self.inner.inputs, self.inner.outputs
        self.memory = np.zeros([abs(n) for n in self.inputs[0].shape], self.inputs[0].dtype)
        self.check()
        with Path(f"{line}.log").open("a") as log:
            log.write("opened\\n")

    def check(self):
        if not self.line.exists():
            raise LineLostError(f"{self.line}: no such port")

    def invoke(self, inputs):
        self.check()
        return self.inner.invoke(inputs)

    def invoke_memory(self):
        self.answer = self.invoke([self.memory])[0]

    def read(self):
        return self.answer.tobytes()

    def batched(self, rows):
        return None

    def close(self):
        with Path(f"{self.line}.log").open("a") as log:
            log.write("closed\\n")
"""
ENTRY = "[edgeloop.backends]\ntestboard = testboard:Board\nbroken = testboard:Nothing\n"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The line to a board whose package is installed."""
    install(tmp_path, monkeypatch, name="testboard", code=BOARD, entry_points=ENTRY)
    (tmp_path / "line").touch()
    return tmp_path / "line"


def log_of(line: Path) -> list[str]:
    return Path(f"{line}.log").read_text().split()


@pytest.fixture
def keys(agent_config: AgentConfig) -> list[PublicKey]:
    return [load_public_key(path) for path in agent_config.trusted_keys]


class TestStore:
    def test_start_switch_and_fallback_run_as_configured(self, tmp_path, keys, make_artifact) -> None:
        run = RuntimeConfig(threads=2, kernels="reference", delegate="/no/such.so")

        def runs_so(runtime) -> int:
            placement = runtime.placement
            assert (runtime.threads, len(placement.outside)) == (2, placement.operators), "reference kernels"
            assert "/no/such.so" in placement.fallback
            return runtime.manifest.version

        store = ArtifactStore(tmp_path / "a", keys, run)
        first = store.start(make_artifact(version=1))
        assert runs_so(first) == 1
        assert runs_so(store.switch(make_artifact(version=2).to_bytes(), first.artifact)) == 2
        (tmp_path / "a/active.tflite").write_bytes(b"lost its power")
        again = ArtifactStore(tmp_path / "a", keys, run)
        assert runs_so(again.start(None)) == 1
        assert again.refused

    def test_threads_are_remembered_beside_the_artifacts(
        self, tmp_path, keys, make_artifact, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/no-cache")  # a service has no home
        runtime = ArtifactStore(tmp_path / "a", keys, RuntimeConfig(threads="auto")).start(make_artifact())
        (choice,) = msgspec.json.decode((tmp_path / "a/threads.json").read_bytes()).values()
        assert choice["threads"] == runtime.threads
        monkeypatch.setattr(threads, "choose_threads", lambda _: pytest.fail("measured again"))
        again = ArtifactStore(tmp_path / "a", keys, RuntimeConfig(threads="auto")).start(None)
        assert again.threads == runtime.threads


class TestPlugin:
    def test_its_backend_runs_the_model_and_is_closed_with_it(self, board: Path, make_artifact) -> None:
        config = RuntimeConfig("testboard", options={"line": str(board)})
        with config.open(make_artifact()) as runtime:
            assert [runtime.run(x).index for x in X] == [1, 0, 2]
            assert runtime.backend == "microcontroller test"
            assert log_of(board) == ["opened"]
        assert log_of(board) == ["opened", "closed"]

    def test_it_is_closed_when_the_artifact_is_refused(self, board: Path, make_artifact) -> None:
        artifact = make_artifact(inputs=(msgspec.structs.replace(make_artifact().manifest.inputs[0], shape=(1, 5)),))
        with pytest.raises(ArtifactError):
            RuntimeConfig("testboard", options={"line": str(board)}).open(artifact)
        assert log_of(board) == ["opened", "closed"]

    def test_a_call_that_fails_leaves_the_runtime_as_it_was(self, board: Path, make_artifact) -> None:
        with RuntimeConfig("testboard", options={"line": str(board)}).open(make_artifact()) as runtime:
            runtime.run(X[0])
            board.unlink()
            for _ in range(3):
                with pytest.raises(Exception, match="no such port"):
                    runtime.run(X[1])
            board.touch()
            assert runtime.run(X[2]).index == 2
            assert len(runtime.take_seen()) == 2

    def test_an_agent_goes_on_while_its_board_is_away(self, board: Path, steady: AgentConfig) -> None:
        run = RuntimeConfig("testboard", options={"line": str(board)})
        with running(msgspec.structs.replace(steady, runtime=run)) as agent:
            agent.goes_on()
            board.unlink()
            wait_until(lambda: agent.status()["stream"]["failed"] > 5)
            status = agent.status()
            assert status["runtime"]["errors"]["LineLostError"] > 5
            assert "microcontroller test" in show(status)
            board.touch()
            agent.goes_on()
        events = [e for e in outbox_events(agent.directory) if e["event"] == "backend-failed"]
        assert [(e["kind"], e["reason"]) for e in events] == [("LineLostError", f"{board}: no such port")]
        assert agent.reports[0].failed_inputs > 5
        assert agent.reports[0].refused_inputs == 0

    def test_run_takes_it_as_text(self, board: Path, make_artifact, tmp_path: Path, capsys) -> None:
        write_artifact(tmp_path / "m.tflite", make_artifact())
        np.save(tmp_path / "x.npy", X)
        command = ["run", str(tmp_path / "m.tflite"), str(tmp_path / "x.npy"), "--json", "--backend"]
        assert main([*command, f"testboard:{board}?baud=9600"]) == 0
        assert json.loads(capsys.readouterr().out)["backend"] == "microcontroller test"
        assert main([*command, f"testboard:{board}?baud=fast"]) == 2
        assert "baud" in capsys.readouterr().err


class TestConfig:
    GOOD = 'device="d"\ndirectory="."\nbroker="mqtt://h"\ntrusted_keys=["k"]\n[source]\ncall="m:f"\n[runtime]\n'

    def load(self, tmp_path: Path, text: str) -> RuntimeConfig:
        (tmp_path / "agent.toml").write_text(self.GOOD + text)
        return load_config(tmp_path / "agent.toml").runtime

    def test_all_of_it(self, tmp_path: Path, board: Path) -> None:
        text = 'backend="litert"\nthreads="auto"\nkernels="reference"\ndelegate="lib/d.so"\n'
        assert self.load(tmp_path, text) == RuntimeConfig("litert", "auto", "reference", str(tmp_path / "lib/d.so"))
        assert self.load(tmp_path, 'threads=4\ndelegate="edgetpu"') == RuntimeConfig(threads=4, delegate="edgetpu")
        text = 'backend="testboard"\n[runtime.options]\nline="/dev/ttyACM0"\n'
        assert self.load(tmp_path, text) == RuntimeConfig("testboard", options={"line": "/dev/ttyACM0"})

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("threads=0", "threads"),
            ('kernels="fast"', "kernels"),
            ('backend="abacus"', "install the package"),
            ('backend="litert"\n[runtime.options]\nport="x"', "takes none"),
            ('backend="testboard"\nthreads=2\n[runtime.options]\nline="x"', "are an interpreter's"),
            ('backend="testboard"\n[runtime.options]\nbaud=1', "line"),
            ('backend="broken"', "reinstall"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path: Path, board: Path, text: str, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            self.load(tmp_path, text)


def test_a_delegate_that_can_t_be_had_is_shown_wherever_one_looks(steady: AgentConfig, caplog) -> None:
    run = RuntimeConfig(delegate="/no/such.so", kernels="reference")
    with running(msgspec.structs.replace(steady, runtime=run)) as agent:
        agent.goes_on()
        status = agent.status()
        text = show(status)
    (started,) = [e for e in outbox_events(agent.directory) if e["event"] == "started"]
    assert "/no/such.so" in status["execution"]["placement"]["fallback"]
    assert "the DELEGATE IS NOT USED: /no/such.so" in text
    assert "2 of 2 operators outside of a delegate: FULLY_CONNECTED, SOFTMAX" in text
    assert (started["delegate"], started["outside"]) == ("cpu", "FULLY_CONNECTED, SOFTMAX")
    assert "/no/such.so" in started["fallback"]
    assert any("/no/such.so" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("kernels", ["default", "reference"])
def test_run_says_how_it_ran(make_artifact, tmp_path: Path, capsys, kernels: str) -> None:
    write_artifact(tmp_path / "m.tflite", make_artifact())
    np.save(tmp_path / "x.npy", X)
    options = ["--kernels", kernels, "--delegate", "/no/such.so", "--sink", str(tmp_path / "p.jsonl")]
    assert main(["run", str(tmp_path / "m.tflite"), str(tmp_path / "x.npy"), *options]) == 0
    said = capsys.readouterr().out
    assert "3 inferences" in said
    assert "DELEGATE IS NOT USED: /no/such.so" in said
    assert ("2 of 2 operators outside" in said) == (kernels == "reference")


def test_a_failure_that_flickers_is_told_once() -> None:
    failing, told, answered = Failing(), [], 0
    for now_s in range(60):
        if now_s < 30 and now_s % 2:
            told.append(failing.failed(answered, now_s))
        else:
            answered += 1
        if (failed_s := failing.over(answered, now_s)) is not None:
            told.append(failed_s)
    assert told == [True] + [False] * 14 + [28.0]
