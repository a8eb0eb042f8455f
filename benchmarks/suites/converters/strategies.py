"""The search's ladder against Optuna's samplers: `python benchmarks/suites/converters/strategies.py PART --table FILE`.

PART is `record` (tries every recipe of a grid on a small network for real digits, each in a process of its own, and
writes what each took and gave; it resumes) or `replay` (lets the strategies choose from that table, with many seeds
and under several budgets, and counts trials and seconds until one holds). Both strategies see the same candidates, at
the price that was measured for each. Tables go to standard error, JSON to standard output. `replay` needs Optuna.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from edgeloop.preprocessing import Scale
from edgeloop_converters.attempts import Attempts, Limits
from edgeloop_converters.data import Dataset
from edgeloop_converters.prepare import Prepared, prepare
from edgeloop_converters.proof import Budget, Drop, Gate, Verdict
from edgeloop_converters.quiet import quiet_tensorflow
from edgeloop_converters.recipes import CATALOGUE, Distil, Prune, Recipe
from edgeloop_converters.rungs import qat_recipe, shape_only, trained, ways_to_train
from edgeloop_converters.search import COMPILE_ONLY, GENTLER, search
from edgeloop_converters.trials import TrialCache

RATIOS = tuple(n / 16 for n in range(1, 13))
ROUND_TO = (8, 4)
EPOCHS = (2, 12)
START_S = 3.0  # of a trial that doesn't train


def digits() -> Prepared:
    """A small network for scikit-learn's digits, trained for eight epochs."""
    import keras
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    x, y = data.images[order][..., None].astype("float32"), data.target[order].astype("int64")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(),
            layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(x[:1000] / 16, y[:1000], epochs=8, batch_size=32, verbose=0)
    return prepare(
        model, Dataset(x[:1000], y[:1000]), Dataset(x[1000:], y[1000:]), preprocessing=(Scale(1 / 16),), seed=0
    )


def grid() -> tuple[list[Recipe], list[Recipe]]:
    """The trained and plain recipes of the table; and the untrained shapes."""
    shapes = [Prune(ratio=r, round_to=n) for r in RATIOS for n in ROUND_TO]
    plain = [CATALOGUE[name].recipe for name in (*COMPILE_ONLY, *GENTLER)] + [qat_recipe()]
    learnt = [trained(p, way, epochs) for p in shapes for epochs in EPOCHS for way in ways_to_train("none")]
    return plain + learnt, [shape_only(p) for p in shapes]


def record(path: Path, cache: Path, workers: int) -> None:
    """Try all of it, and write the table."""
    real, shapes = grid()
    prepared = digits()
    limits = Limits(workers=workers)
    with Attempts(prepared, Gate(), TrialCache(cache), limits, tell=lambda s: print(s, file=sys.stderr)) as attempts:
        rows = [
            {
                "name": c.recipe.name,
                "drop": None if c.is_proxy else c.comparison.drop,
                "size_bytes": c.size_bytes,
                "latency_us": c.latency_us,
                "seconds": c.seconds,
            }
            for c in (*attempts.run(shapes, are_proxies=True), *attempts.run(real))
        ]
        found = {"original_bytes": attempts.original.size_bytes, "rows": rows}
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")


BUDGETS = tuple((drop, share) for drop in (0.005, 0.01, 0.02) for share in (0.2, 0.1, 0.06, 0.035))
SEEDS = 10
LIMIT_S = 540.0
MOST_TRIALS = 60


class OutOfTrials(Exception):  # noqa: N818  # not an error: the end of one replay
    """A strategy holds the budgets, or has had its trials."""


class Bill:
    """What one strategy has tried so far under one pair of budgets; the first that holds ends it.

    Args:
        table: the rows by name.
        drop: what may be lost.
        size_bytes: what the file may take.
    """

    def __init__(self, table: dict[str, dict[str, Any]], drop: float, size_bytes: float) -> None:
        self.table = table
        self.drop = drop
        self.size_bytes = size_bytes
        self.paid: dict[str, float] = {}

    def look(self, name: str, longer: float = 1.0) -> dict[str, Any]:
        """A row, paid for once; `longer` is how many times its epochs were asked for, which are paid for as well."""
        row = self.table[name]
        self.paid.setdefault(name, row["seconds"] + (longer - 1) * max(0.0, row["seconds"] - START_S))
        return row

    def excess(self, row: dict[str, Any]) -> float:
        """By how much the budgets are missed, as `candidates.excess` adds it up."""
        size = max(0.0, row["size_bytes"] / self.size_bytes - 1)
        return size if row["drop"] is None else size + max(0.0, (row["drop"] - self.drop) / self.drop)

    def judge(self, row: dict[str, Any]) -> float:
        """The same; raises `OutOfTrials` at the end."""
        excess = self.excess(row)
        if (excess == 0 and row["drop"] is not None) or len(self.paid) >= MOST_TRIALS:
            raise OutOfTrials
        return excess

    def result(self, found: str | None) -> dict[str, Any]:
        """What it cost, and how small what it found is."""
        size = self.table[found]["size_bytes"] if found else None
        return {"found": found, "trials": len(self.paid), "seconds": sum(self.paid.values()), "size_bytes": size}

    def holding(self) -> str | None:
        """The smallest that holds of what was paid for."""
        rows = [self.table[n] for n in self.paid if self.table[n]["drop"] is not None]
        holds = [r for r in rows if self.excess(r) == 0]
        return min(holds, key=lambda r: r["size_bytes"])["name"] if holds else None


class ReplayedAttempts:
    """What `search` sees of `Attempts`, out of the table."""

    def __init__(self, prepared: Any, bill: Bill) -> None:
        self.prepared, self.bill = prepared, bill
        self.limits = Limits(workers=2)
        self.gate = Gate(max_drop=Drop(bill.drop, relative=False), max_size_bytes=int(bill.size_bytes))
        self.candidates: list[Any] = []
        self.failed: list[Any] = []
        self.original = SimpleNamespace(evaluation=SimpleNamespace(parameters=0))

    def run(self, recipes: Any, *, are_proxies: bool = False) -> list[Any]:
        made = []
        for recipe in recipes:
            known = nearest_row(recipe)
            row = self.bill.look(known.name, max(1.0, epochs_of(recipe) / max(1, epochs_of(known))))
            size_holds = row["size_bytes"] <= self.bill.size_bytes
            drop_holds = are_proxies or row["drop"] <= self.bill.drop
            size = Budget("max_size_bytes", row["size_bytes"], self.bill.size_bytes, "bytes", size_holds, "")
            drop = Budget("max_drop", row["drop"], self.bill.drop, "accuracy", drop_holds, "")
            made.append(
                SimpleNamespace(
                    recipe=recipe,
                    verdict=Verdict((drop, size)),
                    is_proxy=are_proxies,
                    size_bytes=row["size_bytes"],
                    latency_us=row["latency_us"],
                    comparison=SimpleNamespace(drop=row["drop"]),
                    seconds=row["seconds"],
                )
            )
        self.candidates += made
        return made


def nearest_row(recipe: Recipe) -> Recipe:
    """The recipe of the table. The ladder trains for 30 epochs where there is time; the table's 12 stand for them."""
    for step in recipe.steps:
        if isinstance(step, Distil):
            prune = recipe.steps[0]
            assert isinstance(prune, Prune)
            return trained(prune, step, min(EPOCHS, key=lambda n: abs(n - step.epochs)))
    return recipe


def epochs_of(recipe: Recipe) -> int:
    return sum(step.epochs for step in recipe.steps if isinstance(step, Distil))


def by_ladder(bill: Bill) -> dict[str, Any]:
    """Our own search, without its last rung, which is Optuna's; it has no chance in it."""
    prepared = SimpleNamespace(
        train=SimpleNamespace(y=np.zeros(1)), model=None, x_eval=np.zeros((1, 8, 8)), seed=0
    )  # not images of rank 4: no augmentation, as in the table
    attempts = ReplayedAttempts(prepared, bill)
    with mock.patch.dict(sys.modules, {"optuna": None}):
        search(attempts, target=None, time_limit_s=LIMIT_S, tell=lambda _: None)  # type: ignore[arg-type]
    return bill.result(bill.holding())


def by_optuna(bill: Bill, sampler: Any, *, proxies: bool) -> dict[str, Any]:
    """Optuna over the same recipes: whether it prunes, and then the ratio, rounding, epochs and rate, or which other.

    With `proxies` it starts with what only compiles, and looks at the untrained shape first: what is too large isn't
    trained.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    plain = [*COMPILE_ONLY, *GENTLER, qat_recipe().name]
    ways = ways_to_train("none")

    def objective(trial: Any) -> float:
        if not trial.suggest_categorical("prunes", [True, False]):
            return bill.judge(bill.look(trial.suggest_categorical("kind", plain)))
        ratio = RATIOS[trial.suggest_int("sixteenths", 1, len(RATIOS)) - 1]
        prune = Prune(ratio=ratio, round_to=trial.suggest_categorical("round_to", ROUND_TO))
        epochs = trial.suggest_categorical("epochs", EPOCHS)
        way = ways[trial.suggest_categorical("way", [0, 1])]
        if proxies and (missed := bill.excess(bill.look(shape_only(prune).name))) > 0:
            return missed + 1.0  # its drop isn't known
        return bill.judge(bill.look(trained(prune, way, epochs).name))

    study = optuna.create_study(sampler=sampler)
    for kind in COMPILE_ONLY if proxies else ():
        study.enqueue_trial({"prunes": False, "kind": kind})
    with contextlib.suppress(OutOfTrials):
        study.optimize(objective, n_trials=4 * MOST_TRIALS)
    return bill.result(bill.holding())


def replay(path: Path) -> dict[str, Any]:
    """Each strategy under each pair of budgets that something in the table holds; Optuna's with many seeds.

    Optuna's NSGA-II isn't among them: in version 5.0.0 its `sample_relative` gives nothing in any generation, also with
    one integer and no conditions, so that it is the random sampler by another name.
    """
    import optuna

    found = json.loads(path.read_text(encoding="utf-8"))
    table = {row["name"]: row for row in found["rows"]}
    whole = found["original_bytes"]
    warnings.simplefilter("ignore")
    samplers = {
        "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
        "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
    }
    results: dict[str, list[dict[str, Any]]] = {}
    possible = []
    for drop, share in BUDGETS:
        size = share * whole
        print(f"drop {drop}, {share:.1%} of the size", file=sys.stderr, flush=True)
        if not any(r["drop"] is not None and r["drop"] <= drop and r["size_bytes"] <= size for r in table.values()):
            continue
        possible.append((drop, share))
        results.setdefault("ladder", []).append(by_ladder(Bill(table, drop, size)))
        for name, make in samplers.items():
            for proxies in (False, True):
                key = f"{name}, our proxies first" if proxies else name
                results.setdefault(key, []).extend(
                    by_optuna(Bill(table, drop, size), make(seed), proxies=proxies) for seed in range(SEEDS)
                )
    rows = {name: summary(runs) for name, runs in results.items()}
    for name, row in rows.items():
        print(f"{name:28}" + "".join(f"{key} {value:9.4g}   " for key, value in row.items()), file=sys.stderr)
    return {"budgets": possible, "seeds": SEEDS, "rows": rows, "ladder": results["ladder"]}


def summary(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Over all budgets and seeds: how often something was found, and what it took."""
    return {
        "held": float(np.mean([r["found"] is not None for r in runs])),
        "in time": float(np.mean([r["found"] is not None and r["seconds"] <= LIMIT_S for r in runs])),
        "trials (mean)": float(np.mean([r["trials"] for r in runs])),
        "seconds (mean)": float(np.mean([r["seconds"] for r in runs])),
        "seconds (median)": float(np.median([r["seconds"] for r in runs])),
        "seconds (90 %)": float(np.quantile([r["seconds"] for r in runs], 0.9)),
        "bytes (mean)": float(np.mean([r["size_bytes"] for r in runs if r["found"]])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("record", "replay"))
    parser.add_argument("--table", type=Path, default=Path(tempfile.gettempdir()) / "edgeloop-strategies.json")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "edgeloop-strategies")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.part == "replay":
        print(json.dumps(replay(args.table), indent=1))
        return
    quiet_tensorflow()
    record(args.table, args.cache, args.workers)


if __name__ == "__main__":
    main()
