"""Batches: as single runs, or one by one where a model can't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeloop.backends import open_backend
from edgeloop.batching import Batcher
from small_graphs import WIDTH, fixed_reshape, plus_mean_over_batch, sum_and_product


@pytest.mark.parametrize("name", ["kws_int8", "ad01_int8"])
@pytest.mark.parametrize("kernels", ["default", "reference"])
def test_a_published_integer_model_gives_the_same_bits_in_a_batch(shared_dir: Path, name: str, kernels: str) -> None:
    backend = open_backend((shared_dir / "models" / f"{name}.tflite").read_bytes(), kernels=kernels)
    batcher = Batcher(backend)
    x = np.random.default_rng(0).integers(-128, 128, (70, *backend.inputs[0].shape[1:]), dtype=np.int8)
    (together,) = batcher([x])
    assert batcher.is_batched
    assert np.array_equal(together, np.concatenate([backend.invoke([row[None]])[0] for row in x]))


def test_several_inputs_and_outputs_are_batched_together() -> None:
    batcher = Batcher(open_backend(sum_and_product()))
    a, b = np.random.default_rng(0).normal(size=(2, 40, WIDTH)).astype(np.float32)
    total, product = batcher([a, b])
    assert batcher.is_batched
    assert np.array_equal(total, a + b)
    assert np.array_equal(product, a * b)


@pytest.mark.parametrize("model", [plus_mean_over_batch(), fixed_reshape()])
def test_a_model_that_a_batch_would_change_runs_one_by_one(model: bytes) -> None:
    batcher = Batcher(open_backend(model))
    x = np.random.default_rng(0).normal(size=(40, WIDTH)).astype(np.float32)
    assert np.array_equal(batcher([x])[0], x + x)
    assert not batcher.is_batched


def test_few_samples_are_not_worth_a_batch() -> None:
    batcher = Batcher(open_backend(sum_and_product()))
    assert batcher([np.ones((3, WIDTH), np.float32)] * 2)[0].tolist() == [[2.0] * WIDTH] * 3
    assert not batcher.is_batched
