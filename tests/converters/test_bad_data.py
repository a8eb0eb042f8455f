"""What users get wrong with a conversion's data, models and places: one line that names it, and nothing written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgeloop.cli import build_parser, run_command
from edgeloop_converters.commands import CONVERT
from edgeloop_converters.data import load_dataset


@pytest.fixture
def convert(digit_files, tmp_path, monkeypatch, capfd):
    """Runs `edgeloop convert` on the digits with some of its files exchanged; gives the exit code and the last line."""
    monkeypatch.setenv("EDGELOOP_RUNS", str(tmp_path / "runs"))

    def run(*extra, model=None, data=None, evaluation=None, output=None):
        words = [
            "convert", model or digit_files / "model.keras", "--data", data or digit_files / "train.npz",
            "--eval", evaluation or digit_files / "test.npz", "--scale", "1/16", "--images",
            "-o", output or tmp_path / "out" / "digits.tflite", *extra,
        ]  # fmt: skip
        (tmp_path / "out").mkdir(exist_ok=True)
        args = build_parser({"convert": CONVERT}).parse_args([str(word) for word in words])
        code = run_command(CONVERT, args)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.err.strip().splitlines()[-1], captured.err

    return run


def changed(digit_files: Path, path: Path, change) -> Path:
    with np.load(digit_files / "test.npz") as archive:
        arrays = dict(archive)
    np.savez(path, **change(**arrays))
    return path


def one_at(values, place, value):
    copy = np.array(values)
    copy[place] = value
    return copy


@pytest.mark.tf
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x, y: {"x": x[:, :6], "y": y}, "inputs of shape (6, 8, 1)"),
        (lambda x, y: {"x": x.reshape(len(x), -1), "y": y}, "inputs of shape (64,)"),
        (lambda x, y: {"x": x, "y": one_at(y, 5, 12)}, "has the label 12 (row 5, the first of 1), the model has 10"),
        (lambda x, y: {"x": x, "y": one_at(y, 5, -1)}, "1 labels are negative (first at row 5)"),
        (lambda x, y: {"x": one_at(x, (3, 2, 2, 0), np.nan), "y": y}, "1 of 400 rows hold NaN or inf (rows 3)"),
        (lambda x, y: {"x": one_at(x, 9, np.inf), "y": y}, "drop them (--nan drop"),
        (lambda x, y: {"x": x[y == 3], "y": y[y == 3]}, "labels are the same class (3)"),
        (lambda x, y: {"x": x, "y": y[:-1]}, "the lengths differ"),
        (lambda x, y: {"images": x, "y": y}, "no array 'x'; it holds images, y"),
    ],
)
def test_data_that_does_not_fit_is_named_in_one_line(convert, digit_files, tmp_path, change, says) -> None:
    code, line, _ = convert(evaluation=changed(digit_files, tmp_path / "bad.npz", change))
    assert code == 2
    assert says in line
    assert "bad.npz" in line
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.tf
def test_labels_of_the_training_data_are_looked_at_too(convert, digit_files, tmp_path) -> None:
    bad = changed(digit_files, tmp_path / "bad.npz", lambda x, y: {"x": x, "y": one_at(y, 7, 10)})
    code, line, _ = convert(data=bad)
    assert code == 2
    assert "the training data" in line
    assert "label 10 (row 7" in line


@pytest.mark.tf
def test_rows_with_nan_are_dropped_where_that_is_asked_for_and_counted(convert, digit_files, tmp_path) -> None:
    bad = changed(digit_files, tmp_path / "bad.npz", lambda x, y: {"x": one_at(x, (3, 2, 2, 0), np.nan), "y": y})
    page = tmp_path / "out" / "report.json"
    code, _, said = convert("--nan", "drop", "--report", page, "--max-drop", "2%", evaluation=bad)
    assert code == 0, said
    found = json.loads(page.read_text())["data_findings"]
    assert [(f["count"], f["severity"]) for f in found if f["code"] == "skipped"] == [(1, "warning")]
    assert "1 of 400 samples of the evaluation set were left out: " in said
    assert "row 3: holds NaN or inf" in said


@pytest.mark.tf
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_model_file_that_was_cut_off_is_refused(convert, digit_files, tmp_path, share) -> None:
    whole = (digit_files / "model.keras").read_bytes()
    path = tmp_path / "cut.keras"
    path.write_bytes(whole[: int(share * len(whole))])
    code, line, _ = convert(model=path)
    assert code == 2
    assert "cut.keras: " in line
    assert "empty file" in line or "damaged or cut off" in line


@pytest.mark.tf
def test_a_place_that_cannot_be_written_is_named_before_the_work(convert, tmp_path) -> None:
    for extra, output, named in (
        ((), tmp_path / "none" / "d.tflite", "none/d.tflite: No such file or directory"),
        ((), tmp_path, f"{tmp_path}: Is a directory"),
        (("--report", tmp_path / "none" / "r.html"), None, "none/r.html: No such file or directory"),
    ):
        code, line, said = convert(*extra, output=output)
        assert code == 2
        assert line.endswith(named)
        assert len(said.strip().splitlines()) == 1  # nothing was tried
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory) -> Path:
    """Two classes of images, 10,000 files in all: one is cut off, one is text, one has 16 bits a channel."""
    image = pytest.importorskip("PIL.Image", reason="the convert extra isn't installed")
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        first = folder / name / "0000.png"
        image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(first)
        for i in range(1, 5000):
            os.link(first, folder / name / f"{i:04}.png")
    for name, content in (("0007.png", (folder / "cat" / "0000.png").read_bytes()[:70]), ("0009.png", b"no image")):
        (folder / "cat" / name).unlink()
        (folder / "cat" / name).write_bytes(content)
    (folder / "dog" / "0003.png").unlink()
    image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "dog" / "0003.png")
    return folder


def test_unreadable_images_among_ten_thousand_are_counted_and_named(ten_thousand) -> None:
    found = load_dataset(ten_thousand)
    assert len(found) == 9_997
    assert np.bincount(found.y).tolist() == [4_998, 4_999]
    assert [Path(s.what).relative_to(ten_thousand).as_posix() for s in found.skipped] == [
        "cat/0007.png", "cat/0009.png", "dog/0003.png",
    ]  # fmt: skip
    assert "more than 8 bits a channel" in found.skipped[2].reason


def test_a_limit_on_memory_is_kept_while_the_images_are_read(ten_thousand) -> None:
    from edgeloop.errors import DataError

    with pytest.raises(DataError, match="more than the limit of 100,000 bytes"):
        load_dataset(ten_thousand, max_bytes=100_000)


@pytest.mark.tf
def test_a_folder_of_images_is_read_in_the_colours_that_the_model_takes(convert, digit_files, tmp_path) -> None:
    image = pytest.importorskip("PIL.Image", reason="the convert extra isn't installed")
    for split, count in (("train", 200), ("test", 100)):
        with np.load(digit_files / f"{split}.npz") as archive:
            for i, (pixels, label) in enumerate(zip(archive["x"][:count], archive["y"][:count], strict=True)):
                path = tmp_path / "digits" / split / str(label) / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image.fromarray(pixels[:, :, 0].astype(np.uint8)).save(path)
    first = next((tmp_path / "digits" / "test" / "3").iterdir())
    first.write_bytes(first.read_bytes()[:50])
    folder = tmp_path / "digits"
    code, _, said = convert("--max-drop", "5%", data=f"{folder}#train", evaluation=f"{folder}#test")
    assert code == 0, said
    assert f"1 of 100 samples of the evaluation set were left out: {first}: " in said
