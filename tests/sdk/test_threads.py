"""The number of threads: by measuring, and remembered."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop import threads
from edgeloop.backends import open_backend
from edgeloop.runtime import Runtime
from edgeloop.threads import ThreadChoice, choose_threads, remembered_threads, threads_file
from tiny_models import tiny_model


def test_it_is_measured_once_and_remembered(make_artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "threads.json"
    chosen = remembered_threads(make_artifact(), path=path)
    (choice,) = msgspec.json.decode(path.read_bytes(), type=dict[str, ThreadChoice]).values()
    assert choice.threads == chosen
    assert 1 in choice.median_us
    monkeypatch.setattr(threads, "choose_threads", lambda _: pytest.fail("measured again"))
    assert remembered_threads(make_artifact(version=2), path=path) == chosen  # the same model


def test_other_kernels_are_measured_apart(make_artifact, tmp_path: Path) -> None:
    path = tmp_path / "threads.json"
    remembered_threads(make_artifact(), path=path)
    remembered_threads(make_artifact(), path=path, kernels="reference")
    assert len(msgspec.json.decode(path.read_bytes())) == 2


def test_a_damaged_file_costs_a_measurement_and_no_more(make_artifact, tmp_path: Path) -> None:
    path = tmp_path / "threads.json"
    path.write_bytes(b"{half of")
    assert remembered_threads(make_artifact(), path=path) >= 1
    assert len(msgspec.json.decode(path.read_bytes())) == 1


def test_a_folder_that_can_not_be_written_is_no_reason_not_to_run(make_artifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert remembered_threads(make_artifact(), path=tmp_path / "file" / "threads.json") >= 1


def test_a_slower_number_is_not_chosen() -> None:
    class Slow:
        inputs = open_backend(tiny_model()).inputs

        def invoke(self, inputs: list[np.ndarray]) -> None:
            for _ in range(2000):
                pass

    class Fast(Slow):
        def invoke(self, inputs: list[np.ndarray]) -> None:
            pass

    assert choose_threads({1: Fast(), 2: Slow()}).threads == 1  # type: ignore[dict-item]
    assert choose_threads({1: Slow(), 2: Fast()}).threads == 2  # type: ignore[dict-item]


def test_a_runtime_takes_the_number_that_the_user_s_cache_holds(
    make_artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runtime = Runtime(make_artifact(), threads="auto")
    (choice,) = msgspec.json.decode(threads_file().read_bytes(), type=dict[str, ThreadChoice]).values()
    assert runtime.threads == choice.threads
    assert threads_file().is_relative_to(tmp_path)


def test_a_slow_model_is_measured_fewer_times() -> None:
    now = [0]
    calls = []

    class Model:
        inputs = open_backend(tiny_model()).inputs

        def __init__(self, call_s: float) -> None:
            self.call_s = call_s

        def invoke(self, inputs: list[np.ndarray]) -> None:
            calls.append(self.call_s)
            now[0] += int(self.call_s * 1e9)

    models = {1: Model(0.5), 2: Model(0.3), 4: Model(0.4)}
    assert choose_threads(models, clock=lambda: now[0]).threads == 2  # type: ignore[arg-type]
    assert len(calls) <= 3 * (2 * 6 + 5)
