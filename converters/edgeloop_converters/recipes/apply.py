"""Applying a recipe: from a model and data to the bytes of a `.tflite` file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, DataError, ModelError
from edgeloop_converters.compile import compile_keras
from edgeloop_converters.recipes.augment import augmentation
from edgeloop_converters.recipes.recipe import Recipe
from edgeloop_converters.recipes.steps import AnyStep, Cluster, Compile, CompileScheme, Distil, Sparsify
from edgeloop_converters.tflite import (
    QuantizationWanted,
    Scheme,
    compensate,
    equalize,
    quantize,
    repair,
    restore_float,
    tidy,
)

__all__ = ["Applied", "RecipeData", "apply_recipe", "compile_tflite", "wanted_of"]

Values = NDArray[Any] | Mapping[str, NDArray[Any]]

SCHEMES: dict[CompileScheme, Scheme] = {
    "float32": Scheme.FLOAT,
    "float16": Scheme.FLOAT16,
    "dynamic_int8": Scheme.DYNAMIC_INT8,
    "dynamic_int4": Scheme.DYNAMIC_INT4,
    "weight_only_int8": Scheme.WEIGHT_ONLY_INT8,
    "weight_only_int4": Scheme.WEIGHT_ONLY_INT4,
    "int8": Scheme.STATIC_INT8,
    "int16x8": Scheme.STATIC_INT16X8,
}


@dataclass(frozen=True)
class RecipeData:
    """The data that steps learn from; inputs as the model takes them, after preprocessing.

    Args:
        calibration: (n, …) float32, or such arrays by input name.
        x: training inputs, likewise.
        y: (n,) class indices or (n, …) values; None where there are none.
    """

    calibration: Values
    x: Values
    y: NDArray[Any] | None = None


@dataclass(frozen=True)
class Applied:
    """What a recipe made.

    Args:
        model: the `.tflite` file.
        notes: what each step did, one line each.
        float_model: the same model as a float `.tflite` file, before quantization; None where that is the original's.
    """

    model: bytes
    notes: tuple[str, ...]
    float_model: bytes | None = None


def apply_recipe(recipe: Recipe, model: Any, data: RecipeData, *, seed: int) -> Applied:
    """Run every step.

    The same recipe, model, data and seed give the same bytes on one machine, if the process has switched on
    TensorFlow's determinism before it trains anything (a trial's process does).

    Args:
        recipe: what to do.
        model: a built `keras.Model`, or the bytes of a `.tflite` file, to which only compile steps apply.
        data: what the steps learn from.
        seed: of everything random.

    Raises:
        ConfigError: the recipe doesn't suit this kind of model, or an option is out of its range.
        DataError: the data doesn't fit the model, or labels are needed and missing.
        ModelError: a step can't do its work on this model.
    """
    if recipe.needs_labels and data.y is None:
        raise DataError(f"recipe {recipe.name!r} learns from labels, and the training data has none")
    if isinstance(model, bytes):
        return compile_tflite(recipe, model, data)
    notes: list[str] = []
    current = model
    for step in recipe.passes:
        passed = run_pass(step, current, model, data, recipe, seed)
        current = passed.model
        notes.append(f"{step.__struct_config__.tag}: {summary_of(passed.report)}")
    if recipe.compile.scheme == "as_is":
        raise ConfigError(f"recipe {recipe.name!r} packages a .tflite file, and this is a Keras model: use float32")
    scheme, on_litert = recipe.compile.scheme, recipe.compile.tool == "litert-quantizer"
    plain = tidy(compile_keras(current, "float32")) if recipe.passes or on_litert or scheme == "float32" else None
    if scheme == "float32" and plain is not None:
        return Applied(plain, tuple(notes), plain)
    if plain is not None and on_litert:
        made = compile_litert(plain, recipe.compile, data)
        before = made.float_model or (plain if recipe.passes else None)
        return Applied(made.model, (*notes, *made.notes), before)
    values = in_order(current, data.calibration) if scheme in ("int8", "int16x8") else None
    compiled = compile_keras(current, scheme, values)  # type: ignore[arg-type]  # checked by Recipe
    return Applied(tidy(compiled), tuple(notes), plain)


def compile_tflite(recipe: Recipe, model: bytes, data: RecipeData) -> Applied:
    """Apply a recipe of a compile step alone to a `.tflite` file."""
    if recipe.passes:
        kind = recipe.passes[0].__struct_config__.tag
        raise ConfigError(
            f"recipe {recipe.name!r}: {kind} takes a Keras model, and this is a .tflite file: compile only"
        )
    if recipe.compile.scheme == "as_is":
        return Applied(model, ("packaged as it is",))
    if recipe.compile.scheme == "float32":
        mended = repair(model)
        return Applied(mended.model, mended.changes)
    if recipe.compile.tool == "tensorflow":
        raise ConfigError(
            f"recipe {recipe.name!r}: TensorFlow's converter takes a Keras model, and this is a .tflite file: "
            "use tool 'litert-quantizer' (recipe int8-litert)"
        )
    return compile_litert(model, recipe.compile, data)


def compile_litert(model: bytes, step: Compile, data: RecipeData) -> Applied:
    """Quantize a float `.tflite` file."""
    notes: tuple[str, ...] = ()
    balanced = equalize(repair(model).model) if step.equalize else None
    if balanced is not None:
        model, notes = balanced.model, balanced.changes
    plain = model
    calibration = dict(data.calibration) if isinstance(data.calibration, Mapping) else data.calibration
    if step.rounding == "compensated":
        restored = restore_float(repair(model).model)
        rounded = compensate(restored.model, calibration, dense_scales=step.dense_scales)
        model, notes = rounded.model, notes + restored.changes + rounded.changes
    made = quantize(model, wanted_of(step), calibration, ranges=step.ranges)
    return Applied(tidy(made.model), notes + made.changes, plain if balanced is not None else None)


def wanted_of(step: Compile) -> QuantizationWanted:
    """What a compile step asks of the file, as `tflite.check` takes it. `as_is` asks for nothing: float."""
    overrides = tuple((pattern, SCHEMES[scheme]) for pattern, scheme in step.overrides.items())
    return QuantizationWanted(SCHEMES.get(step.scheme, Scheme.FLOAT), overrides, step.dense_scales)


def run_pass(step: AnyStep, model: Any, teacher: Any, data: RecipeData, recipe: Recipe, seed: int) -> Any:
    """Run one step before compilation; gives `Passed`."""
    from edgeloop_converters import passes

    kind = str(step.__struct_config__.tag)
    options: dict[str, Any] = {name: getattr(step, name) for name in step.__struct_fields__}
    if "augment" in options:
        options["augment"] = augmentation(options["augment"])
    if step.stage == 0 or kind == "quantization_aware":
        options |= {"seed": seed, "keep": kept_by(step, recipe)}
    if isinstance(step, Distil):
        return passes.distil(model, teacher, data.x, y=data.y if step.label_weight else None, **options)
    simple: dict[str, Callable[..., Any]] = {
        "prune": passes.prune_channels,
        "factorize": passes.factorize,
        "sparsify": passes.sparsify,
        "cluster": passes.cluster_weights,
        "fold": passes.fold_batch_norm,
        "equalize": passes.equalize,
    }
    if kind in simple:
        return simple[kind](model, **options)
    if kind == "correct_bias":
        return passes.correct_bias(model, data.calibration, **options)
    assert data.y is not None  # noqa: S101  # `apply_recipe` has seen to it
    return {"fine_tune": passes.fine_tune, "quantization_aware": passes.quantization_aware}[kind](
        model, data.x, data.y, **options
    )


def kept_by(step: AnyStep, recipe: Recipe) -> tuple[str, ...]:
    """What a training step must keep of the weights, since an earlier step made it."""
    before = recipe.steps[: recipe.steps.index(step)]
    zeros = ("zeros",) if any(isinstance(s, Sparsify) for s in before) else ()
    return (*zeros, "clusters") if any(isinstance(s, Cluster) for s in before) else zeros


def in_order(model: Any, values: Values) -> list[NDArray[np.float32]]:
    """The arrays in the order of the model's inputs."""
    if not isinstance(values, Mapping):
        return [np.asarray(values, np.float32)]
    missing = [tensor.name for tensor in model.inputs if tensor.name not in values]
    if missing:
        raise ModelError(f"the model's input {missing[0]!r} has no data; the data has {', '.join(values)}")
    return [np.asarray(values[tensor.name], np.float32) for tensor in model.inputs]


def summary_of(report: Any) -> str:
    """A pass's report in one line: its numbers, and the lengths of its lists."""
    parts = []
    for name, value in msgspec.to_builtins(report).items():
        if isinstance(value, list | tuple):
            last = f", the last {value[-1]:.4g}" if value and isinstance(value[-1], float) else ""
            parts.append(f"{len(value)} {name}{last}")
        else:
            parts.append(f"{name} {value:g}" if isinstance(value, int | float) else f"{name} {value}")
    return ", ".join(parts)
