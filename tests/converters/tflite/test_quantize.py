"""Quantizing does what was asked for, and what can't be done is an error with its cause."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeloop.errors import ConfigError, DataError, ModelError
from edgeloop_converters.tflite import (
    QuantizationWanted,
    Scheme,
    check,
    describe,
    diagnose,
    equalize,
    parse,
    quantize,
    repair,
    restore_float,
    run,
    serialize,
)
from edgeloop_converters.tflite.calibrate import activation_ranges, least_error_range
from tflite_samples import Converted, Published, features, images, spectra

STATIC = QuantizationWanted(Scheme.STATIC_INT8)


@pytest.mark.tf
@pytest.mark.parametrize("scheme", [s for s in Scheme if s is not Scheme.FLOAT])
def test_every_scheme_makes_a_smaller_model_that_answers_alike(converted: Converted, scheme: Scheme) -> None:
    made = quantize(converted.real, QuantizationWanted(scheme), images(40, 1)).model
    facts = describe(made)
    x = images(40, 2)
    real, answer = run(converted.real, x)[0], run(made, x)[0]
    assert facts.weight_bytes[scheme.weights] > 1000
    assert len(made) < 0.9 * len(converted.real)
    limit = 0.35 if scheme.weights == "int4" else 0.03
    assert np.abs(real - answer).mean() < limit * np.abs(real - real.mean(axis=0)).mean() + 0.002
    if scheme.activations:
        assert facts.tensors[facts.inputs[0]].dtype == facts.tensors[facts.outputs[0]].dtype == scheme.activations


@pytest.mark.tf
def test_as_good_as_tensorflows_own_converter(converted: Converted) -> None:
    ours = quantize(converted.real, STATIC, images(40, 1)).model
    x = images(60, 2)
    real = run(converted.real, x)[0]
    errors = [np.abs(run(m, x)[0] - real).mean() for m in (ours, converted.int8)]
    assert errors[0] < 1.1 * errors[1]


@pytest.mark.tf
def test_named_layers_stay_float(converted: Converted) -> None:
    first = describe(converted.real).ops[0]
    name = describe(converted.real).name(first.outputs[0])
    pattern = name.rsplit("/", 1)[0].replace("(", r"\(")
    made = quantize(converted.real, QuantizationWanted(Scheme.STATIC_INT8, ((pattern, Scheme.FLOAT),)), images(10, 0))
    facts = describe(made.model)
    kept = next(op for op in facts.ops if op.name == "CONV_2D")
    assert facts.tensors[kept.inputs[1]].dtype == "float32"
    assert facts.weight_bytes["int8"] > facts.weight_bytes["float32"]


@pytest.mark.tf
def test_override_that_matches_nothing_is_an_error(converted: Converted) -> None:
    with pytest.raises(ConfigError, match="matches no layer"):
        quantize(converted.real, QuantizationWanted(Scheme.DYNAMIC_INT8, (("no_such_layer", Scheme.FLOAT),)))


def test_override_that_is_no_expression_is_an_error() -> None:
    with pytest.raises(ConfigError, match="regular expression"):
        QuantizationWanted(Scheme.FLOAT16, (("(", Scheme.FLOAT),))


def test_old_float_file_is_mended_and_quantized(published: Published) -> None:
    made = quantize(published.ad_float, QuantizationWanted(Scheme.DYNAMIC_INT8))
    assert len(made.model) < 0.3 * len(published.ad_float)
    assert any("builtin_code" in line for line in made.changes)


def test_unmended_codes_are_named_as_the_cause(published: Published) -> None:
    """What a user sees who brings the output of a quantizer that didn't look at the deprecated field."""
    (finding,) = check(QuantizationWanted(Scheme.DYNAMIC_INT8), describe(published.ad_float))
    assert (finding.code, finding.severity) == ("nothing_quantized", "error")
    assert "deprecated field" in finding.cause
    assert "repair()" in finding.remedy
    assert len(finding.where) == 10


def test_full_integer_is_refused_for_a_hybrid_model(published: Published) -> None:
    codes = {f.code for f in check(STATIC, describe(repair(published.kws_hybrid).model))}
    assert {"float_interface", "float_tensors", "weights_dtype"} <= codes
    assert check(STATIC, describe(published.kws_int8)) == ()


def test_hybrid_model_is_quantized_smaller_and_better_than_published(published: Published, kws_real: bytes) -> None:
    """`kws_float32.tflite` holds int8 weights; the float model that they stand for is the measure of both."""
    made = quantize(published.kws_hybrid, STATIC, features(150, 1), ranges="least_error")
    x = features(100, 2)
    real = run(kws_real, x)[0]
    errors = [np.abs(run(m, x)[0] - real).mean() for m in (made.model, published.kws_int8)]
    assert any("back into float32" in line for line in made.changes)
    assert len(made.model) <= len(published.kws_int8)
    assert errors[0] <= errors[1]


def test_autoencoder_is_quantized_smaller_and_better_than_published(published: Published) -> None:
    wanted = QuantizationWanted(Scheme.STATIC_INT8, dense_scales="tensor")
    real_model = repair(published.ad_float).model
    made = quantize(equalize(real_model).model, wanted, spectra(150, 1)).model
    x = spectra(100, 2)
    real = run(real_model, x)[0]
    errors = [np.abs(run(m, x)[0] - real).mean() for m in (made, published.ad_int8)]
    assert len(made) <= len(published.ad_int8)
    assert errors[0] <= errors[1]


def test_scale_for_each_channel_is_more_exact_and_larger(published: Published) -> None:
    x = spectra(60, 2)
    real = run(published.ad_float, x)[0]
    made = {
        scales: quantize(published.ad_float, QuantizationWanted(Scheme.STATIC_INT8, dense_scales=scales), x).model
        for scales in ("channel", "tensor")
    }
    errors = {scales: np.abs(run(model, x)[0] - real).mean() for scales, model in made.items()}
    assert errors["channel"] < 0.7 * errors["tensor"]
    assert len(made["channel"]) > len(made["tensor"])


def test_restored_weights_are_exactly_those_of_the_hybrid(published: Published) -> None:
    hybrid, restored = parse(published.kws_hybrid), parse(restore_float(published.kws_hybrid).model)
    before, after = hybrid.subgraphs[0].tensors[18], restored.subgraphs[0].tensors[18]
    stored = np.frombuffer(hybrid.buffers[before.buffer].data.tobytes(), np.int8)
    real = np.frombuffer(restored.buffers[after.buffer].data.tobytes(), np.float32)
    assert np.array_equal(real, stored.astype(np.float32) * before.quantization.scale[0])


def test_quantized_activations_are_refused(published: Published) -> None:
    with pytest.raises(ModelError, match="quantized already"):
        quantize(published.ad_int8, STATIC, spectra(5, 0))


def pairs_of_inputs(samples: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(samples, n)).astype(np.float32) for name, n in (("left", 6), ("right", 4))}


@pytest.mark.tf
def test_operator_without_integer_kernel_is_named(converted: Converted) -> None:
    with pytest.raises(ModelError, match=r"float.*override") as caught:
        quantize(converted.exotic, STATIC, pairs_of_inputs(20, 0))
    assert "CUMSUM" in str(caught.value) or "cumsum" in str(caught.value).lower()


@pytest.mark.tf
def test_that_operator_may_stay_float_on_request(converted: Converted) -> None:
    wanted = QuantizationWanted(Scheme.STATIC_INT8, (("(?i)cumsum", Scheme.FLOAT),))
    made = quantize(converted.exotic, wanted, pairs_of_inputs(50, 0)).model
    x = pairs_of_inputs(20, 1)
    real, answer = run(converted.exotic, x)[0], run(made, x)[0]
    assert np.abs(real - answer).mean() < 0.1 * real.std()
    found = diagnose(converted.exotic, made, x)
    assert found.unmatched == ()


@pytest.mark.tf
def test_small_layers_that_tensorflow_leaves_float_are_told(converted: Converted) -> None:
    (finding,) = check(QuantizationWanted(Scheme.DYNAMIC_INT8), describe(converted.dynamic))
    assert (finding.code, finding.severity) == ("small_layers_float", "info")
    assert len(finding.where) > 3


@pytest.mark.tf
def test_loops_are_quantized_in_their_weights_only(converted: Converted) -> None:
    x = np.random.default_rng(0).normal(size=(5, 8, 3)).astype(np.float32)
    with pytest.raises(ModelError, match="unroll"):
        quantize(converted.lstm, STATIC, x)
    made = quantize(converted.lstm, QuantizationWanted(Scheme.DYNAMIC_INT8)).model
    assert np.abs(run(made, x)[0] - run(converted.lstm, x)[0]).max() < 0.05


def test_static_scheme_needs_data(published: Published) -> None:
    with pytest.raises(ConfigError, match="calibration data"):
        quantize(published.ad_float, STATIC)


def test_data_of_the_wrong_shape_is_an_error(published: Published) -> None:
    with pytest.raises(DataError, match=r"\('n', 640\)"):
        quantize(published.ad_float, STATIC, np.zeros((4, 320), np.float32))


def test_data_with_nan_is_an_error(published: Published) -> None:
    x = spectra(4, 0)
    x[2, 7] = np.nan
    with pytest.raises(DataError, match="NaN"):
        quantize(published.ad_float, STATIC, x)


def test_ranges_do_not_depend_on_the_order_of_samples(published: Published) -> None:
    model = repair(published.ad_float).model
    x = spectra(20, 3)
    assert activation_ranges(model, x) == activation_ranges(model, x[::-1])
    assert activation_ranges(model, x)["input_1"]["max"].item() == x.max()


def test_least_error_range_cuts_a_long_tail_and_keeps_a_short_one() -> None:
    rng = np.random.default_rng(0)
    for values, shrinks in ((rng.laplace(size=200_000), True), (rng.uniform(-1, 1, 200_000), False)):
        counts, edges = np.histogram(values, 2048)
        low, high = least_error_range(counts, edges[0], edges[-1])
        step = (high - low) / 255
        errors = [
            np.square(np.clip(np.rint(values / s) * s, bottom, top) - values).mean()
            for s, bottom, top in ((step, low, high), ((edges[-1] - edges[0]) / 255, edges[0], edges[-1]))
        ]
        assert bool(high < 0.95 * edges[-1]) is shrinks
        assert errors[0] <= errors[1] * 1.001


def test_equalized_model_computes_the_same(published: Published, kws_real: bytes) -> None:
    for model, x in ((published.ad_float, spectra(20, 1)), (kws_real, features(20, 1))):
        even = equalize(model)
        assert even.changes
        before, after = run(model, x)[0], run(even.model, x)[0]
        assert np.abs(before - after).max() < 1e-4 * max(1.0, np.abs(before).max())
        assert len(even.model) <= len(serialize(parse(model)))
