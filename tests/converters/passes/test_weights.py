"""Sparsity, clustering and factorization."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.passes import cluster_weights, factorize, sparsify
from edgeloop_converters.passes.cluster import k_means


@settings(deadline=None)
@given(
    values=arrays(np.float64, st.integers(1, 200), elements=st.floats(-10, 10, width=32)),
    clusters=st.integers(1, 20),
)
def test_k_means_gives_each_value_its_nearest_centre(values, clusters):
    centres, labels = k_means(values, clusters)

    assert 1 <= len(centres) <= clusters
    distances = np.abs(values[:, None] - centres[None, :])
    np.testing.assert_allclose(distances[np.arange(len(values)), labels], distances.min(axis=1), atol=1e-9)


@settings(deadline=None)
@given(values=arrays(np.float64, st.integers(1, 50), elements=st.integers(-3, 3)))
def test_k_means_with_a_centre_for_each_value_is_exact(values):
    centres, labels = k_means(values, 7)

    np.testing.assert_allclose(centres[labels], values, atol=1e-12)


@pytest.mark.tf
def test_sparsity_is_reached_in_each_layer(mixed_network):
    report = sparsify(mixed_network, sparsity=0.5).report

    assert report.sparsity == pytest.approx(0.5, abs=0.01)
    assert all(layer.zeros == pytest.approx(layer.weights / 2, abs=2) for layer in report.layers)


@pytest.mark.tf
def test_sparsity_over_the_model_takes_the_smallest_weights_of_all(mixed_network):
    layer = mixed_network.get_layer("hidden")
    layer.kernel.assign(np.asarray(layer.kernel) * 1e-3)

    report = sparsify(mixed_network, sparsity=0.6, scope="model").report

    zeros = {found.layer: found.zeros / found.weights for found in report.layers}
    assert report.sparsity == pytest.approx(0.6, abs=0.001)
    assert zeros["hidden"] > 0.9 > zeros["stem"]


@pytest.mark.tf
def test_kernels_share_at_most_so_many_values_and_zeros_stay(mixed_network):
    sparse = sparsify(mixed_network, sparsity=0.5).model
    clustered = cluster_weights(sparse, clusters=8)

    for layer in clustered.report.layers:
        assert layer.clusters <= 8
    before, after = (np.asarray(m.get_layer("hidden").kernel) for m in (sparse, clustered.model))
    assert len(np.unique(after)) <= 8
    np.testing.assert_array_equal(after == 0, before == 0)


@pytest.mark.tf
def test_more_clusters_lose_less(mixed_network):
    errors = [
        max(layer.error for layer in cluster_weights(mixed_network, clusters=count).report.layers)
        for count in (2, 8, 64)
    ]

    assert errors == sorted(errors, reverse=True)


@pytest.mark.tf
def test_layers_of_low_rank_are_split_without_changing_the_output(rng):
    import keras

    layers = keras.layers
    x = layers.Input((6, 6, 8))
    y = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="convolution")(x)
    y = layers.Conv2D(12, 1, name="pointwise")(y)
    model = keras.Model(x, layers.Dense(20, name="answer")(layers.Flatten()(y)))
    for name in ("convolution", "answer"):
        layer = model.get_layer(name)
        shape = layer.kernel.shape
        kernel = rng.normal(size=(int(np.prod(shape[:-1])), 2)) @ rng.normal(size=(2, shape[-1]))
        layer.set_weights([kernel.reshape(shape) * 0.1, rng.normal(size=shape[-1])])

    split = factorize(model, energy=0.999999)

    assert {layer.layer: layer.rank for layer in split.report.layers} == {"convolution": 2, "answer": 2}
    assert split.model.count_params() < model.count_params() / 2
    assert split.model.output_names == ["answer"]
    data = rng.normal(size=(4, 6, 6, 8)).astype("float32")
    np.testing.assert_allclose(split.model.predict(data, verbose=0), model.predict(data, verbose=0), atol=1e-4)


@pytest.mark.tf
def test_a_rank_that_saves_nothing_splits_nothing(mixed_network):
    assert factorize(mixed_network, energy=1.0).report.layers == ()
    small = factorize(mixed_network, rank=2)
    assert small.model.count_params() < mixed_network.count_params()


@pytest.mark.tf
def test_bad_options_are_refused(mixed_network):
    with pytest.raises(ConfigError, match=r"sparsity of layer 'stem' is 1\.5"):
        sparsify(mixed_network, sparsity={"stem": 1.5})
    with pytest.raises(ConfigError, match="no kernel: choose among"):
        sparsify(mixed_network, sparsity={"stem_bn": 0.5})
    with pytest.raises(ConfigError, match="scope"):
        sparsify(mixed_network, sparsity={"stem": 0.5}, scope="model")
    with pytest.raises(ConfigError, match="clusters of layer 'stem' is 1"):
        cluster_weights(mixed_network, clusters=1)
    for options in ({}, {"rank": 2, "energy": 0.5}):
        with pytest.raises(ConfigError, match="one of rank and energy"):
            factorize(mixed_network, **options)
    with pytest.raises(ConfigError, match=r"energy is 1\.5"):
        factorize(mixed_network, energy=1.5)


@pytest.mark.tf
def test_a_kernel_with_nan_is_refused_by_name(mixed_network):
    layer = mixed_network.get_layer("hidden")
    layer.kernel.assign(np.full(layer.kernel.shape, np.nan))

    with pytest.raises(ModelError, match="kernel of layer 'hidden' holds NaN"):
        sparsify(mixed_network, sparsity=0.5)
