"""Recipes: named lists of steps from a model to an artifact, as TOML and as the manifest stores them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgeloop.errors import ConfigError
from edgeloop.manifest import Recipe as StoredRecipe
from edgeloop_converters.recipes.steps import STEPS, AnyStep, Compile, Factorize, TimeClass

__all__ = ["Recipe", "parse_recipe", "read_recipe"]

FIRST_ROUNDING_STAGE = 3
# What only `litert-quantizer` knows, by the option's value that says "not asked for".
LITERT_ONLY: dict[str, Any] = {
    "ranges": "min_max", "dense_scales": "channel", "equalize": False, "rounding": "nearest", "overrides": {},
}  # fmt: skip
ROUNDED_TO_8_BITS = {"int8", "int16x8", "dynamic_int8", "weight_only_int8"}
LITERT_SCHEMES = {"weight_only_int8", "weight_only_int4", "dynamic_int4"}


class Recipe(msgspec.Struct, frozen=True):
    """A name and its steps; the last one compiles.

    Raises:
        ConfigError: the steps don't stand in a sensible order, or their options contradict each other.
    """

    name: str
    steps: tuple[AnyStep, ...]

    def __post_init__(self) -> None:
        """Check the order and the options."""
        check_order(self.name, self.steps)
        check_compile(self.name, self.compile)
        for step in self.steps:
            if isinstance(step, Factorize) and (step.rank is None) == (step.energy is None):
                raise ConfigError(f"recipe {self.name!r}: factorize takes one of rank and energy")

    @property
    def compile(self) -> Compile:
        """The compile step."""
        last = self.steps[-1]
        assert isinstance(last, Compile)  # noqa: S101  # check_order has seen to it
        return last

    @property
    def passes(self) -> tuple[AnyStep, ...]:
        """The steps before it."""
        return self.steps[:-1]

    @property
    def needs_labels(self) -> bool:
        """Whether a step learns from labels."""
        return any(s.needs_labels or getattr(s, "label_weight", 0) > 0 for s in self.steps)

    @property
    def trains(self) -> bool:
        """Whether a step trains the model: that takes minutes, not seconds."""
        return self.time == "minutes"

    @property
    def time(self) -> TimeClass:
        """What it costs, by its slowest step."""
        return "minutes" if any(s.time == "minutes" for s in self.steps) else "seconds"

    def stored(self, seed: int) -> StoredRecipe:
        """As the manifest stores it: every option is written out, so that a later default changes nothing."""
        return StoredRecipe(self.name, tuple(msgspec.to_builtins(s) for s in self.steps), seed)


def parse_recipe(name: str, steps: Iterable[Mapping[str, Any]]) -> Recipe:
    """A recipe from plain data, such as a manifest's `recipe.steps`.

    Args:
        name: the recipe's.
        steps: one mapping a step, its kind under `step`, then its options.

    Raises:
        ConfigError: an unknown step or option, a value out of range, or an order that makes no sense.
    """
    made = []
    for number, raw in enumerate(steps, 1):
        kind = raw.get("step")
        if kind not in STEPS:
            raise ConfigError(
                f"recipe {name!r}, step {number}: unknown step {kind!r}; the steps are {', '.join(STEPS)}"
            )
        try:
            made.append(msgspec.convert(dict(raw), STEPS[kind]))
        except msgspec.ValidationError as error:
            options = ", ".join(STEPS[kind].__struct_fields__) or "none"
            raise ConfigError(
                f"recipe {name!r}, step {number} ({kind}): {error}; its options are: {options}"
            ) from error
    return Recipe(name, tuple(made))  # type: ignore[arg-type]  # each is one of AnyStep, which mypy can't see


def read_recipe(path: str | os.PathLike[str]) -> Recipe:
    """A recipe from a TOML file: a `name` (the file's own where absent) and one `[[steps]]` table a step.

    Raises:
        OSError: it can't be read.
        ConfigError: it isn't TOML, or no recipe.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    steps = raw.get("steps")
    unknown = sorted(set(raw) - {"name", "steps"})
    if unknown or not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
        raise ConfigError(f"{path}: a recipe has a name and [[steps]] tables, not {', '.join(unknown) or 'this'}")
    return parse_recipe(str(raw.get("name", path.stem)), steps)


def check_order(name: str, steps: tuple[AnyStep, ...]) -> None:
    """Raise `ConfigError` for steps that undo each other, or that don't end in one compile step."""
    where = f"recipe {name!r}"
    if not steps or not isinstance(steps[-1], Compile):
        raise ConfigError(f"{where}: its last step must be compile, which makes the file")
    reached, by = 0, ""
    for step in steps:
        kind = str(step.__struct_config__.tag)
        if reached == Compile.stage:
            raise ConfigError(f"{where}: {kind} stands after compile, where there is no model any more")
        if step.stage == 0 and reached >= FIRST_ROUNDING_STAGE:
            raise ConfigError(f"{where}: {kind} after {by} would undo it: train first")
        if 0 < step.stage < reached:
            raise ConfigError(f"{where}: {kind} after {by} would undo it: put {kind} first")
        if step.stage > reached:
            reached, by = step.stage, kind


def check_compile(name: str, step: Compile) -> None:
    """Raise `ConfigError` where a tool is asked for what it can't do."""
    if step.rounding == "compensated" and step.scheme not in ROUNDED_TO_8_BITS:
        schemes = ", ".join(sorted(ROUNDED_TO_8_BITS))
        raise ConfigError(f"recipe {name!r}: compensated rounding is for 8-bit weights: use it with {schemes}")
    if step.tool == "litert-quantizer":
        return
    asked = [option for option, default in LITERT_ONLY.items() if getattr(step, option) != default]
    if asked or step.scheme in LITERT_SCHEMES:
        what = f"the option {asked[0]!r}" if asked else f"the scheme {step.scheme!r}"
        raise ConfigError(f"recipe {name!r}: TensorFlow's converter doesn't know {what}: use tool 'litert-quantizer'")
