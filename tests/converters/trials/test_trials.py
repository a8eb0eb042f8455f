from __future__ import annotations

import msgspec
import pytest

from edgeloop_converters.recipes import apply_recipe, find_recipe, parse_recipe
from edgeloop_converters.recipes.apply import RecipeData
from edgeloop_converters.trials import Bench, TrialCache, run_trials

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
    first = run_trials([trial(bench, LEARNING)], caches[0], workers=1, on_done=lambda r: told.append(r.key))
    second = run_trials([trial(bench, LEARNING), trial(bench, find_recipe("int8"))], caches[1], workers=2)
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

    again = run_trials([trial(bench, LEARNING)], caches[0], workers=1)
    assert again[0].cached
    assert again[0].evaluation == first[0].evaluation


def test_a_trial_over_its_limits_ends_and_is_not_kept(bench, tmp_path) -> None:
    cache = TrialCache(tmp_path)
    trials = [
        trial(bench, find_recipe("int8"), seed=1, memory=1 << 20),
        trial(bench, find_recipe("int8"), seed=2, timeout=0.2),
    ]
    memory, late = run_trials(trials, cache, workers=2)
    assert memory.error.startswith("over its memory limit")
    assert late.error.startswith("over its time limit of 0.2 s")
    assert not list(tmp_path.iterdir())


def test_a_process_that_breaks_down_is_an_error_with_its_last_words(bench, tmp_path) -> None:
    broken = msgspec.structs.replace(trial(bench, find_recipe("int8")), bench=str(tmp_path / "gone"))
    (result,) = run_trials([broken], TrialCache(tmp_path / "cache"), workers=1)
    assert result.error.startswith("its process ended with exit code 1")
    assert "gone" in result.error
    assert result.evaluation is None


def test_a_refusal_is_a_result_with_its_reason(bench, tmp_path) -> None:
    (result,) = run_trials([trial(bench, find_recipe("as-is"))], TrialCache(tmp_path), workers=0)
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
        run_trials([trial(bench, find_recipe("int8"))], cache, workers=0, on_done=interrupt)
    (kept,) = tmp_path.iterdir()
    # The first goes over its limit at once, while the second still starts.
    running = [trial(bench, find_recipe("float16"), memory=1 << 20), trial(bench, LEARNING)]
    with pytest.raises(KeyboardInterrupt):
        run_trials(running, cache, workers=2, on_done=interrupt)
    assert list(tmp_path.iterdir()) == [kept]
    (again,) = run_trials([trial(bench, find_recipe("int8"))], cache, workers=0)
    assert again.cached


def test_a_damaged_result_is_done_again(bench, tmp_path) -> None:
    cache = TrialCache(tmp_path)
    wanted = trial(bench, find_recipe("float32"))
    (tmp_path / wanted.key).mkdir()
    (tmp_path / wanted.key / "result.json").write_text("{half")
    (result,) = run_trials([wanted], cache, workers=0)
    assert not result.cached
    assert cache.find(wanted.key) is not None
