"""From a `.tflite` file to an artifact: its manifest, baseline and golden input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.manifest import Golden, InputPreparation, Manifest, ModelFile, Recipe, Task, TensorSpec, utc_now
from edgeloop.preprocessing import sensed
from edgeloop.signing import PrivateKey
from edgeloop.summaries import Part, SummaryKind
from edgeloop_converters.evaluate import stored_inputs
from edgeloop_converters.prepare import Prepared, as_real, input_steps
from edgeloop_converters.quiet import silenced
from edgeloop_converters.tflite import run

__all__ = ["Label", "package", "remeasured"]

# Default kernels of different processors were seen up to 27 steps apart (docs/decisions.md, 14): twice that is another
# answer, not another kernel.
GOLDEN_STEPS = 54
FLOAT_GOLDEN = 0.02  # of the largest output: what float kernels of different processors are never apart

TASKS: dict[str, Task] = {"classification": "classification", "regression": "regression", "anomaly": "anomaly"}


class Label:
    """What an artifact is called, and who vouches for it.

    Args:
        name: the artifact's name.
        version: higher than that of any artifact of this name that is in the field.
        summary: what the devices profile of an input.
        key: signs the artifact.
        provenance: more lines for the manifest.
    """

    def __init__(
        self,
        name: str,
        version: int = 1,
        *,
        summary: SummaryKind = "columns",
        key: PrivateKey | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.summary: SummaryKind = summary
        self.key = key
        self.provenance = dict(provenance or {})


def package(
    prepared: Prepared,
    model: bytes,
    recipe: Recipe,
    label: Label,
    *,
    metrics: Mapping[str, float],
    temperature: float | None = None,
) -> Artifact:
    """Describe a model and join the two.

    Args:
        prepared: the data that it was made with.
        model: the flatbuffer.
        recipe: how it was made, as stored.
        label: its name, and so on.
        metrics: what was measured.
        temperature: of its confidence, if it was fitted.

    Raises:
        DataError: the training data is too small for a baseline.
        ArtifactError: the manifest wouldn't read back.
    """
    with silenced():  # the first interpreter of a process announces itself
        backend = open_backend(model)
    several = isinstance(prepared.train.x, Mapping)
    manifest = Manifest(
        name=label.name,
        version=label.version,
        created=utc_now(),
        model=ModelFile(sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model)),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task=TASKS.get(prepared.task, "other"),
        labels=prepared.labels,
        preprocessing=() if several else input_steps(prepared.preprocessing, ""),
        sample_shape=_sample_shape(prepared, "x") if not several else None,
        input_preparation=_preparation(prepared) if several else {},
        recipe=recipe,
        metrics=dict(metrics),
        baseline=_baseline(prepared, model, label.summary),
        golden=_golden(prepared, model),
        provenance={
            "train.sha256": prepared.train.sha256(),
            "evaluation.sha256": prepared.evaluation.sha256(),
            "calibration.sha256": prepared.calibration.sha256,
            "calibration.method": prepared.calibration.method,
            **label.provenance,
        },
        temperature=temperature,
    )
    return pack_artifact(model, manifest, key=label.key)


def remeasured(artifact: Artifact, metrics: Mapping[str, float], label: Label) -> Artifact:
    """The same artifact with more measurements in its manifest, signed again."""
    manifest = msgspec.structs.replace(artifact.manifest, metrics={**artifact.manifest.metrics, **metrics})
    return pack_artifact(artifact.model, manifest, key=label.key)


def _sample_shape(prepared: Prepared, name: str) -> tuple[int, ...] | None:
    """The shape of what the sensor gives for an input; None where it is the model's own."""
    return prepared.train.inputs[name].shape[1:] if input_steps(prepared.preprocessing, name) else None


def _preparation(prepared: Prepared) -> dict[str, InputPreparation]:
    """How several inputs are made of what the sensors give, where that takes a step."""
    found = {}
    for name in prepared.train.inputs:
        if steps := input_steps(prepared.preprocessing, name):
            found[name] = InputPreparation(steps, _sample_shape(prepared, name))
    return found


def _baseline(prepared: Prepared, model: bytes, summary: SummaryKind) -> Baseline:
    """The training data's distribution."""
    x = prepared.train.x
    classes = len(prepared.labels)
    outputs = run(model, as_real(prepared.preprocessing, x))[0] if classes > 1 else None
    fits = outputs is not None and outputs.shape[1:] in ((classes,), (1,))
    profiled, classes = (outputs, classes) if fits else (None, 0)
    if not isinstance(x, Mapping):
        names = prepared.train.feature_names if summary == "columns" else None
        x = sensed(input_steps(prepared.preprocessing, ""), x)
        return fit_baseline(x, profiled, summary=summary, classes=classes, names=names)
    seen = {name: sensed(input_steps(prepared.preprocessing, name), values) for name, values in x.items()}
    rows = np.concatenate([values.reshape(len(values), -1) for values in seen.values()], axis=1)
    parts = tuple(
        Part(name, values.shape[1:], _summary_for(values.shape[1:], summary)) for name, values in seen.items()
    )
    return fit_baseline(rows, profiled, summary="columns", classes=classes, parts=parts)


def _summary_for(shape: tuple[int, ...], wanted: SummaryKind) -> SummaryKind:
    """Of several inputs, "image" means those that can be images, and "signal" likewise."""
    fits = {"image": len(shape) in {2, 3} and min(shape[:2]) >= 3, "signal": len(shape) in {1, 2} and shape[0] >= 8}
    return wanted if fits.get(wanted, False) else "columns"


def _golden(prepared: Prepared, model: bytes) -> Golden:
    """One calibration sample, and what the reference kernels answer to it."""
    backend = open_backend(model, kernels="reference")
    stored = stored_inputs(backend, as_real(prepared.preprocessing, prepared.calibration.x))
    outputs = backend.invoke(stored)
    atol = max(_apart(spec, stored) for spec, stored in zip(backend.outputs, outputs, strict=True))
    return Golden(inputs=tuple(s.tobytes() for s in stored), outputs=tuple(o.tobytes() for o in outputs), atol=atol)


def _apart(spec: TensorSpec, stored: NDArray[Any]) -> float:
    """What two processors' answers may differ by, in an output's real units."""
    return GOLDEN_STEPS * spec.scale if spec.scale else FLOAT_GOLDEN * max(1.0, float(np.abs(stored).max()))
