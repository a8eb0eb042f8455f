from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop_converters.recipes import apply_recipe, find_recipe, parse_recipe
from edgeloop_converters.recipes.apply import RecipeData
from edgeloop_converters.trials import Bench, Here, Processes, TrialCache, run_trials

pytestmark = pytest.mark.tf

LEARNING = parse_recipe(
    "learning",
    [
        {"step": "prune", "ratio": 0.5},
        {"step": "distil", "epochs": 1, "augment": "shift"},
        {"step": "compile", "scheme": "int8"},
    ],
)
GIB = 1 << 30


@pytest.fixture(scope="module")
def data(digit_task) -> RecipeData:
    x = digit_task.train.x[:300] / 16
    return RecipeData(x[:40], x, digit_task.train.y[:300])


@pytest.fixture(scope="module")
def bench(digit_task, data, tmp_path_factory) -> Bench:
    return Bench(
        tmp_path_factory.mktemp("bench"),
        digit_task.model,
        calibration=data.calibration,
        x=data.x,
        y=data.y,
        evaluation=digit_task.held_out.x[:50] / 16,
    )


def trial(bench, recipe, *, seed=0, memory=4 * GIB, timeout=120.0):
    return bench.trial(recipe, seed=seed, memory_bytes=memory, timeout_s=timeout)


def test_trials_repeat_to_the_byte_in_fresh_processes_and_are_done_once(bench, tmp_path, digit_task, data) -> None:
    caches = [TrialCache(tmp_path / name) for name in ("one", "two")]
    told: list[str] = []
    # The same learning recipe in two processes, the second one beside another trial; what only compiles, here too.
    first = run_trials([trial(bench, LEARNING)], caches[0], Processes(1), on_done=lambda r: told.append(r.key))
    second = run_trials([trial(bench, LEARNING), trial(bench, find_recipe("int8"))], caches[1], Processes(2))
    assert [r.error for r in (*first, *second)] == ["", "", ""]
    assert first[0].key == second[0].key == told[0]
    assert caches[0].model(first[0].key) == caches[1].model(second[0].key)
    here = apply_recipe(find_recipe("int8"), digit_task.model, data, seed=0).model
    assert caches[1].model(second[1].key) == here
    evaluation = second[1].evaluation
    assert evaluation is not None
    assert evaluation.size_bytes == len(here)
    assert evaluation.agreed is not None
    assert caches[1].outputs(second[1].key)[0].shape == (50, 10)

    again = run_trials([trial(bench, LEARNING)], caches[0], Processes(1))
    assert again[0].cached
    assert again[0].evaluation == first[0].evaluation


def test_a_trial_over_its_limits_ends_and_is_not_kept(bench, tmp_path) -> None:
    cache = TrialCache(tmp_path)
    trials = [
        trial(bench, find_recipe("int8"), seed=1, memory=1 << 20),
        trial(bench, find_recipe("int8"), seed=2, timeout=0.2),
    ]
    memory, late = run_trials(trials, cache, Processes(2))
    assert memory.error.startswith("over its memory limit")
    assert late.error.startswith("over its time limit of 0.2 s")
    assert not list(tmp_path.iterdir())


def test_a_process_that_breaks_down_is_an_error_with_its_last_words(bench, tmp_path) -> None:
    broken = msgspec.structs.replace(trial(bench, find_recipe("int8")), bench=str(tmp_path / "gone"))
    (result,) = run_trials([broken], TrialCache(tmp_path / "cache"), Processes(1))
    assert result.error.startswith("its process ended with exit code 1")
    assert "gone" in result.error
    assert result.evaluation is None


def test_a_refusal_is_a_result_with_its_reason(bench, tmp_path) -> None:
    (result,) = run_trials([trial(bench, find_recipe("as-is"))], TrialCache(tmp_path), Here())
    assert result.error == "ConfigError: recipe 'as-is' packages a .tflite file, and this is a Keras model: use float32"


def test_what_decides_the_result_decides_the_key(bench) -> None:
    int8 = trial(bench, find_recipe("int8"))
    renamed = trial(bench, msgspec.structs.replace(find_recipe("int8"), name="other"), timeout=1.0)
    assert int8.key == renamed.key
    assert len({int8.key, trial(bench, find_recipe("int8"), seed=1).key, trial(bench, LEARNING).key}) == 3


def test_an_interrupted_search_ends_its_workers_and_keeps_what_is_finished(bench, tmp_path) -> None:
    cache = TrialCache(tmp_path)

    def interrupt(_result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials([trial(bench, find_recipe("int8"))], cache, Here(), on_done=interrupt)
    (kept,) = tmp_path.iterdir()
    # The first goes over its limit at once, while the second still starts.
    running = [trial(bench, find_recipe("float16"), memory=1 << 20), trial(bench, LEARNING)]
    with pytest.raises(KeyboardInterrupt):
        run_trials(running, cache, Processes(2), on_done=interrupt)
    assert list(tmp_path.iterdir()) == [kept]
    (again,) = run_trials([trial(bench, find_recipe("int8"))], cache, Here())
    assert again.cached


def test_a_damaged_result_is_done_again(bench, tmp_path) -> None:
    cache = TrialCache(tmp_path)
    wanted = trial(bench, find_recipe("float32"))
    (tmp_path / wanted.key).mkdir()
    (tmp_path / wanted.key / "result.json").write_text("{half")
    (result,) = run_trials([wanted], cache, Here())
    assert not result.cached
    assert cache.find(wanted.key) is not None


def test_a_worker_that_is_killed_fails_its_trial_and_the_others_go_on(bench, tmp_path) -> None:
    cache = TrialCache(tmp_path / "cache")

    def kill_the_first() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for job in cache.folder.glob(".making-*/job.json"):
                for process in Path("/proc").glob("[0-9]*/cmdline"):
                    with contextlib.suppress(OSError):
                        if str(job).encode() in process.read_bytes() and b'"seed":7' in job.read_bytes():
                            os.kill(int(process.parent.name), signal.SIGKILL)
                            return
            time.sleep(0.05)

    thread = threading.Thread(target=kill_the_first)
    thread.start()
    trials = [trial(bench, find_recipe("int8"), seed=7), trial(bench, find_recipe("float16"))]
    killed, other = run_trials(trials, cache, Processes(1))
    thread.join()
    assert killed.error.startswith("its process ended with killed by signal 9")
    assert (other.error, other.cached) == ("", False)
    assert [p.name for p in cache.folder.iterdir()] == [other.key]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB; gives a function that fills it up but for so many bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("executor", [Here(), Processes(1)], ids=["here", "process"])
def test_a_full_disk_ends_the_search_with_a_clear_error_and_nothing_half_written(bench, small_disk, executor) -> None:
    cache = TrialCache(small_disk)
    (small_disk / "others").write_bytes(bytes(350_000))  # some kilobytes are left: too few for a model of 90
    with pytest.raises(OSError, match="no space left on this disk: free some, or set XDG_CACHE_HOME") as caught:
        run_trials([trial(bench, find_recipe("float32")), trial(bench, find_recipe("int8"))], cache, executor)
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in small_disk.iterdir()] == ["others"]


def test_a_full_disk_while_the_data_is_laid_out_is_said_by_the_system_itself(digit_task, data, small_disk) -> None:
    with pytest.raises(OSError, match="No space left"):
        Bench(
            small_disk,
            digit_task.model,
            calibration=data.calibration,
            x=np.zeros((1000, 8, 8, 1), np.float32),
            y=data.y,
            evaluation=data.x,
        )
