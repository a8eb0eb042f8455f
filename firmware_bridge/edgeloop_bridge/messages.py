"""What the frames carry: one frozen dataclass for each row of PROTOCOL.md's table, to and from a frame's payload.

0x01 HelloRequest   0x81 Hello          0x02 BaudRequest      0x82 Baud
0x03 Log            (either way)        0x04 PingRequest      0x84 Ping
0x05 StatsRequest   0x85 Stats          0x06 ResetRequest     0x86 Reset
0x10 StreamRequest  0x90 Stream         0x11 Samples          (from the device)
0x20 BeginRequest   0xA0 Begin          0x21 DataRequest      0xA1 Data
0x22 EndRequest     0xA2 End            0x23 ActivateRequest  0xA3 Activate
0x24 ConfirmRequest 0xA4 Confirm        0x25 SlotRequest      0xA5 Slot
0x30 InferRequest   0xB0 Infer          0x31 InputRequest     0xB1 Input
0x32 OutputRequest  0xB2 Output         0xFF Error            (either way)
"""

from __future__ import annotations

from edgeloop.errors import MessageError
from edgeloop_bridge.device_messages import (
    Baud,
    BaudRequest,
    Error,
    Hello,
    HelloRequest,
    Log,
    Ping,
    PingRequest,
    Reset,
    ResetRequest,
    Samples,
    Stats,
    StatsRequest,
    Stream,
    StreamRequest,
)
from edgeloop_bridge.frames import Frame
from edgeloop_bridge.message import (
    ANSWER,
    BUILT_IN,
    FIRST_BAUD,
    MODEL_PREFIX_BYTES,
    NO_SLOT,
    SHA256_BYTES,
    ErrorCode,
    InferStatus,
    LogLevel,
    Message,
    SlotState,
    ValueFormat,
)
from edgeloop_bridge.model_messages import (
    Activate,
    ActivateRequest,
    Begin,
    BeginRequest,
    Confirm,
    ConfirmRequest,
    Data,
    DataRequest,
    End,
    EndRequest,
    Infer,
    InferRequest,
    Input,
    InputRequest,
    Output,
    OutputRequest,
    Slot,
    SlotRequest,
)

__all__ = [
    "ANSWER",
    "BUILT_IN",
    "FIRST_BAUD",
    "MODEL_PREFIX_BYTES",
    "NO_SLOT",
    "SHA256_BYTES",
    "TYPES",
    "Activate",
    "ActivateRequest",
    "Baud",
    "BaudRequest",
    "Begin",
    "BeginRequest",
    "Confirm",
    "ConfirmRequest",
    "Data",
    "DataRequest",
    "End",
    "EndRequest",
    "Error",
    "ErrorCode",
    "Hello",
    "HelloRequest",
    "Infer",
    "InferRequest",
    "InferStatus",
    "Input",
    "InputRequest",
    "Log",
    "LogLevel",
    "Message",
    "Output",
    "OutputRequest",
    "Ping",
    "PingRequest",
    "Reset",
    "ResetRequest",
    "Samples",
    "Slot",
    "SlotRequest",
    "SlotState",
    "Stats",
    "StatsRequest",
    "Stream",
    "StreamRequest",
    "ValueFormat",
    "decode",
    "frame",
    "from_frame",
]

TYPES: dict[int, type[Message]] = {kind.TYPE: kind for kind in Message.__subclasses__()}
"""All messages by their type."""


def decode(type_: int, payload: bytes) -> Message:
    """Read a payload of a frame of this type. Raises `MessageError`, also for a type that this version doesn't know."""
    if type_ not in TYPES:
        raise MessageError(f"no message has the type {type_:#04x}")
    return TYPES[type_].decode(payload)


def frame(message: Message, sequence: int) -> Frame:
    """The frame that carries a message. Raises `MessageError`."""
    return Frame(message.TYPE, sequence, message.encode())


def from_frame(found: Frame) -> Message:
    """The message in a frame. Raises `MessageError`."""
    return decode(found.type, found.payload)
