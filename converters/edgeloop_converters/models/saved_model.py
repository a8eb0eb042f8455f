"""SavedModel folders: one signature of them, and what it would need of a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeloop.errors import ModelError
from edgeloop_converters.models.loaded import LoadedModel, Port, check_ports
from edgeloop_converters.quiet import quiet_tensorflow, silenced

__all__ = ["load_saved_model"]

_DEFAULT = "serving_default"
# Ops that read or write what outlives a call: variables that a call assigns, tables, queues, random generators.
_STATE_PREFIXES = ("Assign", "ResourceScatter", "HashTable", "MutableHashTable", "LookupTable", "StatefulRandom")
_STATE_SUFFIXES = ("QueueV2", "StackV2")


def load_saved_model(path: Path, signature: str | None = None) -> LoadedModel:
    """Read a SavedModel folder.

    Args:
        path: the folder that has `saved_model.pb`.
        signature: which of its signatures; None takes the only one, or `serving_default`.

    Raises:
        ModelError: it isn't a SavedModel, is damaged, hasn't that signature, or one of its ops keeps state.
    """
    if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise ModelError(f"{path}: {_other_folder(path)}")
    quiet_tensorflow()
    import tensorflow as tf
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

    try:
        with silenced():
            found = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, DecodeError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path}: a damaged SavedModel, or one of a newer TensorFlow ({reason})") from error
    signatures = dict(found.signatures)
    name = _choose(path, sorted(signatures), signature)
    function = signatures[name]
    stateful = _stateful_ops(function)
    if stateful:
        raise ModelError(
            f"{path}: signature {name!r} keeps state from call to call ({', '.join(stateful)}): export a function "
            "that takes the state as an input and gives it as an output"
        )
    inputs = _ports(function.structured_input_signature[1])
    outputs = _ports(function.structured_outputs)
    check_ports(path, inputs, outputs)
    others = [s for s in sorted(signatures) if s != name]
    notes = (f"took the signature {name!r}; it also has {', '.join(others)}",) if others else ()
    return LoadedModel(path, "saved_model", inputs, outputs, notes, signature=name)


def _choose(path: Path, names: list[str], wanted: str | None) -> str:
    listed = ", ".join(names) or "none"
    if wanted is not None and wanted not in names:
        raise ModelError(f"{path}: it has no signature {wanted!r}, but {listed}")
    if wanted is not None:
        return wanted
    if len(names) == 1:
        return names[0]
    if _DEFAULT in names:
        return _DEFAULT
    hint = "name one of them" if names else "save it with tf.saved_model.save(model, path, signatures=…)"
    raise ModelError(f"{path}: no single signature to take (it has {listed}): {hint}")


def _ports(tensors: dict[str, Any]) -> tuple[Port, ...]:
    ports = []
    for name, tensor in sorted(tensors.items()):
        # A tensor of unknown rank is refused as one with a free axis would be.
        shape = (None, None) if tensor.shape.rank is None else tuple(tensor.shape.as_list())
        ports.append(Port(name, shape, tensor.dtype.name))
    return tuple(ports)


def _stateful_ops(function: Any) -> list[str]:
    graph = function.graph.as_graph_def()
    names = {node.op for node in graph.node} | {node.op for f in graph.library.function for node in f.node_def}
    return sorted(n for n in names if n.startswith(_STATE_PREFIXES) or n.endswith(_STATE_SUFFIXES))


def _other_folder(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    if "checkpoint" in names or any(n.endswith(".index") or ".ckpt" in n for n in names):
        return (
            "a TensorFlow checkpoint, which holds weights without the model: build the model in Python, restore it, "
            "and save the whole with model.save('model.keras')"
        )
    return "not a SavedModel (it has no saved_model.pb): give the folder that tf.saved_model.save wrote"
