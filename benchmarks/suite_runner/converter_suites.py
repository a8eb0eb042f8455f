"""Suites of the converters, on published and on real models, beside other converters."""

from __future__ import annotations

from typing import Any

from suite_runner.figures import Figure, at_least, at_most, exactly, one
from suite_runner.suite import Suite, module, script, shared, within

__all__ = ["SUITES"]

CIFAR = ("converters/cifar.py", "--model", "{out}/resnet8.keras")


def cifar(part: str, *words: str) -> tuple[str, ...]:
    return script(CIFAR[0], part, *CIFAR[1:], *words, "--json")


def sizes(name: str, most_bytes: int) -> tuple[Figure, ...]:
    """The least converted file that is nowhere worse than the published one, and its bytes."""

    def best(d: Any) -> Any:
        rows = [row for row in d[name]["rows"] if row["recipe"] != "published"]
        return min(rows, key=lambda row: (not row["holds"], row["bytes"]))

    return (
        Figure(
            f"{name}, int8, no worse than the published file on any input", lambda d: best(d)["holds"], "", exactly(1)
        ),
        Figure(f"{name}, int8, its bytes", lambda d: best(d)["bytes"], "B", at_most(most_bytes)),
    )


def recipe(d: Any, name: str) -> Any:
    return one(d["rows"], name=name)


def lost(row: Any) -> float:
    return float(100 * row["accuracy"]["drop"])


def beaten(d: Any, row: Any) -> bool:
    peers = {other["name"] for other in d["rows"] if not other["ours"]}
    return bool(peers & set(row["dominated_by"]))


SUITES: tuple[Suite, ...] = (
    Suite(
        "tinyml",
        "MLPerf Tiny's AD and KWS through the converter, against the published files",
        within(2400, script("converters/tinyml.py", "--json")),
        None,
        (*sizes("ad01", 276_976), *sizes("kws", 53_936)),
        (module("tensorflow", "convert"), shared("models")),
    ),
    Suite(
        "cifar",
        "a residual network on real images through the converter: int8, and pruned and distilled",
        within(2400, cifar("train"), cifar("compact", "--artifact", "{out}/compact.tflite")),
        None,
        (
            Figure("int8: points of accuracy lost", lambda d: lost(recipe(d, "int8")), "", at_most(0.5), "float32"),
            Figure(
                "int8: times smaller than float32",
                lambda d: recipe(d, "float32")["size_bytes"] / recipe(d, "int8")["size_bytes"],
                "×",
                at_least(3),
            ),
            Figure(
                "int8: latency, of float32's",
                lambda d: recipe(d, "int8")["latency"]["value"],
                "×",
                at_most(1 / 3),
                "float32",
            ),
            Figure("compact: points lost", lambda d: lost(d["rows"][-1]), "", at_most(1.0), "float32"),
            Figure(
                "compact: times smaller than float32",
                lambda d: recipe(d, "float32")["size_bytes"] / d["rows"][-1]["size_bytes"],
                "×",
                at_least(6),
            ),
            Figure(
                "compact: latency, of int8's",
                lambda d: d["rows"][-1]["latency"]["value"] / recipe(d, "int8")["latency"]["value"],
                "×",
                at_most(1.0),
                "int8",
            ),
        ),
        (module("tensorflow", "convert"), shared("data/cifar10.npz")),
    ),
    Suite(
        "converters",
        "the same network through TensorFlow's, litert-quantizer's and tensorflow-model-optimization's recipes",
        within(3600, cifar("peers", "--artifact", "{out}/compact.tflite")),
        None,
        (
            Figure(
                "recipes of ours that a peer beats in accuracy, size and latency",
                lambda d: sum(beaten(d, row) for row in d["rows"] if row["ours"]),
                "",
                exactly(0),
                "TensorFlow, litert-quantizer, TFMOT",
            ),
            Figure(
                "recipes of peers on the front",
                lambda d: sum(not row["ours"] and not row["dominated_by"] for row in d["rows"]),
                "",
                exactly(0),
            ),
        ),
        (module("tensorflow", "convert"), shared("data/cifar10.npz")),
    ),
)
