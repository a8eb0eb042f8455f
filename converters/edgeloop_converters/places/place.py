"""A place has one job: it takes a job's bytes and gives the answer's; the rest is the same everywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import Artifact
from edgeloop.backends import Kernels
from edgeloop.errors import DataError, PlaceError
from edgeloop.job import Inputs, decode_answer, encode_job, make_job
from edgeloop.jobdesk import last_line
from edgeloop.latency import Latency
from edgeloop.machine import Machine
from edgeloop.preprocessing import sensed
from edgeloop_converters.evaluate import key_for

__all__ = ["Answered", "Place", "ProcessFailedError", "as_sent", "ask_process", "run_at", "unknown_command"]

LATENCY_S = 1.0


class Place(Protocol):
    """Where `edgeloop job` can be run."""

    @property
    def name(self) -> str:
        """As the user wrote it."""
        ...

    @property
    def is_emulator(self) -> bool:
        """Whether time passes otherwise there: no latency is asked of an emulator."""
        ...

    def check(self) -> None:
        """See whether it is there and takes jobs, before anything is made for it. Raises `PlaceError`, likewise."""
        ...

    def ask(self, job: bytes) -> bytes:
        """The answer to an encoded job. Raises `PlaceError`, and says what to do."""
        ...


@dataclass(frozen=True, eq=False)
class Answered:
    """What an artifact said somewhere else.

    Args:
        place: its name.
        outputs: (n, …) real values, float32, by the model's names.
        backend: the interpreter.
        kernels: "default" or "reference".
        machine: the device; in an emulator, what the emulator shows.
        latency: of one call of the interpreter; None where it is an emulator, or wasn't asked for.
    """

    place: str
    outputs: dict[str, NDArray[np.float32]]
    backend: str
    kernels: Kernels
    machine: Machine
    latency: Latency | None


def run_at(
    place: Place, artifact: Artifact, x: Inputs, *, kernels: Kernels = "default", threads: int = 1, timed: bool = True
) -> Answered:
    """Run an artifact over inputs at a place, one call each.

    Args:
        place: where.
        artifact: what; signed, where the place wants that.
        x: (n, …) as the sensor gives them, or such arrays by name.
        kernels: of the interpreter there.
        threads: of the interpreter there.
        timed: measure the latency too, on a device.

    Raises:
        PlaceError, BrokerError: it can't be reached, or couldn't do it.
        MessageError: it answered something else.
        DataError: it didn't answer every input.
    """
    job = make_job(
        artifact.to_bytes(),
        as_sent(artifact, x),
        kernels=kernels,
        threads=threads,
        latency_s=LATENCY_S if timed and not place.is_emulator else 0.0,
    )
    found = decode_answer(place.ask(encode_job(job)))
    outputs = found.arrays()
    given = len(next(iter(x.values()))) if isinstance(x, Mapping) else len(x)
    for name, output in outputs.items():
        if len(output) != given:
            raise DataError(f"{place.name}: {len(output)} answers in {name!r} to {given} inputs")
    return Answered(place.name, outputs, found.backend, found.kernels, found.machine, found.latency)


def as_sent(artifact: Artifact, x: Inputs) -> Inputs:
    """Inputs by the model's own names; strings as their category's number, which is what they become there."""
    manifest = artifact.manifest
    if isinstance(x, Mapping):
        return {spec.name: x[key_for(spec.name, x)] for spec in manifest.inputs}
    return x if x.dtype.kind in "fiub" else sensed(manifest.preprocessing, x)


def ask_process(command: Sequence[str], job: bytes, *, timeout_s: float, where: str) -> bytes:
    """Start `command`, give it the job on standard input, and take the answer from standard output.

    Raises:
        PlaceError: it isn't there, took too long, or `edgeloop job` said why it can't. Where it failed otherwise, the
            error's `said` is all that it wrote to standard error.
    """
    try:
        done = subprocess.run(command, input=job, capture_output=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise PlaceError(f"{where}: {command[0]!r} isn't installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise PlaceError(f"{where}: no answer within {timeout_s:g} s: give it fewer samples, or seconds") from error
    if done.returncode == 0:
        return done.stdout
    if reason := last_line(done.stderr):
        raise PlaceError(f"{where}: {reason}")
    raise ProcessFailedError(where, done.returncode, done.stderr.decode(errors="replace"))


class ProcessFailedError(PlaceError):
    """A process ended without an answer, and not because `edgeloop job` said no.

    Args:
        where: the place.
        code: the exit code.
        said: all of its standard error.
    """

    def __init__(self, where: str, code: int, said: str) -> None:
        lines = [line for line in said.splitlines() if line.strip()]
        super().__init__(f"{where}: it ended with {code}: {lines[-1][:300] if lines else 'and said nothing'}")
        self.code, self.said = code, said


def unknown_command(said: str) -> bool:
    """Whether an edgeloop said that it has no command `job`."""
    return "invalid choice: 'job'" in said
