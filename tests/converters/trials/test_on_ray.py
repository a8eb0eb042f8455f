from __future__ import annotations

import importlib.util

import msgspec
import pytest

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop_converters.recipes import RecipeData, find_recipe
from edgeloop_converters.trials import Bench, OnRay, Processes, TrialCache, run_trials

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="ray isn't installed (extra `cluster`)")


@pytest.fixture(scope="module")
def cluster():
    """A small Ray of our own, which ends with the tests."""
    import ray

    ray.init(
        address="local", num_cpus=1, object_store_memory=80 << 20, include_dashboard=False, log_to_driver=False,
        configure_logging=False,
    )  # fmt: skip
    yield OnRay()
    ray.shutdown()


@pytest.fixture(scope="module")
def bench(digit_task, tmp_path_factory) -> Bench:
    x = digit_task.train.x[:100] / 16
    data = RecipeData(x[:40], x, digit_task.train.y[:100])
    folder = tmp_path_factory.mktemp("bench")
    return Bench(folder, digit_task.model, calibration=data.calibration, x=data.x, y=data.y, evaluation=x[:20])


def trial(bench, name="int8", **options):
    return bench.trial(find_recipe(name), **{"seed": 0, "memory_bytes": 4 << 30, "timeout_s": 120.0, **options})


@needs_ray
@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")  # ray's own: unclosed sockets and files of what it starts
def test_a_search_that_was_started_here_goes_on_on_a_cluster_and_back(cluster, bench, tmp_path) -> None:
    caches = [TrialCache(tmp_path / name) for name in ("here", "there")]
    (here,) = run_trials([trial(bench)], caches[0], Processes(1))
    there, other = run_trials([trial(bench), trial(bench, "float16")], caches[1], cluster)
    assert (there.error, other.error) == ("", "")
    assert there.key == here.key
    assert caches[0].model(here.key) == caches[1].model(there.key)
    assert there.evaluation == here.evaluation
    for executor in (Processes(1), cluster):
        assert all(r.cached for r in run_trials([trial(bench), trial(bench, "float16")], caches[1], executor))
    assert sorted(p.name for p in caches[1].folder.iterdir()) == sorted([there.key, other.key])
    assert cluster.slots == 1


@needs_ray
@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_limits_and_refusals_hold_on_a_cluster_too(cluster, bench, tmp_path) -> None:
    trials = [
        trial(bench, seed=1, timeout_s=0.2),
        trial(bench, seed=2, memory_bytes=1 << 20),
        msgspec.structs.replace(trial(bench, seed=3), recipe=find_recipe("as-is")),
    ]
    late, large, refused = run_trials(trials, TrialCache(tmp_path), cluster)
    assert late.error == "over its time limit of 0.2 s"
    assert large.error.startswith("over its memory limit")
    assert refused.error.startswith("ConfigError: recipe 'as-is' packages a .tflite file")


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_a_node_of_other_versions_refuses(cluster, bench, tmp_path, monkeypatch) -> None:
    from edgeloop_converters.trials import on_ray

    monkeypatch.setattr(on_ray, "versions", lambda: ("other", "tensorflow 1.0"))
    (refused,) = run_trials([trial(bench, seed=9)], TrialCache(tmp_path), cluster)
    assert "install there what this machine has" in refused.error
    assert not list(tmp_path.iterdir())


@needs_ray
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto"])
def test_where_there_is_no_cluster_it_is_said(address, monkeypatch, tmp_path) -> None:
    import ray

    ray.shutdown()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=f"no Ray cluster at '{address}': start one"):
        OnRay(address)


@pytest.mark.skipif(HAS_RAY, reason="ray is installed")
def test_without_ray_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"edgeloop\[cluster\]"):
        OnRay()
