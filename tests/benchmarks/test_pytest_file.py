"""pytest-benchmark's files, with pytest-benchmark itself at the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import DataError
from edgeloop_bench.pytest_file import to_pytest
from edgeloop_bench.reading import read_result
from edgeloop_bench.result import BenchResult

SUITE = """
def test_sum(benchmark):
    benchmark.pedantic(sum, args=(range(500),), rounds=1200)

def test_sorted(benchmark):
    benchmark.pedantic(sorted, args=(list(range(500)),), rounds=30, iterations=2)
"""


def run(*command: str, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that pytest-benchmark has written."""
    pytest.importorskip("pytest_benchmark", reason="the bench extra isn't installed")
    folder = tmp_path_factory.mktemp("measured")
    (folder / "test_it.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    run(sys.executable, "-m", "pytest", "-q", "--benchmark-json=out.json", "test_it.py", cwd=folder)
    return folder / "out.json"


def test_its_file_is_read_as_a_result(measured: Path) -> None:
    result = read_result(measured)
    assert [s.name for s in result.results] == ["test_it.py::test_sum", "test_it.py::test_sorted"]
    summed, ordered = (s.scenarios[0].latency for s in result.results)
    stats = json.loads(measured.read_text())["benchmarks"][0]["stats"]
    assert (summed.n, ordered.n) == (1200, 60)
    assert summed.median_us == pytest.approx(stats["median"] * 1e6)
    assert summed.p90_us == pytest.approx(np.percentile(stats["data"], 90) * 1e6)
    assert summed.p99_us is not None
    assert ordered.p99_us is None
    assert result.results[0].memory is None
    assert result.machine.arch == os.uname().machine
    assert os.uname().nodename not in json.dumps(result.machine.libraries) + result.machine.cpu


def test_without_single_rounds_it_is_said_what_stands_for_the_90_percent(measured: Path, tmp_path: Path) -> None:
    document = json.loads(measured.read_text())
    for benchmark in document["benchmarks"]:
        benchmark["stats"].pop("data")
    (tmp_path / "bare.json").write_text(json.dumps(document))
    result = read_result(tmp_path / "bare.json")
    assert "2 benchmarks without single rounds" in result.verdict.reasons[0]
    assert result.results[0].scenarios[0].latency.median_ci_us is None


def test_its_compare_reads_our_file(synthetic: Callable[..., BenchResult], measured: Path, tmp_path: Path) -> None:
    result = synthetic(models=(0, 2))
    (tmp_path / "ours.json").write_bytes(to_pytest(result))
    program = "import sys; from pytest_benchmark.cli import main; sys.exit(main())"
    out = run(sys.executable, "-c", program, "compare", str(tmp_path / "ours.json"), str(measured), cwd=tmp_path)
    assert "synthetic-keywords-int8.tflite[single-stream-1-1]" in out
    assert "test_sum" in out


def test_our_figures_survive_the_way_there_and_back(synthetic: Callable[..., BenchResult], tmp_path: Path) -> None:
    result = synthetic(models=(0,))
    (tmp_path / "ours.json").write_bytes(to_pytest(result))
    back = read_result(tmp_path / "ours.json")
    ours, theirs = result.results[0].scenarios[0].latency, back.results[0].scenarios[0].latency
    assert theirs.n == ours.n
    assert theirs.median_us == pytest.approx(ours.median_us, rel=0.03)
    assert theirs.min_us == pytest.approx(ours.min_us, rel=0.01)


def test_what_has_no_distribution_can_not_be_written(synthetic: Callable[..., BenchResult], measured: Path) -> None:
    document = json.loads(measured.read_text())
    for benchmark in document["benchmarks"]:
        benchmark["stats"].pop("data")
    (measured.parent / "bare.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="no distribution"):
        to_pytest(read_result(measured.parent / "bare.json"))


def test_other_json_of_its_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"machine_info": {}, "benchmarks": [{"fullname": 1}], "datetime": "now"}')
    with pytest.raises(DataError, match=r"x\.json: no file of pytest-benchmark"):
        read_result(tmp_path / "x.json")
