"""A conversion as plain data: what `--json` prints, what is recorded as a run, and what the report's JSON holds."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from edgeloop_converters.candidates import Candidate
from edgeloop_converters.conversion import Converted
from edgeloop_converters.report_looks import looks_facts

__all__ = ["facts_of"]


def facts_of(converted: Converted) -> dict[str, Any]:
    """All that was found out, in plain JSON types; what isn't a finite number is None."""
    manifest = converted.artifact.manifest
    facts = {
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created,
        "sha256": manifest.model.sha256,
        "size_bytes": converted.artifact.size_bytes,
        "holds": converted.verdict.holds,
        "budgets": converted.verdict.budgets,
        "before": {**vars_of(converted.before)},
        "after": {**vars_of(converted.after)},
        "drop": converted.drop,
        "metrics": manifest.metrics,
        "recipe": manifest.recipe,
        "notes": converted.result.notes,
        "proof": converted.proof,
        "explanations": looks_facts(converted.explanations),
        "diagnosis": converted.diagnosis,
        "layer_times": converted.layer_times,
        "elsewhere": converted.elsewhere,
        "evaluation": converted.result.evaluation,
        "candidates": [candidate_facts(c) for c in converted.candidates],
        "front": [c.recipe.name for c in converted.front],
        "trials": {"all": converted.trials, "reused": converted.reused},
        "skipped": converted.skipped,
        "mended": converted.mended,
        "findings": converted.findings,
        "data_findings": converted.data_findings,
        "provenance": manifest.provenance,
    }
    plain: dict[str, Any] = finite(msgspec.to_builtins(facts))
    return plain


def candidate_facts(candidate: Candidate) -> dict[str, Any]:
    """One candidate without its bytes and outputs."""
    return {
        "recipe": candidate.recipe,
        "value": None if candidate.is_proxy else candidate.measurement.value,
        "drop": None if candidate.is_proxy else candidate.comparison.drop,
        "size_bytes": candidate.size_bytes,
        "latency_us": candidate.latency_us,
        "of_original": candidate.speed.of_original.value if candidate.speed else None,
        "holds": candidate.verdict.holds and not candidate.is_proxy,
        "is_proxy": candidate.is_proxy,
        "seconds": candidate.seconds,
        "partitions": candidate.evaluation.partitions,
        "findings": [f.code for f in candidate.findings],
    }


def vars_of(side: Any) -> dict[str, Any]:
    """A side, its value under the metric's own name too."""
    return {**msgspec.to_builtins(side), side.metric: side.value}


def finite(value: Any) -> Any:
    """The same with None in place of NaN and infinity, which JSON doesn't have."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
