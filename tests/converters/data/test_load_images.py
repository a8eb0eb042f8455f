from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from edgeloop.errors import DataError, MissingExtraError
from edgeloop_converters.data import load_dataset


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def digits_folder(tmp_path: Path) -> Path:
    images, target = load_digits(return_X_y=True)
    for i in range(60):
        pixels = (images[i].reshape(8, 8) * 15).astype(np.uint8)
        write(tmp_path / "digits" / str(target[i]) / f"{i:03}.{('png', 'bmp')[i % 2]}", pixels)
    return tmp_path / "digits"


def test_a_subfolder_is_a_class(digits_folder: Path) -> None:
    found = load_dataset(digits_folder, image_mode="L")
    images, target = load_digits(return_X_y=True)
    order = np.argsort(target[:60], kind="stable")
    assert found.labels == tuple("0123456789")
    assert found.y is not None
    assert found.y.tolist() == target[:60][order].tolist()
    assert np.array_equal(found.inputs["x"][:, :, :, 0].reshape(60, 64), images[:60][order] * 15)


def test_an_unreadable_image_is_skipped_and_counted(digits_folder: Path) -> None:
    image = next((digits_folder / "3").iterdir())
    (digits_folder / "3" / "cut.png").write_bytes(image.read_bytes()[:60])
    (digits_folder / "4" / "empty.jpg").write_bytes(b"")
    (digits_folder / "4" / "notes.txt").write_text("blurred")
    (digits_folder / "4" / ".DS_Store").write_text("hidden")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(digits_folder / "5" / "deep.png")
    found = load_dataset(digits_folder)
    assert len(found) == 60
    assert {Path(s.what).name for s in found.skipped} == {"cut.png", "empty.jpg", "notes.txt", "deep.png"}
    assert all(s.reason for s in found.skipped)


def test_a_class_whose_images_are_all_unreadable_keeps_its_index(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    for name in "bc":
        write(tmp_path / name / "0.png", np.zeros((2, 2), np.uint8))
    found = load_dataset(tmp_path)
    assert found.labels == ("a", "b", "c")
    assert found.y is not None
    assert found.y.tolist() == [1, 2]


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.png", np.zeros((4, 6), np.uint8))
    write(tmp_path / "b" / "0.png", np.full((8, 8, 3), 200, np.uint8))
    with pytest.raises(DataError, match=r"differ in size: 4×6 \(1\), 8×8 \(1\)"):
        load_dataset(tmp_path)
    found = load_dataset(tmp_path, image_size=(5, 7))
    assert found.inputs["x"].shape == (2, 5, 7, 3)
    assert found.inputs["x"][1].min() == 200


def test_a_folder_without_classes_is_unlabelled(tmp_path: Path) -> None:
    write(tmp_path / "0.png", np.zeros((4, 4), np.uint8))
    assert load_dataset(tmp_path).y is None


def test_a_split_is_a_folder_of_folders(tmp_path: Path) -> None:
    for split, shade in (("train", 10), ("test", 20)):
        for name in "ab":
            write(tmp_path / split / name / "0.png", np.full((2, 2), shade, np.uint8))
    assert load_dataset(f"{tmp_path}#test").inputs["x"].max() == 20
    with pytest.raises(DataError, match="holds test, train"):
        load_dataset(tmp_path, split="val")


@pytest.mark.parametrize("layout", ["empty", "mixed", "bad"])
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, layout: str) -> None:
    messages = {"empty": "no readable", "mixed": "beside class folders", "bad": "first of 1 skipped"}
    if layout == "mixed":
        write(tmp_path / "0.png", np.zeros((4, 4), np.uint8))
        write(tmp_path / "a" / "0.png", np.zeros((4, 4), np.uint8))
    if layout == "bad":
        (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=messages[layout]):
        load_dataset(tmp_path)


def test_an_image_that_unpacks_to_a_bomb_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write(tmp_path / "a" / "0.png", np.zeros((9, 9), np.uint8))
    write(tmp_path / "b" / "0.png", np.zeros((9, 9), np.uint8))
    write(tmp_path / "b" / "big.png", np.zeros((11, 12), np.uint8))
    write(tmp_path / "b" / "huge.png", np.zeros((99, 99), np.uint8))
    assert {Path(s.what).name for s in load_dataset(tmp_path).skipped} == {"big.png", "huge.png"}


def test_a_missing_pillow_names_the_extra(digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pillow.*edgeloop\[convert\]"):
        load_dataset(digits_folder)
