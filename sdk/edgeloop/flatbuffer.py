"""Just enough of the FlatBuffers format to tell a whole TFLite model from one that was cut off.

A truncated model can crash the interpreter's process, so it must be known before any backend opens it. An artifact is
covered by its manifest's hash; this is for files that have no manifest.
"""

from __future__ import annotations

import struct

__all__ = ["IDENTIFIER", "extent", "is_tflite"]

IDENTIFIER = b"TFL3"

# Which fields of which table lead to more bytes (schema.fbs): a number is a vector of items of that many bytes, a name
# a table, a name in a list a vector of tables. Scalars and unions are left out: they hold no large data.
_Fields = dict[int, "int | str | list[str]"]
_SCHEMA: dict[str, _Fields] = {
    "Model": {
        1: ["OperatorCode"],
        2: ["SubGraph"],
        3: 1,
        4: ["Buffer"],
        5: 4,
        6: ["Metadata"],
        7: ["SignatureDef"],
    },
    "OperatorCode": {1: 1},
    "SubGraph": {0: ["Tensor"], 1: 4, 2: 4, 3: ["Operator"], 4: 1},
    "Tensor": {0: 4, 3: 1, 4: "Quantization", 7: 4},
    "Quantization": {0: 4, 1: 4, 2: 4, 3: 8},
    "Operator": {1: 4, 2: 4, 5: 1, 6: 1, 8: 4},
    "Buffer": {0: 1},
    "Metadata": {0: 1},
    "SignatureDef": {0: ["TensorMap"], 1: ["TensorMap"], 2: 1},
    "TensorMap": {0: 1},
}


def is_tflite(model: bytes) -> bool:
    """Whether `model` starts as a TFLite flatbuffer does."""
    return len(model) >= 8 and model[4:8] == IDENTIFIER


def extent(model: bytes) -> int:
    """How many bytes the flatbuffer refers to, at least: more than `len(model)` means that it was cut off.

    Reads nothing past the end: a reference that leads there counts with what it refers to, and is not followed.
    """
    return _Walk(model).run()


class _Walk:
    def __init__(self, model: bytes) -> None:
        self._model = model
        self._furthest = 8
        self._seen: set[int] = set()

    def run(self) -> int:
        todo: list[tuple[int, str]] = [(self._follow(0), "Model")]
        while todo:
            position, table = todo.pop()
            if position in self._seen:  # a loop, or a shared table
                continue
            self._seen.add(position)
            todo.extend(self._table(position, _SCHEMA[table]))
        return self._furthest

    def _reach(self, position: int, size: int) -> bool:
        """Note that `size` bytes at `position` are referred to; whether they are there."""
        self._furthest = max(self._furthest, position + size)
        return position >= 0 and position + size <= len(self._model)

    def _u32(self, position: int) -> int:
        return int(struct.unpack_from("<I", self._model, position)[0]) if self._reach(position, 4) else 0

    def _follow(self, position: int) -> int:
        return position + self._u32(position)

    def _table(self, position: int, fields: _Fields) -> list[tuple[int, str]]:
        if not self._reach(position, 4):
            return []
        vtable = position - int(struct.unpack_from("<i", self._model, position)[0])
        if vtable < 0 or not self._reach(vtable, 4):
            return []
        vtable_size, table_size = struct.unpack_from("<HH", self._model, vtable)
        if not (self._reach(vtable, vtable_size) and self._reach(position, table_size)):
            return []
        found: list[tuple[int, str]] = []
        for index, kind in fields.items():
            slot = 4 + 2 * index
            offset = struct.unpack_from("<H", self._model, vtable + slot)[0] if slot + 2 <= vtable_size else 0
            if offset:
                found.extend(self._field(self._follow(position + offset), kind))
        return found

    def _field(self, target: int, kind: int | str | list[str]) -> list[tuple[int, str]]:
        if isinstance(kind, str):
            return [(target, kind)]
        count = self._u32(target)
        size = kind if isinstance(kind, int) else 4
        if not self._reach(target + 4, count * size) or isinstance(kind, int):
            return []
        return [(self._follow(target + 4 + 4 * i), kind[0]) for i in range(count)]
