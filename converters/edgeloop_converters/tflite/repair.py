"""Mending old `.tflite` files, so that today's tools see what is in them. The computation stays as it is."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite.flatbuffer import as_list, builtin_code, parse, serialize, text

__all__ = ["SIGNATURE", "Repaired", "repair"]

SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Repaired:
    """A model after `repair`.

    Attributes:
        model: the bytes; the very ones that were given when there are no changes.
        changes: what was changed and why, one sentence each.
    """

    model: bytes
    changes: tuple[str, ...]


def repair(model: bytes) -> Repaired:
    """Fill operator codes, add a signature, and make tensor names unique, where a file lacks them.

    Quantizers and converters look these up and, where they are missing, silently do nothing. The outputs stay
    bit-identical: no operator, tensor or weight is touched.

    Raises:
        ModelError: the model is damaged.
    """
    tree = parse(model)
    changes = [line for line in (fill_codes(tree), name_tensors(tree), add_signature(tree)) if line]
    if not changes:
        return Repaired(model, ())
    if zipfile.is_zipfile(io.BytesIO(model)):
        changes.append("dropped the ZIP that was appended to the file: its own offsets no longer hold")
    return Repaired(serialize(tree), tuple(changes))


def fill_codes(tree: schema.ModelT) -> str | None:
    """Fill `builtin_code` from `deprecated_builtin_code`, where only the latter is set."""
    old = [code for code in tree.operatorCodes or () if builtin_code(code) != code.builtinCode]
    for code in old:
        code.builtinCode = builtin_code(code)
    if not old:
        return None
    return f"filled builtin_code of {len(old)} operator codes that stood in the deprecated field only"


def name_tensors(tree: schema.ModelT) -> str | None:
    """Name tensors that have no name or one that is taken; quantizers look tensors up by name."""
    changed = 0
    taken = Counter(text(t.name) for s in tree.subgraphs for t in s.tensors or ())
    for subgraph in tree.subgraphs:
        seen: set[str] = set()
        for index, tensor in enumerate(subgraph.tensors or ()):
            name = text(tensor.name)
            if not name or name in seen:
                stem = name or "tensor"
                new = next(n for n in (f"{stem}_{index + k}" for k in range(len(taken) + 1)) if n not in taken)
                taken[new] += 1
                tensor.name, name, changed = new, new, changed + 1
            seen.add(name)
    return f"gave {changed} unnamed or doubly named tensors a name of their own" if changed else None


def add_signature(tree: schema.ModelT) -> str | None:
    """Add a signature over the main subgraph's inputs and outputs, where the model has none."""
    if tree.signatureDefs:
        return None
    main = tree.subgraphs[0]
    tree.signatureDefs = [
        schema.SignatureDefT(
            inputs=tensor_map(main, as_list(main.inputs)),
            outputs=tensor_map(main, as_list(main.outputs)),
            signatureKey=SIGNATURE,
            subgraphIndex=0,
        )
    ]
    return f"added the signature {SIGNATURE!r}: there was none, and static quantization needs one"


def tensor_map(subgraph: schema.SubGraphT, indices: Sequence[int]) -> list[schema.TensorMapT]:
    """The signature's entries for some tensors, under the tensors' own names."""
    return [schema.TensorMapT(name=text(subgraph.tensors[i].name), tensorIndex=int(i)) for i in indices]
