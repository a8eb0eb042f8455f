"""The reference names every field of the schema, in its order, and none that isn't there."""

from __future__ import annotations

import re

import msgspec
import pytest

from edgeloop.latency import Latency, Ratio
from edgeloop.machine import Machine
from edgeloop_bench import result
from tree import REPO

STRUCTS = [
    found
    for found in (*(getattr(result, name) for name in result.__all__), Latency, Ratio, Machine)
    if isinstance(found, type) and issubclass(found, msgspec.Struct)
]
TEXT = (REPO / "docs/reference/bench-result.md").read_text(encoding="utf-8")


def sections() -> dict[str, str]:
    _, *parts = re.split(r"^## (\w+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_every_field_is_documented(struct: type[msgspec.Struct]) -> None:
    said = re.findall(r"^\| `(\w+)` \|", sections()[struct.__name__], flags=re.MULTILINE)
    assert tuple(said) == struct.__struct_fields__


def test_nothing_else_is() -> None:
    assert set(sections()) == {struct.__name__ for struct in STRUCTS}
    assert f"The schema is **{result.SCHEMA}**" in TEXT
