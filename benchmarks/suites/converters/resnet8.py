"""ResNet8 of MLPerf Tiny, for Keras 3 and for tf_keras alike: imports nothing, so that any environment can read it."""

from __future__ import annotations

from typing import Any

__all__ = ["build"]


def build(keras: Any) -> Any:
    """The untrained network (Banbury et al., "MLPerf Tiny benchmark", 2021) by a module `keras` or `tf_keras`.

    Built first in a process, its layers get the same names from both: by them weights go from one to the other.
    """
    layers = keras.layers

    def conv(x: Any, filters: int, size: int = 3, strides: int = 1, *, norm: bool = True) -> Any:
        options = {"kernel_initializer": "he_normal", "kernel_regularizer": keras.regularizers.L2(2e-4)}
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=not norm, **options)(x)
        return layers.BatchNormalization()(x) if norm else x

    image = layers.Input((32, 32, 3))
    x = layers.ReLU()(conv(image, 16))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = conv(layers.ReLU()(conv(x, filters, strides=strides)), filters)
        short = x if strides == 1 else conv(x, filters, 1, strides, norm=False)
        x = layers.ReLU()(layers.Add()([short, y]))
    answer = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, answer)
