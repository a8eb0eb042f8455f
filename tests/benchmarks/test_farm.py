"""`edgeloop bench --on`: over a real sshd, a real agent, the emulated Pi; and nobody's name in what comes home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from brokers import Mosquitto, mosquitto
from edgeloop import cli
from edgeloop.agent import Agent
from edgeloop.artifact import pack_artifact, write_artifact
from edgeloop.config import AgentConfig
from edgeloop.errors import ConfigError, PlaceError
from edgeloop.job import unmark_answer
from edgeloop.jobdesk import JobsConfig
from edgeloop.jobkinds import encode_kind_job
from edgeloop.machine import describe_machine
from edgeloop.signing import generate_key, load_private_key
from edgeloop.sources import PythonSource, SourceItem
from edgeloop_bench.farm import BESIDE_AN_AGENT, EMULATED, Failed, Measured, as_result, run_on
from edgeloop_bench.farm_job import bench_job, make_bench_job
from edgeloop_bench.result import BenchResult, Settings
from edgeloop_converters.places import SshPlace, open_place
from edgeloop_converters.places.ssh import parse_ssh_url
from personal import personal
from ssh_servers import SshServer, ssh_server
from tiny_models import FEATURES, tiny_artifact, tiny_model

QUICK = Settings(seconds=0.05, openings=2, min_runs=20)
quick = partial(run_on, passes=())
NOWHERE = "ssh://127.0.0.1:1"


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    write_artifact(tmp_path / "tiny.tflite", tiny_artifact())
    (tmp_path / "plain.tflite").write_bytes(tiny_model())
    return [str(tmp_path / "tiny.tflite"), str(tmp_path / "plain.tflite")]


@dataclass(frozen=True)
class Here:
    """A place in this process, so that what the wire carries can be looked at."""

    name: str = "here"
    is_emulator: bool = False

    def check(self) -> None: ...

    def ask(self, job: bytes) -> bytes:
        words = [sys.executable, "-m", "edgeloop", "job"]
        return subprocess.run(words, input=job, capture_output=True, check=True, timeout=120).stdout


@dataclass(frozen=True)
class Interrupted(Here):
    def ask(self, job: bytes) -> bytes:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def over_ssh(server: SshServer, folder: Path) -> SshPlace:
    command = folder / "edgeloop"
    path = os.pathsep.join(sys.path)
    command.write_text(f"#!/bin/sh\necho 'Welcome!'\nPYTHONPATH='{path}' exec {sys.executable} -m edgeloop \"$@\"\n")
    command.chmod(0o755)
    return replace(parse_ssh_url(f"{server.url}{command}"), options=server.options)


def test_a_device_over_ssh_measures_and_the_result_comes_home(
    server: SshServer, tmp_path: Path, paths: list[str]
) -> None:
    device = over_ssh(server, tmp_path)
    nowhere = replace(parse_ssh_url(NOWHERE), options=server.options)
    other = replace(device, name="another")
    found = quick([device, nowhere, other], paths, QUICK)
    first, failed, second = found
    assert isinstance(first, Measured)
    assert isinstance(second, Measured)
    assert isinstance(failed, Failed)
    assert failed.place == NOWHERE
    assert failed.reason.startswith("ssh failed: ")
    for each in (first, second):
        assert [row.name for row in each.result.results] == ["tiny.tflite", "plain.tflite"]
        assert each.result.settings == QUICK
        assert each.result.results[1].ratio is not None  # within a device, and never between two
        assert each.result.machine.cpu == describe_machine().cpu
    assert first.result.id != second.result.id
    shown = as_result(found)
    assert not shown.holds
    assert [set(place) for place in shown.data["places"]] == [{"on", "result"}, {"on", "error"}, {"on", "result"}]
    assert f"== {NOWHERE}\nFAILED: ssh failed" in shown.text
    assert "another" in shown.text
    assert not list(Path("/tmp").glob("edgeloop-bench-*"))


def test_a_result_tells_nothing_of_whose_device_it_is(server: SshServer, tmp_path: Path, paths: list[str]) -> None:
    (found,) = quick([over_ssh(server, tmp_path)], paths, QUICK)
    assert isinstance(found, Measured)
    assert personal(msgspec.json.encode(found.result).decode(), tmp_path) == []


def test_what_would_be_personal_is_found() -> None:
    me = "my-board 192.168.1.7 /home/pi/model.tflite dc:a6:32:01:02:03"
    assert personal(me) == ["192.168.1.7", "dc:a6:32:01:02:03", "/home/pi/model.tflite"]
    assert personal(f"on {Path.home() / 'x'}", "/nowhere")


def test_places_are_looked_at_before_anything_is_measured(paths: list[str]) -> None:
    with pytest.raises(ConfigError, match="unknown place 'toaster'"):
        quick([Here(), "toaster"], paths, QUICK)
    with pytest.raises(ConfigError, match="--on here was given twice"):
        quick([Here(), Here()], paths, QUICK)
    with pytest.raises(FileNotFoundError):
        quick([Here()], ["nothing.tflite"], QUICK)


def test_what_was_measured_before_ctrl_c_is_kept(paths: list[str]) -> None:
    found = quick([Here(), Interrupted("second"), Here("third")], paths[:1], QUICK)
    assert isinstance(found[0], Measured)
    assert found[1:] == [Failed("second", "interrupted"), Failed("third", "not begun")]


def test_an_emulators_result_is_invalid_and_says_why(paths: list[str]) -> None:
    (found,) = quick([Here("emulated-arm64", is_emulator=True)], paths[:1], QUICK)
    assert isinstance(found, Measured)
    assert not found.result.verdict.valid
    assert found.result.verdict.reasons[0] == EMULATED


def test_a_job_runs_what_it_was_sent_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    twice = [("a.tflite", tiny_model()), ("a.tflite", tiny_model())]
    result = bench_job(make_bench_job(twice, QUICK, ()))
    assert [row.name for row in result.results] == ["a.tflite", "a.tflite"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"options": {"settings": {"seconds": "long"}}}, "not a valid benchmark: .*same version of edgeloop"),
        ({"options": {"settings": {}, "more": 1}}, "not a valid benchmark: .*`more`.*same version"),
        (
            {"options": {"settings": {"delegate": "/tmp/lib.so"}}},
            "'/tmp/lib.so' is a library's path, and a job isn't signed",
        ),
        ({"artifacts": ()}, "a job of the kind 'bench' without an artifact"),
        ({"artifacts": (("../a.tflite", tiny_model()),)}, "an artifact named '../a.tflite'"),
        ({"artifacts": (("a.tflite", b"text"),)}, "not a TFLite model"),
        ({"kind": "bake"}, "a job of the kind 'bake': no installed package does such jobs"),
    ],
)
def test_a_job_that_cannot_be_done_says_why(change: dict[str, Any], says: str) -> None:
    job = msgspec.structs.replace(make_bench_job([("a.tflite", tiny_model())], QUICK, ()), **change)
    words = [sys.executable, "-m", "edgeloop", "job"]
    done = subprocess.run(words, input=encode_kind_job(job), capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stdout == b""
    with pytest.raises(PlaceError, match=says):
        raise PlaceError(done.stderr.decode())


def test_a_person_may_look_at_what_a_job_gives() -> None:
    job = encode_kind_job(make_bench_job([("a.tflite", tiny_model())], QUICK, ()))
    words = [sys.executable, "-m", "edgeloop", "job"]
    shown = subprocess.run([*words, "--json"], input=job, capture_output=True, check=True, timeout=60).stdout
    assert msgspec.json.decode(shown, type=BenchResult).results[0].name == "a.tflite"
    sent = subprocess.run(words, input=job, capture_output=True, check=True, timeout=60).stdout
    assert msgspec.msgpack.decode(unmark_answer(sent), type=BenchResult).results[0].name == "a.tflite"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def agent(tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent that takes jobs and runs a model of its own; gives the folder with the signed artifact."""
    generate_key(tmp_path / "key")
    plain = tiny_artifact()
    signed = pack_artifact(plain.model, plain.manifest, key=load_private_key(tmp_path / "key"))
    write_artifact(tmp_path / "signed.tflite", signed)
    seen = threading.Event()

    def source(_: object) -> Iterator[SourceItem]:
        while True:
            seen.set()
            yield SourceItem(np.zeros(FEATURES, np.float32))
            time.sleep(0.01)

    monkeypatch.setattr("edgeloop.agent.open_source", source)
    config = AgentConfig(
        device="cam-1",
        directory=str(tmp_path / "state"),
        broker=broker.url,
        trusted_keys=(str(tmp_path / "key.pub"),),
        source=PythonSource("the test's own"),
        artifact=str(tmp_path / "signed.tflite"),
        jobs=JobsConfig(allow=True),
    )
    running = Agent(config)
    thread = threading.Thread(target=lambda: running.run(drain_s=0))
    thread.start()
    try:
        assert seen.wait(60)
        time.sleep(0.3)  # its birth, after the first input
        yield tmp_path
    finally:
        running.stop()
        thread.join(60)


def test_an_enrolled_device_measures_what_it_trusts(
    agent: Path, broker: Mosquitto, paths: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{broker.url}/cam-1"
    words = ["bench", "--json", "--latency-only", "--seconds", "0.05", "--on", url, "--on", f"{broker.url}/nobody"]
    assert cli.main([*words, str(agent / "signed.tflite")]) == 1
    one, other = json.loads(capsys.readouterr().out)["places"]
    result = msgspec.convert(one["result"], BenchResult, strict=False)
    assert (one["on"], result.results[0].name) == (url, "signed.tflite")
    assert result.verdict.reasons[0] == BESIDE_AN_AGENT
    assert "no such device has been seen" in other["error"]
    assert personal(json.dumps(one["result"]), agent) == []
    # Not one of the artifacts runs unless all are trusted.
    assert cli.main([*words[:-2], str(agent / "signed.tflite"), paths[0]]) == 2
    assert "the job's artifact 'tiny.tflite': not signed" in capsys.readouterr().err


@pytest.mark.slow
def test_the_emulated_pi_measures_and_its_times_are_not_quoted(paths: list[str]) -> None:
    place: Any = open_place("emulated-arm64")
    if place.missing:
        pytest.skip(place.missing)
    (found,) = quick([place], paths, QUICK)
    if isinstance(found, Failed) and "same version of edgeloop on both sides" in found.reason:
        pytest.skip(f"the root's edgeloop is older than this one: build it again: {found.reason}")
    assert isinstance(found, Measured), found
    assert found.result.machine.arch == "aarch64"
    assert not found.result.verdict.valid
    assert EMULATED in found.result.verdict.reasons
