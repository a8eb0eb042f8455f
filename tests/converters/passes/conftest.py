"""Small networks that the tests of the passes share; TensorFlow is imported inside the fixtures only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def mixed_network(rng) -> Any:
    """Residual sum, depthwise multiplier, concatenation, separable, transposed, reshape, flatten, dense."""
    import keras

    layers = keras.layers
    image = layers.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.Add()([x, layers.Conv2D(8, 3, padding="same", name="branch")(x)])
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    y = layers.Conv2D(16, 1, activation="relu", name="pointwise")(y)
    x = layers.Concatenate()([y, x])
    x = layers.SeparableConv2D(8, 3, depth_multiplier=2, name="separable")(x)
    x = layers.Conv2DTranspose(8, 2, name="transposed")(layers.PReLU(shared_axes=[1, 2], name="prelu")(x))
    x = layers.Conv1D(8, 3, name="conv1d")(layers.Reshape((49, 8))(x))
    x = layers.Dense(12, activation="relu", name="hidden")(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(3, name="answer")(x), name="mixed")
    randomize(model, rng)
    return model


@pytest.fixture
def folded_pair_network(rng) -> Any:
    """Convolution, depthwise, convolution, flatten, dense, with batch normalization and ReLU between."""
    import keras

    layers = keras.layers
    image = layers.Input((6, 6, 2), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="first")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="first_bn")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization(scale=False, name="depthwise_bn")(x))
    x = layers.Conv2D(4, 1, name="pointwise")(layers.MaxPooling2D(2)(x))
    x = layers.ReLU()(layers.BatchNormalization(name="pointwise_bn")(x))
    model = keras.Model(image, layers.Dense(3, name="answer")(layers.Flatten()(x)), name="pairs")
    randomize(model, rng)
    return model


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Two hundred real 8 × 8 digits, shape (200, 8, 8, 1), in [0, 1], and their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[:200, :, :, None] / 16).astype("float32"), data.target[:200].astype("int64")


@pytest.fixture
def digit_network() -> Any:
    """A classifier of 8 × 8 digits with batch normalization, untrained, from a fixed seed."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, use_bias=False, name="first"),
            layers.BatchNormalization(momentum=0.8, name="first_bn"),
            layers.ReLU(),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(10, activation="softmax", name="answer"),
        ],
        name="digits",
    )


def randomize(model: Any, rng: np.random.Generator) -> None:
    """Give every weight a random value; moving variances stay positive."""
    for weight in model.weights:
        values = rng.normal(scale=0.4, size=weight.shape)
        weight.assign(np.abs(values) + 0.5 if weight.name == "moving_variance" else values)
