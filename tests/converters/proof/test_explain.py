from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

from edgeloop.errors import DataError
from edgeloop_converters.proof import find_metric, occlusion_map, permutation_importance


def corner(x: np.ndarray) -> np.ndarray:
    """A model that looks at one corner only: class 1 the brighter it is."""
    bright = x[:, :3, :3].reshape(len(x), -1).mean(axis=1)
    return np.stack([1 - bright, bright], axis=1)


@pytest.mark.parametrize("stride", [None, 1, 5])
def test_occlusion_points_at_the_corner_that_the_model_looks_at(stride: int | None) -> None:
    x = np.zeros((2, 10, 11, 1), np.float32)
    x[:, :3, :3] = 1
    found = occlusion_map(corner, x, patch=3, stride=stride)
    assert found.shape == (2, 10, 11)
    assert found[:, 1, 1].min() > 0.3
    assert found.max() <= 1  # the mean over the patches, so never more than the output can fall
    assert np.abs(found[:, 6:, 6:]).max() == 0


def test_occlusion_of_a_signal_points_at_the_moment() -> None:
    x = np.random.default_rng(0).normal(0, 0.01, (3, 40, 2))
    x[:, 25:28, 1] += 1
    found = occlusion_map(lambda s: s[:, :, 1].max(axis=1, keepdims=True), x, patch=4)
    assert found.shape == (3, 40)
    assert np.all((found.argmax(axis=1) >= 22) & (found.argmax(axis=1) <= 31))


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 4, 1)])
def test_occlusion_refuses_tables_and_patches_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"needs images|doesn't fit"):
        occlusion_map(corner, np.zeros(shape), patch=5)


def test_the_column_that_matters_comes_first_and_noise_last() -> None:
    x, y = load_wine(return_X_y=True)
    x = np.column_stack([x[:, [0, 6, 9]], np.random.default_rng(0).normal(size=len(x))])
    model = RandomForestClassifier(n_estimators=30, random_state=0).fit(x[::2], y[::2])
    found = permutation_importance(
        model.predict_proba,
        x[1::2],
        y[1::2],
        metric=find_metric("accuracy"),
        seed=0,
        feature_names=("alcohol", "flavanoids", "color", "noise"),
    )
    assert found[0].name in {"flavanoids", "color"}
    assert found[-1].name == "noise"
    assert abs(found[-1].mean) < 0.05 < 0.1 < found[0].mean


def test_permutation_refuses_images() -> None:
    with pytest.raises(DataError, match="use occlusion_map"):
        permutation_importance(corner, np.zeros((2, 4, 4, 1)), np.array([0, 1]), metric=find_metric("accuracy"), seed=0)


def test_occlusion_reaches_the_last_pixel_whatever_the_stride() -> None:
    x = np.zeros((1, 10, 11, 1), np.float32)
    x[:, -1, -1] = 1
    found = occlusion_map(lambda s: s[:, -1, -1], x, patch=3, stride=5)
    assert found[0, -1, -1] > 0.5
