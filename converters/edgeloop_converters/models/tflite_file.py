"""`.tflite` files: float ones mended so that today's tools see what is in them, integer ones taken as they are."""

from __future__ import annotations

from pathlib import Path

from edgeloop.artifact import check_tflite
from edgeloop_converters.models.loaded import LoadedModel, Port, check_ports
from edgeloop_converters.models.supported import check_runnable
from edgeloop_converters.tflite import ModelFacts, describe, repair, restore_float

__all__ = ["load_tflite", "loaded_flatbuffer"]


def load_tflite(path: Path) -> LoadedModel:
    """Read a `.tflite` file.

    Raises:
        NotTfliteError, TruncatedError, ModelError: it is something else, cut off, or damaged.
        ModelError: one of its ops keeps state or is a custom one.
    """
    model = path.read_bytes()
    check_tflite(model, str(path))
    return loaded_flatbuffer(path, model, ())


def loaded_flatbuffer(path: Path, model: bytes, notes: tuple[str, ...]) -> LoadedModel:
    """A flatbuffer as a `LoadedModel`: repaired, and its weights made float where only they were quantized.

    Raises:
        ModelError: it is damaged, or an op of it keeps state or is a custom one.
    """
    facts = describe(model)
    check_runnable(facts, str(path))
    is_quantized = any(t.scales and not t.constant for t in facts.tensors)
    if is_quantized:
        notes = (*notes, "its activations are integers already: it is packaged as it is, and not quantized again")
    else:
        repaired = repair(model)
        restored = restore_float(repaired.model)
        model, notes = restored.model, (*notes, *repaired.changes, *restored.changes)
    inputs, outputs = _ports(facts, facts.inputs), _ports(facts, facts.outputs)
    check_ports(path, inputs, outputs)
    return LoadedModel(path, "tflite", inputs, outputs, notes, flatbuffer=model, is_quantized=is_quantized)


def _ports(facts: ModelFacts, indices: tuple[int, ...]) -> tuple[Port, ...]:
    """The signature's names where it has some: tensors carry the converter's, such as StatefulPartitionedCall:0."""
    names: dict[int, str] = {}
    if len(facts.signatures) == 1:
        signature = facts.signatures[0]
        names = {index: name for name, index in [*signature.inputs.items(), *signature.outputs.items()]}
    return tuple(
        Port(
            names.get(i, facts.name(i)),
            tuple(None if n == -1 else n for n in facts.tensors[i].shape_signature),
            facts.tensors[i].dtype,
        )
        for i in indices
    )
