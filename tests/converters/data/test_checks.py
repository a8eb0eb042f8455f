from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from edgeloop.errors import DataError
from edgeloop_converters.data import Dataset, Finding, check_datasets, load_dataset
from edgeloop_converters.data.duplicates import near_matches


def digits(shape: tuple[int, ...] = (8, 8, 1)) -> Dataset:
    x, y = load_digits(return_X_y=True)
    return Dataset(x.reshape(-1, *shape).astype(np.float32), y.astype(np.int64))


def halves(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    order = np.random.default_rng(seed).permutation(len(dataset))
    cut = int(0.7 * len(order))
    return dataset.take(order[:cut]), dataset.take(order[cut:])


def photos(shared_dir: Path) -> Dataset:
    return Dataset(load_dataset(shared_dir / "data" / "cifar10.npz", split="train").inputs["x"][:3000])


def by_code(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    assert len({f.code for f in findings}) == len(findings)
    return {f.code: f for f in findings}


@pytest.mark.parametrize("shape", [(8, 8, 1), (64,)])
@pytest.mark.parametrize("seed", range(5))
def test_an_honest_split_of_digits_raises_no_alarm_but_the_blank_border(shape: tuple[int, ...], seed: int) -> None:
    findings = by_code(check_datasets(*halves(digits(shape), seed), seed=0))
    assert set(findings) == {"constant_features"}
    assert findings["constant_features"].count <= 6


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_honest_tables_raise_no_alarm(load: object) -> None:
    x, y = load(return_X_y=True)
    codes = {f.code for f in check_datasets(*halves(Dataset(x, y), 0), seed=0)}
    # Iris has few values: a flower of the test set is measured like one in the training set.
    assert codes <= ({"shared_samples"} if load is load_iris else set())


def test_images_that_are_brighter_by_one_step_are_found(shared_dir: Path) -> None:
    train = photos(shared_dir)
    x = train.inputs["x"][:40]
    brighter = Dataset(np.where(x < 255, x + 1, x))
    found = by_code(check_datasets(train, brighter, seed=0))["near_duplicates"]
    assert (found.severity, found.count) == ("error", 40)


def test_brighter_digits_are_found() -> None:
    train, _ = halves(digits(), 0)
    brighter = Dataset(train.inputs["x"][:50] + np.float32(16 / 255))
    assert by_code(check_datasets(train, brighter, seed=0))["near_duplicates"].count == 50


def test_images_saved_again_as_jpeg_are_found(shared_dir: Path) -> None:
    train = photos(shared_dir)

    def again(image: np.ndarray) -> np.ndarray:
        raw = io.BytesIO()
        Image.fromarray(image).save(raw, "JPEG", quality=60)
        return np.array(Image.open(raw))

    copies = Dataset(np.stack([again(image) for image in train.inputs["x"][:50]]))
    assert by_code(check_datasets(train, copies, seed=0))["near_duplicates"].count >= 45


def test_the_one_photo_that_cifars_test_set_shares_with_its_training_set_is_found(shared_dir: Path) -> None:
    path = shared_dir / "data" / "cifar10.npz"
    findings = by_code(check_datasets(load_dataset(path, split="train"), load_dataset(path, split="test"), seed=0))
    assert set(findings) == {"near_duplicates"}
    assert findings["near_duplicates"].examples == (1416,)
    assert "1416=7469" in findings["near_duplicates"].message


def test_shared_samples_are_an_error_and_named() -> None:
    train, test = halves(digits(), 0)
    mixed = Dataset(np.concatenate([test.inputs["x"][:100], train.inputs["x"][:20]]).astype(np.float64))
    found = by_code(check_datasets(train, mixed, role="calibration", seed=0))
    assert (found["shared_samples"].severity, found["shared_samples"].count) == ("error", 20)
    assert found["shared_samples"].examples == tuple(range(100, 110))
    assert "remove them from the calibration set" in found["shared_samples"].message
    assert "near_duplicates" not in found


def test_a_table_of_few_values_shares_rows_by_nature() -> None:
    rng = np.random.default_rng(0)
    a, b = (Dataset(rng.integers(0, 3, (500, 3))) for _ in range(2))
    assert by_code(check_datasets(a, b, seed=0))["shared_samples"].severity == "warning"


def test_blank_images_are_no_near_copies_of_one_another() -> None:
    train, test = halves(digits(), 0)
    x = train.inputs["x"].copy()
    x[:3] = 0
    blank = np.full((3, 8, 8, 1), np.float32(1.0))
    assert "near_duplicates" not in {
        f.code for f in check_datasets(Dataset(x), Dataset(np.concatenate([test.inputs["x"], blank])), seed=0)
    }


def test_near_copies_are_matched_with_their_own_partner_in_a_large_set() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(9000, 20)).astype(np.float32)  # more than one block of the matrix product
    rows = np.array([8999, 3, 8500])
    found = near_matches(known, known[rows] + np.float32(1e-3), seed=0)
    assert dict(zip(found.rows.tolist(), found.partners.tolist(), strict=True)) == {0: 8999, 1: 3, 2: 8500}


def walk(n: int) -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(np.cumsum(rng.normal(size=(n, 6)), axis=0), order=np.arange(n))


def test_a_time_series_split_at_random_is_found_and_by_time_is_not() -> None:
    series = walk(600)
    assert by_code(check_datasets(*halves(series, 0), seed=0))["time_mixed"].severity == "error"
    assert check_datasets(series.take(np.arange(400)), series.take(np.arange(400, 600)), seed=0) == ()


def test_an_order_that_means_nothing_raises_no_alarm() -> None:
    rng = np.random.default_rng(0)
    noise = Dataset(rng.normal(size=(600, 6)), order=np.arange(600))
    assert check_datasets(*halves(noise, 0), seed=0) == ()


def test_a_person_in_both_sets_is_found() -> None:
    rng = np.random.default_rng(0)
    a = Dataset(rng.normal(size=(60, 4)), groups={"person": np.repeat(["ann", "bob", "cy"], 20)})
    b = Dataset(rng.normal(size=(40, 4)), groups={"person": np.repeat(["cy", "dee"], 20)})
    found = by_code(check_datasets(a, b, keep_apart=["person"], seed=0))["shared_groups"]
    assert (found.severity, found.count) == ("error", 20)
    assert "cy" in found.message
    with pytest.raises(DataError, match="no group column 'device'; it has person"):
        check_datasets(a, b, keep_apart=["device"], seed=0)


def test_missing_unknown_rare_and_unbalanced_classes_are_found() -> None:
    train, test = halves(digits(), 0)
    assert train.y is not None
    assert test.y is not None
    no_three = test.take((test.y != 3) & ((test.y != 5) | (np.cumsum(test.y == 5) <= 4)))
    found = by_code(check_datasets(train.take(train.y != 7), no_three, seed=0))
    assert {c: found[c].examples for c in ("class_missing", "class_unknown", "class_rare", "class_imbalance")} == {
        "class_missing": (3,),
        "class_unknown": (7,),
        "class_rare": (5,),
        "class_imbalance": (5,),
    }
    assert found["class_missing"].severity == found["class_unknown"].severity == "error"


def test_classes_in_another_order_are_found() -> None:
    train, test = (replace(d, labels=tuple("abcdefghij")) for d in halves(digits(), 0))
    turned = replace(test, labels=tuple("bacdefghij"))
    assert by_code(check_datasets(train, turned, seed=0))["labels_differ"].severity == "error"


def test_missing_values_are_found_in_either_set() -> None:
    train, test = halves(digits(), 0)
    x = test.inputs["x"].copy()
    x[[3, 9], 0, 0, 0] = np.nan
    found = by_code(check_datasets(train, Dataset(x, test.y), seed=0))["missing_values"]
    assert (found.severity, found.count, found.examples) == ("error", 2, (3, 9))


def leaky(x: np.ndarray, y: np.ndarray, column: np.ndarray) -> tuple[Dataset, Dataset]:
    names = (*(f"f{i}" for i in range(x.shape[1])), "ward")
    return halves(Dataset(np.column_stack([x, column]), y, feature_names=names), 0)


def test_a_column_made_of_the_label_is_found_by_name() -> None:
    digit = digits((64,))
    assert digit.y is not None
    rng = np.random.default_rng(0)
    column = (digit.y * 7 + 3) % 10 + rng.normal(0, 0.01, len(digit))
    found = by_code(check_datasets(*leaky(digit.inputs["x"][:, ::8], digit.y, column), seed=0))["label_giveaway"]
    assert (found.severity, found.examples) == ("error", (8,))
    assert "'ward'" in found.message


def test_a_column_that_tells_alone_what_the_others_tell_together_gives_nothing_away() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    weak = y[:, None] + rng.normal(0, 0.8, (600, 20))
    assert "label_giveaway" not in {
        f.code for f in check_datasets(*leaky(weak, y, y * 10 + rng.normal(size=600)), seed=0)
    }


def test_an_easy_task_gives_nothing_away() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    easy = Dataset(y[:, None] * 10 + rng.normal(size=(400, 5)), y)
    assert "label_giveaway" not in {f.code for f in check_datasets(*halves(easy, 0), seed=0)}


def test_sets_for_different_models_are_refused() -> None:
    with pytest.raises(DataError, match="aren't for one model"):
        check_datasets(digits(), digits((64,)), seed=0)
