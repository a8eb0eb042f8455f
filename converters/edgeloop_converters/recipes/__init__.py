"""Recipes: what is done to a model on its way to an artifact, by name, as data."""

from edgeloop_converters.recipes.apply import Applied, RecipeData, apply_recipe, compile_tflite, wanted_of
from edgeloop_converters.recipes.catalogue import CATALOGUE, Entry, find_recipe, prune_distil_int8
from edgeloop_converters.recipes.recipe import Recipe, parse_recipe, read_recipe
from edgeloop_converters.recipes.steps import (
    STEPS,
    AnyStep,
    Cluster,
    Compile,
    CorrectBias,
    Distil,
    Equalize,
    Factorize,
    FineTune,
    Fold,
    Prune,
    QuantizationAware,
    Sparsify,
)

__all__ = [
    "CATALOGUE",
    "STEPS",
    "AnyStep",
    "Applied",
    "Cluster",
    "Compile",
    "CorrectBias",
    "Distil",
    "Entry",
    "Equalize",
    "Factorize",
    "FineTune",
    "Fold",
    "Prune",
    "QuantizationAware",
    "Recipe",
    "RecipeData",
    "Sparsify",
    "apply_recipe",
    "compile_tflite",
    "find_recipe",
    "parse_recipe",
    "prune_distil_int8",
    "read_recipe",
    "wanted_of",
]
