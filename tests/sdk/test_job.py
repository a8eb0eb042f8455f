"""A job, from one process to another: bytes in, bytes out."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from edgeloop import Runtime
from edgeloop.errors import InputError, MessageError
from edgeloop.job import Job, answer, decode_answer, decode_job, encode_answer, encode_job, make_job
from edgeloop.messages import pack_array
from edgeloop.preprocessing import Category, Scale, Vocabulary
from tiny_models import FEATURES

X = np.random.default_rng(0).normal(size=(20, FEATURES)).astype(np.float32)


def in_a_process(data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "edgeloop", "job", *words]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)


def test_another_process_answers_as_the_runtime_does(make_artifact) -> None:
    artifact = make_artifact(preprocessing=(Scale(0.5, 1.0),), sample_shape=(FEATURES,))
    done = in_a_process(encode_job(make_job(artifact.to_bytes(), X, latency_s=0.01)))
    assert done.returncode == 0, done.stderr
    found = decode_answer(done.stdout)
    with Runtime(artifact) as runtime:
        wanted = np.stack([runtime.run(x).output for x in X])
        (name,) = runtime.run(X[0]).outputs
    assert np.array_equal(found.arrays()[name], wanted)
    assert found.machine.arch
    assert found.backend == "litert"
    assert found.latency is not None
    assert found.latency.median_us > 0


def test_latency_is_measured_only_where_it_is_asked_for(make_artifact) -> None:
    assert answer(make_job(make_artifact().to_bytes(), X)).latency is None


def test_what_a_login_shell_prints_stands_before_the_answer_and_is_skipped(make_artifact) -> None:
    found = answer(make_job(make_artifact().to_bytes(), X))
    assert decode_answer(b"Welcome to cam-1\n" + encode_answer(found)) == found
    with pytest.raises(MessageError, match=r"no answer, but 17 bytes: 'Welcome to cam-1"):
        decode_answer(b"Welcome to cam-1\n")


def test_json_shows_the_answer_to_a_person(make_artifact) -> None:
    done = in_a_process(encode_job(make_job(make_artifact().to_bytes(), X[:3])), "--json")
    (rows,) = json.loads(done.stdout)["outputs"].values()
    assert np.allclose(np.sum(rows, axis=1), 1)


def test_a_job_that_cannot_be_done_exits_with_2_and_says_why(make_artifact) -> None:
    short = encode_job(make_job(make_artifact().to_bytes(), X[:, :2]))
    done = in_a_process(short)
    assert done.returncode == 2
    assert b"edgeloop job: an input of shape (2,)" in done.stderr
    done = in_a_process(b"\xc1")
    assert done.returncode == 2
    assert b"not a valid job" in done.stderr
    assert done.stdout == b""


def test_a_job_of_another_format_says_that_versions_differ(make_artifact) -> None:
    import msgspec

    fields = {**msgspec.to_builtins(make_job(b"", X), builtin_types=(bytes,)), "format": 2}
    with pytest.raises(MessageError, match="is the same version of edgeloop on both sides"):
        decode_job(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("inputs", [{}, {"x": X[:0]}, {"x": X, "y": X[:3]}])
def test_a_job_needs_equally_many_samples(make_artifact, inputs) -> None:
    job = Job(artifact=make_artifact().to_bytes(), inputs={k: pack_array(v) for k, v in inputs.items()})
    with pytest.raises(InputError, match="samples: give each input the same number, at least 1"):
        answer(job)


def test_categories_travel_as_their_numbers(make_artifact) -> None:
    from edgeloop.preprocessing import sensed

    steps = (Vocabulary((Category(0, ("blue", "red")),)),)
    artifact = make_artifact(preprocessing=steps, sample_shape=(FEATURES,))
    rows = np.array([["red", "1", "2", "3"], ["blue", "0", "0", "1"]], dtype=object)
    found = answer(make_job(artifact.to_bytes(), sensed(steps, rows)))
    with Runtime(artifact) as runtime:
        wanted = runtime.run_batch(rows)
    (output,) = found.arrays().values()
    assert np.array_equal(output, wanted)
