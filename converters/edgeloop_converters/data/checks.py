"""Whether a set can measure a model: leaks from the training data, missing classes, broken columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.data.dataset import Array, Dataset
from edgeloop_converters.data.finding import EXAMPLES, Finding
from edgeloop_converters.data.giveaway import giveaway_features
from edgeloop_converters.data.leaks import check_groups, check_order, check_shared

__all__ = ["Role", "check_datasets"]

Role = Literal["training", "calibration"]
IMBALANCE = 10.0
FEW_SAMPLES = 10  # a class with fewer has a recall in steps of 10 % and more


def check_datasets(
    reference: Dataset,
    evaluation: Dataset,
    *,
    role: Role = "training",
    keep_apart: Sequence[str] = (),
    seed: int,
) -> tuple[Finding, ...]:
    """Check the set that a model is judged on against the set that it was trained or calibrated on.

    Args:
        reference: what the model has seen.
        evaluation: what it is judged on.
        role: what the reference was used for, for the messages.
        keep_apart: group columns whose values mustn't occur in both sets (person, device, recording).
        seed: of what is sampled.

    Returns:
        Findings, errors first; none when all is well. Codes: `skipped`, `labels_differ`, `shared_samples`,
        `near_duplicates`, `shared_groups`, `time_mixed`, `class_missing`, `class_unknown`, `class_rare`,
        `class_imbalance`, `constant_features`, `missing_values`, `label_giveaway`.

    Raises:
        DataError: the two sets have different inputs, or lack a column in `keep_apart`.
    """
    shapes = [{n: a.shape[1:] for n, a in d.inputs.items()} for d in (reference, evaluation)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"{evaluation.source} has inputs {shapes[1]}, but {reference.source} has {shapes[0]}: they "
            "aren't for one model"
        )
    findings = [
        *check_skipped(reference, role),
        *check_skipped(evaluation, "evaluation"),
        *check_shared(reference, evaluation, role, seed),
        *check_groups(reference, evaluation, role, keep_apart),
        *check_order(reference, evaluation, role, seed),
        *check_classes(reference, evaluation, role),
        *check_finite(reference, role),
        *check_finite(evaluation, "evaluation"),
        *check_constant(reference, evaluation, role),
        *check_giveaway(reference, role, seed),
    ]
    return tuple(sorted(findings, key=lambda f: f.severity != "error"))


def check_skipped(dataset: Dataset, role: str) -> Iterator[Finding]:
    """What was left out while loading, counted; the first ones by name."""
    count = len(dataset.skipped)
    if count:
        first = "; ".join(f"{s.what}: {s.reason}" for s in dataset.skipped[:EXAMPLES])
        more = "; …" * (count > EXAMPLES)
        message = f"{count} of {count + len(dataset)} samples of the {role} set were left out: {first}{more}"
        yield Finding("skipped", "warning", message, count)


def check_classes(reference: Dataset, evaluation: Dataset, role: str) -> Iterator[Finding]:
    if not (reference.is_classification and evaluation.is_classification):
        return
    if reference.labels and evaluation.labels and reference.labels != evaluation.labels:
        yield Finding(
            "labels_differ",
            "error",
            f"{evaluation.source}: its classes are {list(evaluation.labels)[:8]}, the {role} set's are "
            f"{list(reference.labels)[:8]}, so the same index means another class: load both with the same "
            "labels=…",
            len(set(reference.labels) ^ set(evaluation.labels)) or len(reference.labels),
        )
        return
    size = max(reference.n_classes, evaluation.n_classes)
    seen, here = (np.bincount(d.y, minlength=size) for d in (reference, evaluation) if d.y is not None)
    for code, which, problem in (
        (
            "class_missing",
            (seen > 0) & (here == 0),
            "have no sample here, so nothing is known of them: add some",
        ),
        (
            "class_unknown",
            (seen == 0) & (here > 0),
            f"aren't in the {role} set, so the model can't know them",
        ),
        (
            "class_rare",
            (here > 0) & (here < FEW_SAMPLES),
            f"have fewer than {FEW_SAMPLES} samples here: add some",
        ),
    ):
        yield from class_finding(code, which, evaluation, problem)
    for d, counts, name in ((reference, seen, role), (evaluation, here, "evaluation")):
        present = counts[counts > 0]
        rare = np.flatnonzero((counts > 0) & (counts * IMBALANCE <= present.max()))
        if len(rare):
            yield Finding(
                "class_imbalance",
                "warning",
                f"{d.source}: the {name} set's classes have {present.min()} to {present.max()} samples: "
                "accuracy hides the rare ones; judge by balanced_accuracy or macro_f1, and look at the "
                "slices by class",
                len(rare),
                tuple(int(c) for c in rare[:EXAMPLES]),
            )


def class_finding(code: str, which: Array, dataset: Dataset, problem: str) -> Iterator[Finding]:
    indices = np.flatnonzero(which)
    if len(indices):
        shown = ", ".join(dataset.class_name(i) for i in indices[:EXAMPLES])
        examples = tuple(int(i) for i in indices[:EXAMPLES])
        severity: Literal["warning", "error"] = "warning" if code == "class_rare" else "error"
        message = f"{dataset.source}: classes {shown} {problem} (examples are classes)"
        yield Finding(code, severity, message, len(indices), examples)


def check_finite(dataset: Dataset, role: str) -> Iterator[Finding]:
    """Missing and infinite values; one finding an input, whatever the number of features."""
    for name, a in dataset.inputs.items():
        if a.dtype.kind == "f" and not (finite := np.isfinite(a.reshape(len(a), -1))).all():
            rows = np.flatnonzero(~finite.all(axis=1))
            columns = np.flatnonzero(~finite.all(axis=0))
            yield Finding(
                "missing_values",
                "error",
                f"{dataset.source}: {len(rows)} samples of the {role} set hold NaN or inf in input "
                f"{name!r}, in {feature_text(columns, dataset)}: mend or drop them, or fill them as the "
                "device will",
                len(rows),
                tuple(int(i) for i in rows[:EXAMPLES]),
            )


def check_constant(reference: Dataset, evaluation: Dataset, role: str) -> Iterator[Finding]:
    """Features that never change in the reference; one finding an input, whatever their number."""
    for name, a in reference.inputs.items():
        flat, other = a.reshape(len(a), -1), evaluation.inputs[name].reshape(len(evaluation), -1)
        constant = np.flatnonzero((flat == flat[0]).all(axis=0))
        if len(constant) and len(flat) > 1:
            moving = int(np.sum((other[:, constant] != flat[0, constant]).any(axis=0)))
            yield Finding(
                "constant_features",
                "warning",
                f"{reference.source}: {len(constant)} of {flat.shape[1]} features of input {name!r} never "
                f"change in the {role} set ({feature_text(constant, reference)}; examples are features), "
                f"{moving} of which change in the evaluation set: usual at an image's border, elsewhere a "
                "sensor that is dead or not connected",
                len(constant),
                tuple(int(i) for i in constant[:EXAMPLES]),
            )


def feature_text(columns: Array, dataset: Dataset) -> str:
    names = dataset.feature_names
    shown = ", ".join(repr(names[i]) if names is not None else str(i) for i in columns[:5])
    return f"features {shown}" + (", …" if len(columns) > 5 else "")


def check_giveaway(dataset: Dataset, role: str, seed: int) -> Iterator[Finding]:
    if dataset.y is None or not dataset.is_classification or len(dataset.inputs) > 1:
        return
    a = next(iter(dataset.inputs.values()))
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        return  # `missing_values` says so
    found = giveaway_features(a.reshape(len(a), -1), dataset.y, seed=seed)
    if len(found):
        yield Finding(
            "label_giveaway",
            "error",
            f"{dataset.source}: {feature_text(found, dataset)} of the {role} set tell the label alone (99 % "
            "and more), which all others together can't (examples are features): made of the label, or "
            "known only afterwards? Drop it, or say why the device will know it",
            len(found),
            tuple(int(i) for i in found[:EXAMPLES]),
        )
