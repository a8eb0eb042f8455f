from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeloop.errors import DataError, MissingExtraError
from edgeloop_converters.data import load_dataset

CSV = """time,site,temp,mode,state
2026-01-01T00:00:00Z,north,20.5,slow,ok
2026-01-01T00:00:01Z,south,21,fast,worn
2026-01-01T00:00:02Z,north,19,slow,ok
"""


def csv(tmp_path: Path, text: str = CSV) -> Path:
    (tmp_path / "a.csv").write_text(text)
    return tmp_path / "a.csv"


def test_columns_become_features_labels_order_and_groups(tmp_path: Path) -> None:
    found = load_dataset(
        csv(tmp_path), target="state", order="time", groups=["site"], vocabularies={"mode": ("fast", "slow")}
    )
    assert found.feature_names == ("temp", "mode")
    assert found.inputs["x"].tolist() == [[20.5, 1], [21, 0], [19, 1]]
    assert found.labels == ("ok", "worn")
    assert found.y is not None
    assert found.order is not None
    assert (found.y.tolist(), np.diff(found.order).tolist()) == ([0, 1, 0], [1, 1])
    assert found.groups["site"].tolist() == ["north", "south", "north"]


def test_parquet_gives_the_same_as_csv(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    table = pa.table({
        "time": [start + timedelta(seconds=i) for i in range(3)],
        "site": pa.array(["north", "south", "north"]).dictionary_encode(),
        "temp": pa.array([20.5, 21, 19], pa.float32()),
        "mode": ["slow", "fast", "slow"],
        "state": ["ok", "worn", "ok"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    a, b = (
        load_dataset(p, target="state", order="time", groups=["site"], vocabularies={"mode": ("fast", "slow")})
        for p in (csv(tmp_path), tmp_path / "a.parquet")
    )
    assert a.sha256() == b.sha256()
    assert np.array_equal(a.order, b.order)
    assert a.groups["site"].tolist() == b.groups["site"].tolist()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            CSV,
            {"target": "label"},
            "no target column 'label'; the columns are 'time', 'site', 'temp', 'mode', 'state'",
        ),
        (
            CSV,
            {"target": "state", "order": "time", "groups": ["site"]},
            r"columns \['mode'\] hold text.*'fast', 'slow'",
        ),
        (
            CSV,
            {"order": "time", "groups": ["site", "state"], "vocabularies": {"mode": ("slow",)}},
            "its vocabulary lacks",
        ),
        (CSV, {"order": "site"}, "neither numbers nor ISO 8601"),
        (CSV, {"vocabularies": {"model": ()}}, "no vocabulary column 'model'"),
        ("", {}, "must name the columns"),
        ("a,b\n", {}, "no rows"),
        ("a,a\n1,2\n", {}, r"\['a'\] more than once"),
        ("a,b\n1\n2\n", {}, "first of 2 skipped.*1 cells, but the header has 2"),
        ("a,y\n1,0\n,1\n", {"target": "y"}, "1 of 2 rows hold NaN"),
        ("a,y\n1,0\n2,\n", {"target": "y"}, "1 labels are NaN"),
        ("a,y\n1,p\n2,\n", {"target": "y"}, "1 labels are missing"),
        ("a,y\n1,0\n2,1\n", {"split": "train"}, "no splits"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, text: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(csv(tmp_path, text), **options)


def test_a_ragged_row_is_skipped_with_its_line(tmp_path: Path) -> None:
    found = load_dataset(csv(tmp_path, 'a,y\n1,0\n2\n"3",1\n4,1,9\n'), target="y")
    assert found.inputs["x"].ravel().tolist() == [1, 3]
    assert [s.what.rpartition(":")[2] for s in found.skipped] == ["3", "5"]


def test_a_file_that_is_not_text_or_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00a")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(DataError, match="can't be read"):
            load_dataset(tmp_path / name)


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1, 2], [3, 4]]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'a' is list"):
        load_dataset(tmp_path / "a.parquet")


def test_a_value_too_large_for_float32_is_refused_not_made_infinite(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 2 rows"):
        load_dataset(csv(tmp_path, "a\n1\n1e300\n"))


def test_a_missing_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pyarrow"):
        load_dataset(tmp_path / "a.parquet")
