"""Quantizing a float `.tflite` file with `litert-quantizer`, and checking that it was done."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from typing import Any

from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.tflite.calibrate import Ranges, activation_ranges
from edgeloop_converters.tflite.check import WEIGHTED, Finding, check, layer_name
from edgeloop_converters.tflite.delegation import delegation
from edgeloop_converters.tflite.facts import ModelFacts, describe
from edgeloop_converters.tflite.flatbuffer import parse, serialize
from edgeloop_converters.tflite.interpreter import Inputs
from edgeloop_converters.tflite.repair import repair
from edgeloop_converters.tflite.restore import restore_float
from edgeloop_converters.tflite.scheme import QuantizationWanted, Scheme

__all__ = ["Quantized", "quantize"]

LOOPS = frozenset({"WHILE", "IF"})


@dataclass(frozen=True)
class Quantized:
    """A quantized model.

    Attributes:
        model: the `.tflite` file.
        changes: what had to be mended in the float model first.
        findings: what `check` says of the result; no errors among them.
    """

    model: bytes
    changes: tuple[str, ...]
    findings: tuple[Finding, ...]


def quantize(
    model: bytes, wanted: QuantizationWanted, calibration: Inputs | None = None, *, ranges: Ranges = "min_max"
) -> Quantized:
    """Quantize a float model.

    Args:
        model: a float `.tflite` file, of any age; int8 weights of a dynamic-range file are turned back first.
        wanted: the scheme, and others for layers that a pattern matches: `Scheme.FLOAT` keeps them as they
            are. An input that only such layers read, and an output that one writes, goes with them.
        calibration: samples `(n, *input_shape[1:])`, float32, real-valued; for static schemes. A few hundred
            that look like what the device will see.
        ranges: how the ranges of activations are chosen from them; see `activation_ranges`.

    Raises:
        ConfigError: a static scheme without calibration data, or a pattern that matches no layer.
        DataError: the calibration data doesn't fit the model.
        ModelError: the model is damaged, is quantized in its activations already, or can't be quantized so;
            the message says why.
    """
    mended = repair(model)
    restored = restore_float(mended.model)
    facts = describe(restored.model)
    check_overrides(facts, wanted)
    recipe = recipe_for(with_inputs(facts, wanted))
    measured = None
    if recipe.need_calibration():
        if calibration is None:
            raise ConfigError(f"{wanted.scheme.value} fixes the ranges of activations, which takes calibration data")
        loops = LOOPS & set(facts.op_counts)
        if loops:
            raise ModelError(
                f"{wanted.scheme.value} can't see the activations inside {', '.join(sorted(loops))}: "
                "unroll the recurrent layer (keras: unroll=True), or use a dynamic scheme"
            )
        measured = activation_ranges(restored.model, calibration, ranges=ranges)
    made = run_quantizer(restored.model, recipe, measured)
    findings = check(wanted, describe(made), delegation(made))
    wrong = [f for f in findings if f.severity == "error"]
    if wrong:
        raise ModelError("; ".join(f"{f.message} ({f.cause}); {f.remedy}: {', '.join(f.where[:3])}" for f in wrong))
    return Quantized(made, mended.changes + restored.changes, findings)


def check_overrides(facts: ModelFacts, wanted: QuantizationWanted) -> None:
    """Raise `ConfigError` for a pattern that matches no layer: the quantizer says nothing then."""
    layers = [layer_name(op, facts) for op in facts.ops]
    for pattern, _ in wanted.overrides:
        if not any(re.search(pattern, name) for name in layers):
            weighted = [layer_name(op, facts) for op in facts.ops if op.name in WEIGHTED]
            raise ConfigError(f"the override {pattern!r} matches no layer; the layers are {weighted}")


def with_inputs(facts: ModelFacts, wanted: QuantizationWanted) -> QuantizationWanted:
    """The same with an override for each of the model's inputs whose readers all want another scheme than the rest.

    `litert-quantizer` takes an input for an operator of its own: without a rule it would squeeze into int8 what a
    float layer then reads.
    """
    found = list(wanted.overrides)
    for tensor in facts.inputs:
        schemes = {wanted.of(layer_name(op, facts)) for op in facts.ops if tensor in op.inputs}
        if len(schemes) == 1 and (scheme := schemes.pop()) is not wanted.scheme:
            found.append((re.escape(f"{facts.name(tensor)};"), scheme))
    return replace(wanted, overrides=tuple(found))


def recipe_for(wanted: QuantizationWanted) -> Any:
    """A `RecipeManager` with the rules for the scheme and for each override."""
    from litert_quantizer.qtyping import QuantGranularity, TFLOperationName
    from litert_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    for pattern, scheme in ((".*", wanted.scheme), *wanted.overrides):
        if pattern != ".*" and not scheme.static and scheme is not Scheme.FLOAT:
            # Operators that the scheme has no rule for would keep the one before: integer among float neighbours.
            # The empty group makes it another pattern: of two rules for the same one the first would be lost.
            add_rule(
                manager, f"{pattern}(?:)", TFLOperationName.ALL_SUPPORTED, Scheme.FLOAT, QuantGranularity.CHANNELWISE
            )
        add_rule(manager, pattern, TFLOperationName.ALL_SUPPORTED, scheme, QuantGranularity.CHANNELWISE)
        if wanted.dense_scales == "tensor" and scheme.weights in {"int8", "int4"}:
            add_rule(manager, pattern, TFLOperationName.FULLY_CONNECTED, scheme, QuantGranularity.TENSORWISE)
    return manager


def add_rule(manager: Any, pattern: str, operation: Any, scheme: Scheme, scales: Any) -> None:
    """Add one rule for the operators of a kind whose output's name matches `pattern`."""
    from litert_quantizer.algorithm_manager import AlgorithmName

    bits = 4 if scheme.weights == "int4" else 8
    if scheme is Scheme.FLOAT:
        manager.add_quantization_config(pattern, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    elif scheme is Scheme.FLOAT16:
        manager.add_weight_only_config(pattern, operation, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    elif scheme.static:
        activation_bits = 16 if scheme is Scheme.STATIC_INT16X8 else 8
        manager.add_static_config(pattern, operation, activation_bits, bits, scales)
    elif scheme in {Scheme.DYNAMIC_INT8, Scheme.DYNAMIC_INT4}:
        manager.add_dynamic_config(pattern, operation, bits, scales)
    else:
        manager.add_weight_only_config(pattern, operation, bits, scales)


def run_quantizer(model: bytes, recipe: Any, measured: dict[str, Any] | None) -> bytes:
    """Run `litert-quantizer`, and give back its model with the weights aligned."""
    from litert_quantizer import Quantizer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its own use of LiteRT's debugging options
            quantizer = Quantizer(model, recipe.get_quantization_recipe())
            result = quantizer.quantize(measured, enable_progress_bar=False, enable_progress_report=False)
        made = bytes(result.quantized_model)
    except (ValueError, RuntimeError, LookupError, TypeError, AttributeError, NotImplementedError) as error:
        raise ModelError(f"litert-quantizer can't quantize this model: {type(error).__name__}: {error}") from error
    return serialize(parse(made))
