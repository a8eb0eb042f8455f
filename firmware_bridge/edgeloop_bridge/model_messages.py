"""The messages about models: their delivery into slots, and inference."""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop_bridge.message import Message

__all__ = [
    "Activate",
    "ActivateRequest",
    "Begin",
    "BeginRequest",
    "Confirm",
    "ConfirmRequest",
    "Data",
    "DataRequest",
    "End",
    "EndRequest",
    "Infer",
    "InferRequest",
    "Input",
    "InputRequest",
    "Output",
    "OutputRequest",
    "Slot",
    "SlotRequest",
]


@dataclass(frozen=True)
class BeginRequest(Message):
    """An image is to come: its slot, length and SHA-256."""

    TYPE = 0x20
    LAYOUT = ("B", "I", "32s")

    slot: int
    length: int
    sha256: bytes


@dataclass(frozen=True)
class Begin(Message):
    """Go on at `next_offset`, with up to `window` DATA of up to `data_bytes` under way."""

    TYPE = 0xA0
    LAYOUT = ("I", "H", "H")

    next_offset: int
    window: int
    data_bytes: int


@dataclass(frozen=True)
class DataRequest(Message):
    """Bytes of the image."""

    TYPE = 0x21
    LAYOUT = ("I",)
    TAIL = bytes

    offset: int
    data: bytes


@dataclass(frozen=True)
class Data(Message):
    """All before `next_offset` is written."""

    TYPE = 0xA1
    LAYOUT = ("I",)

    next_offset: int


@dataclass(frozen=True)
class EndRequest(Message):
    """All was sent: verify the slot's SHA-256."""

    TYPE = 0x22
    LAYOUT = ("B",)

    slot: int


@dataclass(frozen=True)
class End(Message):
    """The slot holds the image, whole."""

    TYPE = 0xA2
    LAYOUT = ("B",)

    slot: int


@dataclass(frozen=True)
class ActivateRequest(Message):
    """Run this image on trial; `sha256` is the image's."""

    TYPE = 0x23
    LAYOUT = ("B", "32s")

    slot: int
    sha256: bytes


@dataclass(frozen=True)
class Activate(Message):
    """It answered its golden input, and runs on trial."""

    TYPE = 0xA3
    LAYOUT = ("B",)

    slot: int


@dataclass(frozen=True)
class ConfirmRequest(Message):
    """Run this image after each boot."""

    TYPE = 0x24
    LAYOUT = ("B", "32s")

    slot: int
    sha256: bytes


@dataclass(frozen=True)
class Confirm(Message):
    """It is recorded."""

    TYPE = 0xA4
    LAYOUT = ("B",)

    slot: int


@dataclass(frozen=True)
class SlotRequest(Message):
    """What is in this slot, and what must an image for it be linked for."""

    TYPE = 0x25
    LAYOUT = ("B",)

    slot: int


@dataclass(frozen=True)
class Slot(Message):
    """A slot.

    Attributes:
        slot: its number.
        state: a `SlotState`.
        core: the processor's part number as its CPUID register says: 0xC24 is a Cortex-M4; 0: the device is a process.
        address: where the image lies and runs.
        capacity_bytes: the longest image.
        arena_address: where the arena lies; its size is in HELLO.
        length: of the image; 0: none.
        sha256: of the image, or zeros.
        model: SHA-256 of the `.tflite` model that it was made from, or zeros before it is verified.
    """

    TYPE = 0xA5
    LAYOUT = ("B", "B", "H", "I", "I", "I", "I", "32s", "32s")

    slot: int
    state: int
    core: int
    address: int
    capacity_bytes: int
    arena_address: int
    length: int
    sha256: bytes
    model: bytes


@dataclass(frozen=True)
class InferRequest(Message):
    """Run the model whose SHA-256 begins so; `input` is all of it, or empty where INPUT has written it."""

    TYPE = 0x30
    LAYOUT = ("8s",)
    TAIL = bytes

    model: bytes
    input: bytes


@dataclass(frozen=True)
class Infer(Message):
    """What came out.

    Attributes:
        status: an `InferStatus`; the rest is 0 and empty unless it is `DONE`.
        copy_in_ticks: for writing the input.
        invoke_ticks: for the model.
        copy_out_ticks: for reading the output.
        output_bytes: of the whole output.
        output: as much of it as fits the frame; the rest by OUTPUT.
    """

    TYPE = 0xB0
    LAYOUT = ("B", "I", "I", "I", "I")
    TAIL = bytes

    status: int
    copy_in_ticks: int
    invoke_ticks: int
    copy_out_ticks: int
    output_bytes: int
    output: bytes


@dataclass(frozen=True)
class InputRequest(Message):
    """A part of an input that is too long for one frame; parts come in their order."""

    TYPE = 0x31
    LAYOUT = ("8s", "I")
    TAIL = bytes

    model: bytes
    offset: int
    data: bytes


@dataclass(frozen=True)
class Input(Message):
    """The input is written up to `next_offset`."""

    TYPE = 0xB1
    LAYOUT = ("I",)

    next_offset: int


@dataclass(frozen=True)
class OutputRequest(Message):
    """Read the last output from `offset` on."""

    TYPE = 0x32
    LAYOUT = ("I",)

    offset: int


@dataclass(frozen=True)
class Output(Message):
    """A part of the last output."""

    TYPE = 0xB2
    LAYOUT = ("I",)
    TAIL = bytes

    offset: int
    data: bytes
