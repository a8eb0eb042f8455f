"""Accuracy proved at a place: a real `edgeloop job` in another process, with the reference kernels instead of ours."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from edgeloop import read_artifact
from edgeloop.errors import PlaceError
from edgeloop.job import answer, decode_answer, decode_job, encode_answer, encode_job
from edgeloop.signing import generate_key, load_private_key, load_public_key
from edgeloop_converters.attempts import Limits
from edgeloop_converters.conversion import try_convert
from edgeloop_converters.facts import facts_of
from edgeloop_converters.packaging import Label
from edgeloop_converters.places import open_place
from edgeloop_converters.prepare import Prepared, prepare
from edgeloop_converters.proof import Drop
from edgeloop_converters.report import render

pytestmark = pytest.mark.tf


@dataclass(frozen=True)
class OtherKernels:
    """Another process with other kernels, as a device has them."""

    name: str = "ssh://pi@secret-host"
    is_emulator: bool = False

    def check(self) -> None:
        pass

    def ask(self, job: bytes) -> bytes:
        other = msgspec.structs.replace(decode_job(job), kernels="reference")
        command = [sys.executable, "-m", "edgeloop", "job"]
        return subprocess.run(command, input=encode_job(other), capture_output=True, check=True).stdout


@dataclass(frozen=True)
class Mistaken:
    """Its answers are wrong: the classes are rolled by one."""

    name: str = "mqtt://broker/cam-1"
    is_emulator: bool = True

    def check(self) -> None:
        pass

    def ask(self, job: bytes) -> bytes:
        found = answer(decode_job(job))
        (output,) = found.outputs.values()
        rolled = {name: a[:, [-1, *range(9)]] for name, a in found.arrays().items()}
        outputs = {name: msgspec.structs.replace(output, data=a.tobytes()) for name, a in rolled.items()}
        return encode_answer(msgspec.structs.replace(found, outputs=outputs))


@pytest.fixture(scope="module")
def prepared(digit_task) -> Prepared:
    return prepare(digit_task.model, digit_task.train, digit_task.held_out, preprocessing=digit_task.steps, seed=0)


def made(prepared: Prepared, cache: Path, *places, **label):
    return try_convert(
        prepared, Label("digits", summary="image", **label), max_drop=Drop(0.02, relative=False), recipe="int8",
        limits=Limits(workers=0), cache=cache, places=places,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("trials")


def test_both_sides_stand_in_the_facts_the_manifest_and_the_report(prepared, cache, tmp_path) -> None:
    generate_key(tmp_path / "key")
    place = OtherKernels()
    found = made(prepared, cache, place, key=load_private_key(tmp_path / "key"))
    (there,) = found.elsewhere
    assert found.verdict.holds, found.verdict.text
    assert [b.name for b in found.verdict.budgets] == ["max_drop", f"max_drop on {place.name}"]
    assert there.difference.n == len(prepared.y_eval)
    assert there.difference.max_steps is not None
    assert there.difference.max_steps > 0, "reference and default kernels give the very same: nothing was compared"
    assert there.difference.agreement >= 0.99
    assert there.latency is not None
    artifact = read_artifact(found.artifact.to_bytes())
    artifact.verify([load_public_key(tmp_path / "key.pub")])
    metrics = artifact.manifest.metrics
    (label,) = {name.partition(".")[0] for name in metrics if name.startswith("device-")}
    assert metrics[f"{label}.accuracy"] == there.measurement.value
    assert metrics[f"{label}.max_steps"] == there.difference.max_steps
    assert metrics[f"{label}.latency_us"] == there.latency.median_us
    assert "secret-host" not in artifact.raw_manifest.decode()
    assert found.result.size_bytes == artifact.size_bytes
    (facts,) = facts_of(found)["elsewhere"]
    assert facts["difference"]["agreement"] == there.difference.agreement
    assert facts["machine"]["arch"] == there.machine.arch
    page = render(found)
    assert "<h2>On the target</h2>" in page
    assert f"{there.difference.agreement:.2%}" in page
    assert place.name in page


def test_a_drop_that_holds_here_and_not_there_fails_the_gate(prepared, cache) -> None:
    found = made(prepared, cache, OtherKernels(), Mistaken())
    by_name = {b.name: b for b in found.verdict.budgets}
    assert by_name["max_drop"].holds
    assert by_name["max_drop on ssh://pi@secret-host"].holds
    failing = by_name["max_drop on mqtt://broker/cam-1"]
    assert not failing.holds
    assert failing.sentence.startswith("on mqtt://broker/cam-1: accuracy drops by")
    assert not found.verdict.holds
    assert found.elsewhere[1].latency is None
    assert "nothing of their speed" in render(found)


def test_a_place_that_cannot_be_reached_is_said_before_anything_is_tried(prepared, cache) -> None:
    told: list[str] = []
    with pytest.raises(PlaceError, match="ssh failed"):
        try_convert(prepared, Label("d"), recipe="int8", places=[open_place("ssh://127.0.0.1:1")], tell=told.append)
    assert told == []


def test_an_answer_to_other_inputs_is_not_taken(prepared, cache) -> None:
    class Short(OtherKernels):
        def ask(self, job: bytes) -> bytes:
            found = decode_answer(super().ask(job))
            (name,) = found.outputs
            few = msgspec.structs.replace(
                found.outputs[name], shape=(3, 10), data=found.outputs[name].data[: 3 * 10 * 4]
            )
            return encode_answer(msgspec.structs.replace(found, outputs={name: few}))

    with pytest.raises(ValueError, match="3 answers in"):
        made(prepared, cache, Short())
