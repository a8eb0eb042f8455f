"""When a comparison says that something is slower: on noise of known size, and on real models."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgeloop import cli
from edgeloop.latency import Ratio
from edgeloop_bench import gate as gates
from edgeloop_bench.draft import Draft
from edgeloop_bench.gate import Question, finding_of, outcome_of, settle
from edgeloop_bench.reading import read_result
from edgeloop_bench.result import BenchResult, Gate
from edgeloop_bench.subject import Subject
from edgeloop_bench.writing import encode_result
from edgeloop_converters.tflite import describe
from small_graphs import B, graph, sum_and_product
from tiny_models import tiny_model
from tree import REPO

QUICK = ("--seconds", "0.05")


@pytest.mark.parametrize(
    ("low", "high", "finding", "outcome"),
    [
        (0.99, 1.01, "no difference", "holds"),
        (1.005, 1.02, "no difference", "holds"),
        (1.02, 1.03, "slower", "holds"),
        (1.06, 1.09, "slower", "slower"),
        (1.04, 1.06, "slower", "can't tell"),
        (0.9, 0.95, "faster", "holds"),
        (0.9, 1.1, "can't tell", "can't tell"),
        (0.9, 1.04, "can't tell", "holds"),
    ],
)
def test_an_interval_says_what_it_leaves_out(low: float, high: float, finding: str, outcome: str) -> None:
    ratio = Ratio((low + high) / 2, (low, high), 12)
    assert (finding_of(ratio), outcome_of(ratio, 1.05)) == (finding, outcome)


def test_no_interval_says_nothing() -> None:
    assert (finding_of(Ratio(2, None, 3)), outcome_of(Ratio(2, None, 3), 1.05)) == ("can't tell", "can't tell")


def settled(rng: np.random.Generator, slower: float, noise: float, limit: float) -> Gate:
    """Openings whose times have this noise, with one in ten disturbed by half."""
    drafts = [Draft(Subject(name, b"", 0)) for name in "ab"]

    def measure(openings: int) -> None:
        for _ in range(openings):
            for draft, factor in zip(drafts, (1.0, slower), strict=True):
                disturbed = 1.5 if rng.random() < 0.1 else 1.0
                took = 100_000 * factor * disturbed * np.exp(rng.normal(0, noise))
                draft.times.setdefault(1, []).append(np.array([took], np.int64))

    (found,) = settle(drafts, Question(limit), measure, 12)
    return found


def test_equal_models_are_called_equal_and_a_slower_one_is_found_in_simulated_noise() -> None:
    rng = np.random.default_rng(0)
    same = [settled(rng, 1.0, 0.02, 1.05) for _ in range(100)]
    slow = [settled(rng, 1.05, 0.02, 1.02) for _ in range(100)]
    assert sum(g.finding == "no difference" and g.outcome == "holds" for g in same) >= 95
    assert sum(g.outcome == "slower" for g in slow) >= 90


def test_looking_several_times_doesnt_raise_false_alarms() -> None:
    """At the limit itself every alarm is a false one: without a share for each look, four looks raise more of them."""
    rng = np.random.default_rng(1)
    at_the_limit = [settled(rng, 1.05, 0.05, 1.05) for _ in range(150)]
    assert sum(g.outcome == "slower" for g in at_the_limit) <= 0.05 * 150


def test_noise_that_swamps_the_limit_is_said_after_four_looks() -> None:
    found = settled(np.random.default_rng(2), 1.05, 0.3, 1.05)
    assert (found.outcome, found.ratio.rounds) == ("can't tell", 96)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    quick, slow = tmp_path / "quick.tflite", tmp_path / "slow.tflite"
    quick.write_bytes(tiny_model())
    slow.write_bytes(chain(200))
    return quick, slow


def chain(length: int) -> bytes:
    ops = [(B.MUL, [i, i], [i + 1]) for i in range(length)]
    return graph([f"x{i}" for i in range(length + 1)], ops, [0], [length])


def bench(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, BenchResult]:
    code = cli.main(["bench", "--json", *QUICK, *map(str, arguments)])
    return code, msgspec.json.decode(capsys.readouterr().out, type=BenchResult)


def test_a_slower_model_fails_the_gate_and_a_faster_one_passes(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    quick, slow = files
    code, result = bench(capsys, slow, "--against", quick, "--fail-if-slower", "5%")
    (gate,) = result.gates
    assert (code, gate.finding, gate.outcome, gate.is_interleaved) == (1, "slower", "slower", True)
    assert (gate.name, gate.against) == ("slow.tflite", "quick.tflite")
    code, result = bench(capsys, quick, "--against", slow, "--fail-if-slower", "5")
    assert (code, result.gates[0].finding, result.gates[0].outcome) == (0, "faster", "holds")


def test_a_gate_that_cant_tell_passes_with_a_warning_and_fails_when_strict(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "outcome_of", lambda ratio, limit: "can't tell")
    monkeypatch.setattr(gates, "LOOKS", 1)
    arguments = ["bench", *QUICK, str(files[0]), "--against", str(files[0]), "--fail-if-slower", "5%"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert "can't tell: the noise is ±" in said.out
    assert "INVALID" in said.out
    assert "this run has gated nothing" in said.err
    assert cli.main([*arguments, "--strict"]) == 1


def stored(path: Path, capsys: pytest.CaptureFixture[str], folder: Path) -> Path:
    """A result of that artifact, in a folder where the artifact isn't."""
    folder.mkdir()
    assert cli.main(["bench", *QUICK, "--latency-only", str(path), "-o", str(folder / "old.json")]) == 0
    capsys.readouterr()
    return folder / "old.json"


def test_a_result_whose_artifact_is_still_there_is_measured_again(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = stored(files[0], capsys, tmp_path / "elsewhere")
    _, result = bench(capsys, files[1], "--against", old, "--fail-if-slower", "5%")
    assert result.gates[0].is_interleaved
    assert [its.name for its in result.results] == ["quick.tflite", "slow.tflite"]


def test_a_result_alone_is_compared_across_time_which_is_said(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = stored(files[0], capsys, tmp_path / "elsewhere")
    files[0].write_bytes(sum_and_product())
    code, result = bench(capsys, files[1], "--against", old, "--fail-if-slower", "5%")
    (gate,) = result.gates
    assert (code, gate.is_interleaved, gate.finding, gate.against) == (1, False, "slower", "quick.tflite")
    assert any("a comparison across time is a weaker one" in why for why in result.verdict.reasons)


def test_results_of_another_machine_or_other_threads_are_refused(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = stored(files[0], capsys, tmp_path / "elsewhere")
    files[0].unlink()
    result = read_result(old)
    replace = msgspec.structs.replace
    old.write_bytes(encode_result(replace(result, machine=replace(result.machine, cpu="Cortex-A76", cores=4))))
    assert cli.main(["bench", "--json", *QUICK, str(files[1]), "--against", str(old)]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "cpu 'Cortex-A76' then" in message
    assert "cores 4 then" in message
    old.write_bytes(encode_result(result))
    assert cli.main(["bench", *QUICK, str(files[1]), "--against", str(old), "--threads", "2"]) == 2
    assert "threads 1 then, 2 now" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--fail-if-slower", "5%"), ("--strict",), ("--deadline", "5ms")])
def test_options_that_need_another_say_which(
    arguments: tuple[str, ...], files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", str(files[0]), *arguments]) == 2
    assert ": say --" in capsys.readouterr().err.replace("than: --against", "than: say --against")


def test_the_suite_counts_with_wilsons_interval_and_b_is_one_layer_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPO / "benchmarks" / "suites"))
    suite = importlib.import_module("gate")
    assert suite.wilson(95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-4)  # Wilson's own formula, by hand
    assert suite.wilson(100, 100) == pytest.approx((0.9630, 1.0), abs=1e-4)
    a, b = (describe(suite.convolutions(layers, signature=True)) for layers in (20, 21))
    assert b.macs == a.macs * 21 / 20
