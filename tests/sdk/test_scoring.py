"""Scoring tables in batches: the same answers as one by one, in bounded memory, written whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeloop.errors import DataError, InputError
from edgeloop.runtime import Runtime
from edgeloop.scoring import score
from edgeloop.sinks.tables import open_table
from edgeloop.sources.batches import count_rows, limited, read_batches

ROWS = 1000


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path, x: np.ndarray) -> Path:
    np.save(tmp_path / "x.npy", x)
    with (tmp_path / "x.csv").open("w") as file:
        file.write("d,name,a,b,c\n")
        file.writelines(f"{d!r},row,{a!r},{b!r},{c!r}\n" for a, b, c, d in x.tolist())
    return tmp_path


def write_parquet(path: Path, x: np.ndarray) -> None:
    pa = pytest.importorskip("pyarrow", reason="the tables extra isn't installed")
    import pyarrow.parquet as pq

    columns: dict[str, object] = {name: x[:, i] for i, name in enumerate("abcd")}
    pq.write_table(pa.table({"id": [str(i) for i in range(len(x))], **columns}), path, row_group_size=300)


@pytest.mark.parametrize("kind", ["npy", "csv", "parquet"])
@pytest.mark.parametrize("temperature", [None, 2.0])
def test_every_kind_of_table_gives_what_single_runs_give(
    files: Path, x: np.ndarray, make_artifact, kind: str, temperature: float | None
) -> None:
    if kind == "parquet":
        write_parquet(files / "x.parquet", x)
    with Runtime(make_artifact(temperature=temperature)) as runtime, open_table(str(files / "out.jsonl")) as table:
        batches = read_batches(str(files / f"x.{kind}"), 170, () if kind == "npy" else tuple("abcd"))
        assert score(runtime, batches, table).rows == ROWS
        single = [runtime.run(row) for row in x]
    found = [json.loads(line) for line in (files / "out.jsonl").read_text().splitlines()]
    assert [row["label"] for row in found] == [p.label for p in single]
    assert [row["confidence"] for row in found] == pytest.approx([p.confidence for p in single], rel=1e-4)


def test_a_row_that_does_not_fit_keeps_its_place_without_an_answer(
    tmp_path: Path, x: np.ndarray, make_artifact
) -> None:
    bad = x.copy()
    bad[[3, 500, 999], 1] = np.nan
    with Runtime(make_artifact()) as runtime, open_table(str(tmp_path / "out.csv")) as table:
        report = score(runtime, iter([bad[:400], bad[400:]]), table)
    assert (report.rows, report.refused) == (ROWS, 3)
    assert "NaN" in str(report.first_refusal)
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [i for i, row in enumerate(rows) if row["label"] == ""] == [3, 500, 999]
    assert len(rows) == ROWS


def test_parquet_out_has_typed_columns_and_nulls(tmp_path: Path, x: np.ndarray, make_artifact) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="the tables extra isn't installed")
    bad = x.copy()
    bad[7] = np.inf
    with Runtime(make_artifact()) as runtime, open_table(str(tmp_path / "out.parquet")) as table:
        score(runtime, (bad[i : i + 256] for i in range(0, ROWS, 256)), table)
    read = pq.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in read.schema] == ["int32", "string", "float"]
    assert (read.num_rows, read["label"].null_count, read["label"][7].as_py()) == (ROWS, 1, None)


def test_a_column_of_fixed_size_lists_is_one_input(tmp_path: Path, x: np.ndarray) -> None:
    pa = pytest.importorskip("pyarrow", reason="the tables extra isn't installed")
    import pyarrow.parquet as pq

    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)
    pq.write_table(pa.table({"x": lists}), tmp_path / "x.parquet")
    assert np.array_equal(np.concatenate(list(read_batches(str(tmp_path / "x.parquet"), 300))), x)


def test_what_is_no_classifier_gives_its_outputs(tmp_path: Path, x: np.ndarray, make_artifact) -> None:
    with (
        Runtime(make_artifact(task="regression", labels=())) as runtime,
        open_table(str(tmp_path / "out.csv")) as table,
    ):
        score(runtime, iter([x]), table)
        expected = runtime.run_batch(x)
    found = np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1)
    assert (tmp_path / "out.csv").read_text().startswith("output_0,output_1,output_2\n")
    assert np.allclose(found, expected, rtol=1e-6)


def test_another_number_of_columns_is_refused_at_once(tmp_path: Path, make_artifact) -> None:
    (tmp_path / "out.csv").write_text("what was there")
    with (
        Runtime(make_artifact()) as runtime,
        pytest.raises(InputError, match=r"shape \(5,\): 'tiny' takes \(4,\)"),
        open_table(str(tmp_path / "out.csv")) as table,
    ):
        score(runtime, iter([np.zeros((10, 5))]), table)
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "what was there"


def test_only_as_many_batches_as_are_asked_for_are_read() -> None:
    read: list[int] = []

    def batches() -> Iterator[np.ndarray]:
        for i in range(10):
            read.append(i)
            yield np.zeros((100, 4))

    assert [len(batch) for batch in limited(batches(), 250)] == [100, 100, 50]
    assert read == [0, 1, 2]


def test_a_torn_csv_row_is_missing_values_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('a,b\n1,2\n3\n"' + "9" * 200_000 + '",1\nx,4\n\n5,6\n')
    (batch,) = read_batches(str(tmp_path / "x.csv"), 100)
    nan = np.nan
    assert np.array_equal(batch, [[1, 2], [3, nan], [nan, nan], [nan, 4], [5, 6]], equal_nan=True)


def test_rows_are_counted_without_reading_them(files: Path, x: np.ndarray) -> None:
    assert count_rows(str(files / "x.npy")) == ROWS
    assert count_rows(str(files / "x.csv")) is None
    write_parquet(files / "x.parquet", x)
    assert count_rows(str(files / "x.parquet")) == ROWS


def test_bad_tables_are_named(tmp_path: Path, x: np.ndarray) -> None:
    write_parquet(tmp_path / "x.parquet", x)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match=r"bad\.parquet: not a Parquet file"):
        read_batches(str(tmp_path / "bad.parquet"), 10)
    with pytest.raises(DataError, match="no column 'z'"):
        read_batches(str(tmp_path / "x.parquet"), 10, ("a", "z"))
    (tmp_path / "words.csv").write_text("")
    with pytest.raises(DataError, match="no column"):
        read_batches(str(tmp_path / "words.csv"), 10)
    with pytest.raises(DataError, match=r"out\.txt: name it"), open_table(str(tmp_path / "out.txt")):
        pass
    with pytest.raises(FileNotFoundError):
        read_batches(str(tmp_path / "none.parquet"), 10)
