"""Fine-tuning and distillation."""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import ConfigError, DataError, ModelError
from edgeloop_converters.passes import cluster_weights, distil, fine_tune, prune_channels, sparsify

pytestmark = pytest.mark.tf


@pytest.fixture
def trained(digit_network, digits):
    return fine_tune(digit_network, *digits, epochs=12, learning_rate=1e-2, seed=0).model


def kernels(model):
    return [np.asarray(weight) for weight in model.weights if weight.name.endswith("kernel")]


def test_fine_tuning_lowers_the_loss_and_leaves_the_original(digit_network, digits):
    before = digit_network.get_weights()

    tuned = fine_tune(digit_network, *digits, epochs=6, learning_rate=1e-2, seed=0)

    assert tuned.report.losses[-1] < 0.5 * tuned.report.losses[0]
    assert tuned.report.steps == 6 * 4
    for now, then in zip(digit_network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(digit_network, digits):
    first, again, other = (
        fine_tune(digit_network, *digits, epochs=1, seed=seed).model.get_weights() for seed in (1, 1, 2)
    )

    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_zeros_and_clusters_survive_fine_tuning(trained, digits):
    compressed = cluster_weights(sparsify(trained, sparsity=0.6).model, clusters=8).model

    kept = fine_tune(compressed, *digits, epochs=2, seed=0, keep=("zeros", "clusters")).model
    free = fine_tune(compressed, *digits, epochs=2, seed=0).model

    for before, after, loose in zip(kernels(compressed), kernels(kept), kernels(free), strict=True):
        np.testing.assert_array_equal(after == 0, before == 0)
        assert len(np.unique(after)) <= 8 < len(np.unique(loose))
        assert not np.array_equal(after, before)


def test_distillation_lowers_the_divergence_without_labels(trained, digits):
    x, y = digits
    student = prune_channels(trained, ratio=0.5).model

    def divergence(model):
        lesson, answer = trained.predict(x, verbose=0) + 1e-7, model.predict(x, verbose=0) + 1e-7
        return float(np.mean(np.sum(lesson * np.log(lesson / answer), axis=1)))

    taught = distil(student, trained, x, epochs=20, learning_rate=1e-2, seed=0)

    assert divergence(taught.model) < 0.3 * divergence(student)
    assert (taught.model.predict(x, verbose=0).argmax(1) == y).mean() > 0.9


def test_labels_may_be_mixed_in(trained, digits):
    x, y = digits
    student = prune_channels(trained, ratio=0.5).model
    wrong = (y + 1) % 10

    swayed = distil(student, trained, x, y=wrong, label_weight=0.99, epochs=20, learning_rate=1e-2, seed=0).model

    assert (swayed.predict(x, verbose=0).argmax(1) == wrong).mean() > 0.5


def test_several_inputs_and_outputs_are_distilled_by_name(rng):
    import keras

    def build(units, seed):
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        left, right = layers.Input((4,), name="left"), layers.Input((3,), name="right")
        x = layers.Dense(units, activation="relu")(layers.Concatenate()([left, right]))
        outputs = {
            "kind": layers.Dense(3, activation="softmax", name="kind")(x),
            "size": layers.Dense(1, name="size")(x),
        }
        return keras.Model({"left": left, "right": right}, outputs)

    teacher, student = build(16, 0), build(4, 1)
    x = {"right": rng.normal(size=(128, 3)), "left": rng.normal(size=(128, 4))}

    taught = distil(student, teacher, x, epochs=20, learning_rate=1e-2, seed=0)

    assert taught.report.losses[-1] < 0.5 * taught.report.losses[0]
    assert set(taught.model.output_names) == {"kind", "size"}


def test_augmentation_sees_every_batch_and_the_same_random_numbers(digit_network, digits):
    seen = []

    def augment(batch, rng):
        seen.append((batch.shape, rng.random()))
        return batch[:, :, ::-1]

    for _ in range(2):
        fine_tune(digit_network, *digits, epochs=1, batch_size=100, seed=0, augment=augment)

    assert [shape for shape, _ in seen] == [(100, 8, 8, 1)] * 4
    assert seen[:2] == seen[2:]


def test_bad_data_is_refused(digit_network, digits):
    x, y = digits
    broken = x.copy()
    broken[5, 0, 0, 0] = np.nan
    cases = [
        (broken, y, "NaN or infinity in 1 rows, first 5"),
        (x[:, :7], y, "'image' has shape"),
        (x, y[:10], "10 targets for 200 inputs"),
        (x, y + 5, "has 10 classes, its targets go from 5 to 14"),
        (x, y.astype("float32"), "give class numbers or that shape"),
        (x[:0], y[:0], "is empty"),
        ([x, x], y, "'image' has shape"),
        ({"picture": x}, y, r"\['image'\] are missing, \['picture'\] unknown"),
        (x.astype(str), y, "must be numeric"),
    ]
    for data, targets, message in cases:
        with pytest.raises(DataError, match=message):
            fine_tune(digit_network, data, targets, epochs=1)


def test_bad_options_are_refused(digit_network, digits):
    cases = [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 1, "learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"epochs": 1, "batch_size": 0}, "batch_size is 0"),
        ({"epochs": 1, "seed": -1}, "seed is -1"),
        ({"epochs": 1, "keep": ("ones",)}, "keep is"),
        ({"epochs": 1, "keep": "zeros"}, "keep is"),
    ]
    for options, message in cases:
        with pytest.raises(ConfigError, match=message):
            fine_tune(digit_network, *digits, **options)
    for options in ({"temperature": 0.5}, {"label_weight": 0.5}, {"y": digits[1]}):
        with pytest.raises(ConfigError):
            distil(digit_network, digit_network, digits[0], epochs=1, **options)


def test_models_that_do_not_fit_or_diverge_are_refused(digit_network, mixed_network, digits):
    with pytest.raises(ModelError, match="the student's inputs have shapes"):
        distil(mixed_network, digit_network, digits[0], epochs=1)
    with pytest.raises(ModelError, match="lower learning_rate"):
        fine_tune(digit_network, *digits, epochs=3, learning_rate=1e30)
