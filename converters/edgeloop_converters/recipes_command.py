"""`edgeloop recipes`."""

from __future__ import annotations

import argparse

from edgeloop.cli import Command, Result

__all__ = ["RECIPES"]


def configure_recipes(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", nargs="?", help="show this recipe's steps (a name, or a .toml file)")


def run_recipes(args: argparse.Namespace) -> Result:
    """List the catalogue, or show one recipe."""
    import msgspec

    from edgeloop_converters.recipes import CATALOGUE, find_recipe

    if args.name is not None:
        recipe = find_recipe(args.name)
        raw = msgspec.to_builtins(recipe)
        return Result(data=raw, text="\n".join([recipe.name, *(f"  {step}" for step in raw["steps"])]))
    rows = [
        {
            "name": name,
            "time": entry.recipe.time,
            "needs_labels": entry.recipe.needs_labels,
            "takes": "keras"
            if entry.recipe.passes or entry.recipe.compile.tool == "tensorflow"
            else "keras or .tflite",
            "gives": entry.gives,
            "steps": msgspec.to_builtins(entry.recipe.steps),
        }
        for name, entry in CATALOGUE.items()
    ]
    lines = [f"{'recipe':28}{'time':9}{'labels':8}gives"]
    lines += [f"{r['name']:28}{r['time']:9}{'needed' if r['needs_labels'] else '-':8}{r['gives']}" for r in rows]
    return Result(data={"recipes": rows}, text="\n".join(lines))


RECIPES = Command(
    help="list the recipes: what each does, costs and gives",
    configure=configure_recipes,
    run=run_recipes,
    extra="convert",
    needs=("tensorflow", "litert_quantizer"),
)
