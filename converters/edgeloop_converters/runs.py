"""Recorded conversions: one JSON file each, to be listed and compared; and MLflow where it is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeloop.errors import ConfigError, MissingExtraError
from edgeloop.files import write_atomic

__all__ = ["list_runs", "read_run", "record_run", "runs_folder", "track_in_mlflow"]


def runs_folder(chosen: str | None = None) -> Path:
    """Where runs are recorded: `chosen`, `$EDGELOOP_RUNS`, or `runs` in edgeloop's state folder (XDG)."""
    if chosen or os.environ.get("EDGELOOP_RUNS"):
        return Path(chosen or os.environ["EDGELOOP_RUNS"])
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "edgeloop" / "runs"


def record_run(folder: Path, facts: Mapping[str, Any]) -> str:
    """Write one run; gives its id, which sorts by time.

    Args:
        folder: made if absent.
        facts: plain data, with `created` (ISO 8601) and `name`.

    Raises:
        OSError: it can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = "".join(c for c in str(facts["created"])[:19] if c.isdigit())
    base = f"{stamp[:8]}-{stamp[8:]}-{facts['name']}"
    number = 1
    while (path := folder / f"{base}-{number}.json").exists():
        number += 1
    write_atomic(path, json.dumps(facts, indent=1, sort_keys=True, allow_nan=False))
    return path.stem


def list_runs(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """All runs by id, oldest first; none where the folder is absent. Raises `ConfigError` for a damaged one."""
    return [(path.stem, read_run(folder, path.stem)) for path in sorted(folder.glob("*.json"))]


def read_run(folder: Path, run: str) -> dict[str, Any]:
    """One run by its id, or by an end of it that only one has.

    Raises:
        ConfigError: there is none, or several, or its file is damaged.
    """
    found = [p for p in sorted(folder.glob("*.json")) if p.stem == run or p.stem.endswith(run)]
    exact = [p for p in found if p.stem == run] or found
    if len(exact) != 1:
        raise ConfigError(f"{len(exact)} runs in {folder} go by {run!r}: `edgeloop runs` lists them")
    try:
        read: dict[str, Any] = json.loads(exact[0].read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{exact[0]}: not a recorded run: {error}") from error
    return read


def track_in_mlflow(facts: Mapping[str, Any], files: Sequence[Path]) -> bool:
    """Log a run to MLflow where `MLFLOW_TRACKING_URI` is set; gives whether it is.

    The experiment is "edgeloop", or the one in `MLFLOW_EXPERIMENT_NAME`.

    Args:
        facts: with `name`, `recipe` (its name, seed and steps), `metrics` (numbers by name), `drop`, `size_bytes`,
            `holds`, `sha256` and `provenance`.
        files: the artifact and the report.

    Raises:
        MissingExtraError: it is set, and mlflow isn't installed.
        ConfigError: MLflow can't log it there.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return False
    try:
        import mlflow  # type: ignore[import-not-found, unused-ignore]  # ships no types, and is an extra
    except ImportError as error:
        raise MissingExtraError("mlflow", "mlflow") from error
    recipe = facts["recipe"]
    numbers = {**facts["metrics"], "drop": facts["drop"], "size_bytes": facts["size_bytes"]}
    try:
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "edgeloop"))
        with mlflow.start_run(run_name=str(facts["name"])):
            mlflow.log_params({"recipe": recipe["name"], "seed": recipe["seed"], **params_of(recipe["steps"])})
            mlflow.log_metrics({name.replace(".", "_"): float(v) for name, v in numbers.items() if v is not None})
            mlflow.set_tags({"holds": facts["holds"], "sha256": facts["sha256"], **facts["provenance"]})
            for file in files:
                mlflow.log_artifact(str(file))
    except (mlflow.exceptions.MlflowException, ImportError) as error:  # a store may need a package of its own
        raise ConfigError(f"MLFLOW_TRACKING_URI={uri}: not logged: {error}") from error
    return True


def params_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A recipe's options by step and name, so that MLflow can compare runs by them: `prune.ratio`."""
    return {f"{s['step']}.{name}": value for s in steps for name, value in s.items() if name != "step"}
