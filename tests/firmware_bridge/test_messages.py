from __future__ import annotations

import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import MessageError
from edgeloop_bridge import messages
from edgeloop_bridge.frames import Frame
from tree import REPO

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())["messages"]
WIDTHS = {"B": 8, "H": 16, "I": 32, "Q": 64}


def message_from(vector: dict[str, Any]) -> messages.Message:
    kind = messages.TYPES[vector["type"]]
    given = vector["fields"]
    binary = {f.name for f in fields(kind) if f.type in (bytes, "bytes")}
    return kind(**{k: bytes.fromhex(v) if k in binary else v for k, v in given.items()})


def values_of(kind: type[messages.Message]) -> st.SearchStrategy[messages.Message]:
    parts: list[st.SearchStrategy[Any]] = [
        st.integers(0, 2 ** WIDTHS[code] - 1)
        if code in WIDTHS
        else st.binary(min_size=int(code[:-1]), max_size=int(code[:-1]))
        for code in kind.LAYOUT
    ]
    if kind.TAIL is not None:
        parts.append(st.text("aß€\0 ", max_size=60) if kind.TAIL is str else st.binary(max_size=200))
    return st.tuples(*parts).map(lambda values: kind(*values))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_golden_messages(vector: dict[str, Any]) -> None:
    message, payload = message_from(vector), bytes.fromhex(vector["payload"])
    assert type(message).__name__ == vector["message"]
    assert message.encode() == payload
    assert messages.decode(vector["type"], payload) == message


def test_every_message_has_a_golden_vector_and_stands_in_the_protocol() -> None:
    assert {v["type"] for v in VECTORS} == set(messages.TYPES)
    page = (REPO / "firmware_bridge" / "PROTOCOL.md").read_text()
    rows = re.findall(r"^\| (0x\w\w)(?: / (0x\w\w))? \|", page, flags=re.MULTILINE)
    assert {int(number, 16) for row in rows for number in row if number} == set(messages.TYPES)


@given(st.sampled_from(list(messages.TYPES.values())).flatmap(values_of), st.integers(0, 65535))
def test_any_message_has_a_way_through_a_frame_and_back(message: messages.Message, sequence: int) -> None:
    framed = messages.frame(message, sequence)
    assert framed.sequence == sequence
    assert messages.from_frame(framed) == message


@given(st.integers(0, 255), st.binary(max_size=120))
def test_any_payload_is_a_message_or_refused(type_: int, payload: bytes) -> None:
    try:
        message = messages.decode(type_, payload)
    except MessageError:
        return
    assert message.encode() == payload


@pytest.mark.parametrize(
    "message",
    [
        messages.BaudRequest(-1),
        messages.BaudRequest(2**32),
        messages.BeginRequest(256, 1, bytes(32)),
        messages.BeginRequest(0, 1, bytes(31)),
        messages.BeginRequest(0, 1, bytes(33)),
        messages.DataRequest(0, bytes(1021)),
    ],
    ids=str,
)
def test_what_fits_no_layout_is_refused(message: messages.Message) -> None:
    with pytest.raises(MessageError):
        message.encode()


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(MessageError, match="0x7e"):
        messages.from_frame(Frame(0x7E, 0))


def test_fields_are_as_many_as_the_layout_says() -> None:
    for kind in messages.TYPES.values():
        assert len(asdict(kind(*range(len(fields(kind)))))) == len(kind.LAYOUT) + (kind.TAIL is not None)
