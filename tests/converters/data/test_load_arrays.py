from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop.errors import DataError
from edgeloop_converters.data import load_dataset


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_split_is_picked_by_fragment_or_by_argument(shared_dir: Path) -> None:
    path = shared_dir / "data" / "cifar10.npz"
    by_fragment, by_argument = load_dataset(f"{path}#test"), load_dataset(path, split="test")
    assert len(by_fragment) == 2000
    assert by_fragment.x.shape == (2000, 32, 32, 3)
    assert by_fragment.sha256() == by_argument.sha256()
    assert by_fragment.n_classes == 10


def test_a_file_with_splits_asks_which(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=np.zeros((2, 1)), x_val=np.zeros((2, 1)))
    with pytest.raises(DataError, match="pick a split: train, val"):
        load_dataset(path)


def test_labels_under_another_name_are_a_target(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((3, 1)), labels=np.array([1, 0, 1]))
    found = load_dataset(path, target="labels")
    assert found.y is not None
    assert (found.y.tolist(), found.labels) == ([1, 0, 1], None)
    assert load_dataset(path).y is None
    with pytest.raises(DataError, match="no array 'kind'; it holds x, labels"):
        load_dataset(path, target="kind")


def test_several_inputs_order_groups_and_names_are_read(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.npz",
        **{"x.image": np.zeros((4, 2, 2, 1)), "x.meta": np.zeros((4, 3))},
        y=np.array([0, 1, 0, 1]),
        labels=np.array(["cat", "dog"]),
        when=np.array(["2026-01-01T00:00:01", "2026-01-01", "2026-01-02", "2026-01-03"], "datetime64[s]"),
        site=np.array(["n", "s", "n", "s"]),
    )
    found = load_dataset(path, order="when", groups=["site"])
    assert {n: a.shape for n, a in found.inputs.items()} == {"image": (4, 2, 2, 1), "meta": (4, 3)}
    assert found.labels == ("cat", "dog")
    assert found.order is not None
    assert found.order[0] - found.order[1] == 1.0
    assert found.groups["site"].tolist() == ["n", "s", "n", "s"]


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_pickled_objects_are_never_loaded(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "unpickled"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    hostile = np.array([Touch(), Touch()], dtype=object)
    path = tmp_path / f"a.{kind}"
    np.savez(path, x=hostile) if kind == "npz" else np.save(path, hostile)
    with pytest.raises(DataError, match="pickled Python objects"):
        load_dataset(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Touch()))  # the file would have done it
    assert marker.exists()


def test_a_header_that_declares_more_than_the_file_holds_allocates_nothing(tmp_path: Path) -> None:
    raw = io.BytesIO()
    np.lib.format.write_array_header_1_0(raw, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**6)})
    (tmp_path / "a.npy").write_bytes(raw.getvalue() + b"\0" * 64)
    with pytest.raises(DataError, match=r"declares.*holds 64"):
        load_dataset(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "x.npy")
    with pytest.raises(DataError, match=r"declares.*holds 64"):
        load_dataset(tmp_path / "a.npz")


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000)))  # 8 MB in 8 kB
    with pytest.raises(DataError, match="more than the limit of 1,000,000"):
        load_dataset(tmp_path / "a.npz", max_bytes=1_000_000)


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kind: str, keep: int) -> None:
    path = tmp_path / f"a.{kind}"
    np.savez(path, x=np.ones((50, 50))) if kind == "npz" else np.save(path, np.ones((50, 50)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError):
        load_dataset(path)


def test_damage_inside_an_archive_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.ones((50, 50)))
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="damaged"):
        load_dataset(path)


def test_fortran_order_keeps_rows(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(x))
    assert np.array_equal(load_dataset(tmp_path / "a.npy").x, x)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "lengths differ|same class"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1])}, "lengths differ"),
        ({"x": np.zeros((0, 2))}, "empty"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0, int)}, "empty"),
        ({"x": np.zeros(3)}, r"\(n, …\)"),
        ({"x": np.array([["a"], ["b"]])}, "must be numbers"),
        ({"x": np.zeros((2, 1)), "y": np.array([-1, 0])}, "1 labels are negative .first at row 0"),
        ({"x": np.zeros((2, 1)), "y": np.array([0.5, 1])}, "task='regression'"),
        ({"x": np.zeros((2, 1)), "y": np.array([0, np.nan])}, "1 labels are NaN"),
        ({"x": np.zeros((2, 1)), "y": np.array([1, 1])}, "same class"),
        ({"x": np.zeros((2, 1)), "y": np.ones((2, 3))}, "one-hot"),
        ({"x": np.zeros((2, 1)), "y": np.array([0, 2**40])}, "2\\*\\*31"),
        ({"z": np.zeros((2, 1))}, "no array 'x'; it holds z"),
        ({}, "no array 'x'; it holds nothing"),
        ({"x": np.array([[1.0], [np.nan], [np.inf]])}, r"2 of 3 rows hold NaN or inf \(rows 1, 2\)"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(save(tmp_path / "a.npz", **arrays))


def test_labels_beyond_the_models_classes_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.zeros((3, 1)), y=np.array([0, 1, 7]))
    with pytest.raises(DataError, match=r"out of range .first at row 2: 7.*0 to 3"):
        load_dataset(path, n_classes=4)


@pytest.mark.parametrize(
    "y",
    [
        np.array([0.0, 2.0, 1.0]),
        np.array([[0], [2], [1]], np.uint8),
        np.eye(3)[[0, 2, 1]],
        np.array([b"a", b"c", b"b"]),
    ],
)
def test_labels_in_the_usual_forms_become_class_indices(tmp_path: Path, y: Any) -> None:
    found = load_dataset(save(tmp_path / "a.npz", x=np.zeros((3, 1)), y=y))
    assert found.y is not None
    assert (found.y.tolist(), found.y.dtype) == ([0, 2, 1], np.int64)


def test_values_to_predict_stay_fractional(tmp_path: Path) -> None:
    found = load_dataset(save(tmp_path / "a.npz", x=np.zeros((2, 1)), y=np.array([0.5, 2])), task="regression")
    assert found.y is not None
    assert found.y.tolist() == [0.5, 2.0]
    assert not found.is_classification


def test_rows_with_nan_are_dropped_and_counted_on_request(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x=np.array([[1.0], [np.nan], [3.0]]), y=np.array([0, 1, 1]))
    found = load_dataset(path, nan="drop")
    assert found.y is not None
    assert (found.y.tolist(), [s.reason for s in found.skipped]) == ([0, 1], ["holds NaN or inf"])
    assert len(load_dataset(path, nan="keep")) == 3


@pytest.mark.parametrize(("name", "message"), [("a.txt", "unknown kind"), ("gone.npz", "no such file")])
def test_a_path_that_is_no_data_set_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / name)
