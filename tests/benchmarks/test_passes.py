"""Every pass over a real artifact, and what becomes of a model that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop.artifact import pack_artifact, write_artifact
from edgeloop.errors import ConfigError, ModelError
from edgeloop.manifest import Manifest, ModelFile, TensorSpec
from edgeloop.preprocessing import Category, Vocabulary
from edgeloop_bench.compare import compare
from edgeloop_bench.passes import single_stream
from edgeloop_bench.passes.accuracy import read_data
from edgeloop_bench.passes.stages import measure_stages
from edgeloop_bench.result import BenchResult, Settings
from edgeloop_bench.subject import Opened, Subject, read_subject
from small_graphs import B, fixed_reshape, graph, sum_and_product
from tiny_models import FEATURES, WEIGHTS, tiny_artifact, tiny_model

QUICK = Settings(seconds=0.02, min_runs=24, openings=6)


@pytest.fixture
def tiny(tmp_path: Path) -> Subject:
    write_artifact(tmp_path / "tiny.tflite", tiny_artifact())
    return read_subject(str(tmp_path / "tiny.tflite"))


def broken() -> Subject:
    """A flatbuffer in order, whose graph no interpreter can allocate: it adds 4 values to 3."""
    model = graph(["a", "b", "sum"], [(B.ADD, [0, 1], [2])], [0, 1], [2], shapes={1: (1, 3)})
    return Subject("broken.tflite", model, len(model))


def test_one_run_measures_all_there_is_to_know(tiny: Subject) -> None:
    settings = Settings(
        seconds=0.02, min_runs=24, openings=6, threads=(1, 2), batches=(1, 4), rate_per_s=500, deadline_us=1e6
    )
    (found,) = compare([tiny], settings).results
    assert [(s.kind, s.threads, s.batch) for s in found.scenarios] == [
        ("single-stream", 1, 1), ("single-stream", 2, 1), ("multi-stream", 1, 1),
        ("offline", 1, 1), ("offline", 1, 4), ("offline", 2, 1), ("offline", 2, 4),
    ]  # fmt: skip
    assert all(s.latency.n >= 24 and s.latency.rounds == 6 and s.latency.p99_us is None for s in found.scenarios[2:3])
    arriving = found.scenarios[2]
    assert (arriving.offered_per_s, arriving.missed) == (500, 0)
    assert 0 < arriving.throughput.per_s <= 500
    assert [stage.name for stage in found.stages] == ["preprocessing", "invoke", "postprocessing"]
    assert [(op.kind, op.is_alone) for op in found.operators] == [("FULLY_CONNECTED", True), ("SOFTMAX", True)]
    assert found.memory is not None
    assert found.memory.base_bytes > 1e6
    assert found.memory.peak_bytes >= found.memory.steady_bytes > 0
    assert found.warmup is not None
    assert found.error is None


def test_a_plain_tflite_has_no_stages() -> None:
    plain = Subject("plain.tflite", tiny_model(), len(tiny_model()))
    assert compare([plain], QUICK, passes=("stages",)).results[0].stages == ()


def test_stages_of_several_inputs_and_of_words_are_told_too() -> None:
    spec = TensorSpec("x", (1, 4), "float32")
    two = Manifest(
        name="two",
        version=1,
        created="2026-01-01T00:00:00+00:00",
        model=ModelFile(sha256="0" * 64, size_bytes=8),
        inputs=tuple(msgspec.structs.replace(spec, name=name) for name in ("my_a", "my_b")),
        outputs=tuple(msgspec.structs.replace(spec, name=name) for name in ("my_sum", "my_product")),
        task="other",
    )
    steps = (Vocabulary((Category(0, ("red", "green")), Category(2, ("big",)))),)
    words = msgspec.structs.replace(tiny_artifact().manifest, preprocessing=steps)
    for artifact in (pack_artifact(sum_and_product(), two), pack_artifact(tiny_model(), words)):
        stages = measure_stages(artifact, QUICK)
        assert [stage.name for stage in stages] == ["preprocessing", "invoke", "postprocessing"]
        assert all(stage.latency.n >= QUICK.min_runs for stage in stages)


def test_a_batch_that_the_model_cant_take_is_left_out_and_told() -> None:
    model = fixed_reshape()
    result = compare(
        [Subject("fixed.tflite", model, len(model))], Settings(0.02, 24, 6, batches=(1, 4)), passes=("offline",)
    )
    assert [s.batch for s in result.results[0].scenarios] == [1, 1]
    assert "fixed.tflite can't be run in batches of 4: left out" in result.verdict.reasons


def test_accuracy_is_of_the_very_file(tiny: Subject, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(50, FEATURES)).astype(np.float32)
    truth = (x @ WEIGHTS.T).argmax(axis=1)
    wrong = np.where(np.arange(50) < 10, (truth + 1) % 3, truth)
    np.savez(tmp_path / "data.npz", x=x, y=wrong)
    data = read_data(str(tmp_path / "data.npz"), None)
    plain = Subject("plain.tflite", tiny.model, len(tiny.model))
    for found in compare([tiny, plain], QUICK, passes=("accuracy",), data=data).results:
        assert found.accuracy is not None
        assert (found.accuracy.metric, found.accuracy.value, found.accuracy.n) == ("accuracy", 0.8, 50)
        assert found.accuracy.ci is not None
        assert found.accuracy.ci[0] < 0.8 < found.accuracy.ci[1]


def test_data_that_doesnt_fit_ends_with_the_figures_kept(tiny: Subject, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((5, 7), np.float32), y=np.arange(5) % 3)
    result = compare([tiny], QUICK, passes=("accuracy",), data=read_data(str(tmp_path / "data.npz"), None))
    assert result.results[0].error is not None
    assert result.results[0].scenarios
    assert not result.verdict.valid


def test_a_model_that_cant_run_takes_nobody_along(tiny: Subject) -> None:
    bad, good = compare([broken(), tiny], QUICK, passes=()).results
    assert bad.error is not None
    assert "broken.tflite" in bad.error
    assert (bad.scenarios, bad.load_us) == ((), None)
    assert (good.error, good.scenarios[0].latency.rounds, good.ratio) == (None, 6, None)


def test_nothing_that_runs_is_an_error() -> None:
    with pytest.raises(ModelError, match="broken"):
        compare([broken()], QUICK)


def failing_after(calls: int, name: str) -> Callable[..., Opened]:
    """`open_subject`, whose models of that name fail after so many calls, in the third opening."""
    real, openings = single_stream.open_subject, [0]

    def open_subject(subject: Subject, *args: object, **kwargs: object) -> Opened:
        opened = real(subject, *args, **kwargs)
        if subject.name != name:
            return opened
        openings[0] += 1
        left = [calls if openings[0] == 3 else 10**9]

        def invoke() -> object:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("the accelerator is gone")
            return opened.invoke()

        return Opened(opened.load_us, opened.first_us, invoke)

    return open_subject


def test_a_model_that_fails_half_way_keeps_what_it_has_and_the_others_go_on(
    tiny: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    frail = Subject("frail.tflite", tiny.model, len(tiny.model))
    monkeypatch.setattr(single_stream, "open_subject", failing_after(30, "frail.tflite"))
    good, bad = compare([tiny, frail], QUICK, passes=()).results
    assert bad.error == "the accelerator is gone"
    assert bad.scenarios[0].latency.rounds == 2
    assert good.error is None
    assert good.scenarios[0].latency.rounds == 5


def interrupted(subjects: list[Subject], at: int) -> BenchResult:
    told: list[str] = []

    def progress(text: str) -> None:
        told.append(text)
        if len(told) == at:
            raise KeyboardInterrupt

    return compare(subjects, QUICK, progress=progress)


def test_ctrl_c_keeps_what_was_measured(tiny: Subject) -> None:
    result = interrupted([tiny, tiny], 4)
    assert result.is_partial
    assert not result.verdict.valid
    assert any("stopped before its end" in why for why in result.verdict.reasons)
    assert [its.scenarios[0].latency.rounds for its in result.results] == [3, 3]
    assert result.results[1].ratio is not None
    assert result.results[1].ratio.ci is None


def test_ctrl_c_before_anything_is_a_result_without_figures(tiny: Subject) -> None:
    result = interrupted([tiny], 1)
    assert result.is_partial
    assert result.results[0].scenarios == ()


def test_a_backend_that_isnt_there_is_told(tiny: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"isn't installed here.*installed: none"):
        compare([tiny], QUICK, passes=())


@pytest.mark.parametrize("settings", [Settings(threads=()), Settings(batches=(0,)), Settings(threads=(1, 1))])
def test_impossible_settings_are_refused(settings: Settings, tiny: Subject) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        compare([tiny], settings)
