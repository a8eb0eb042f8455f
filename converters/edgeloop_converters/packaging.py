"""From a `.tflite` file to an artifact: its manifest, baseline and golden input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.backends import open_backend
from edgeloop.baseline import Baseline, fit_baseline
from edgeloop.manifest import Golden, Manifest, ModelFile, Recipe, Task, utc_now
from edgeloop.preprocessing import sensed
from edgeloop.signing import PrivateKey
from edgeloop.summaries import SummaryKind
from edgeloop_converters.evaluate import stored_inputs
from edgeloop_converters.prepare import Prepared, as_real
from edgeloop_converters.quiet import silenced
from edgeloop_converters.tflite import run

__all__ = ["Label", "package"]

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
    manifest = Manifest(
        name=label.name,
        version=label.version,
        created=utc_now(),
        model=ModelFile(sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model)),
        inputs=backend.inputs,
        outputs=backend.outputs,
        task=TASKS.get(prepared.metric.task, "other"),
        labels=prepared.labels,
        preprocessing=prepared.preprocessing,
        sample_shape=_sample_shape(prepared),
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


def _sample_shape(prepared: Prepared) -> tuple[int, ...] | None:
    """The shape of what the sensor gives; None where it is the model's own."""
    x = prepared.train.x
    return x.shape[1:] if prepared.preprocessing and not isinstance(x, Mapping) else None


def _baseline(prepared: Prepared, model: bytes, summary: SummaryKind) -> Baseline | None:
    """The training data's distribution; None for several inputs, which a profile can't hold."""
    x = prepared.train.x
    if isinstance(x, Mapping):
        return None
    classes = len(prepared.labels)
    outputs = run(model, as_real(prepared.preprocessing, x))[0] if classes > 1 else None
    fits = outputs is not None and outputs.shape[1:] == (classes,)
    names = prepared.train.feature_names if summary == "columns" else None
    x = sensed(prepared.preprocessing, x)
    return fit_baseline(x, outputs if fits else None, summary=summary, classes=classes if fits else 0, names=names)


def _golden(prepared: Prepared, model: bytes) -> Golden:
    """One calibration sample, and what the reference kernels answer to it."""
    backend = open_backend(model, kernels="reference")
    stored = stored_inputs(backend, as_real(prepared.preprocessing, prepared.calibration.x))
    outputs = backend.invoke(stored)
    spec = backend.outputs[0]
    atol = GOLDEN_STEPS * spec.scale if spec.scale else FLOAT_GOLDEN * max(1.0, float(np.abs(outputs[0]).max()))
    return Golden(inputs=tuple(s.tobytes() for s in stored), outputs=tuple(o.tobytes() for o in outputs), atol=atol)
