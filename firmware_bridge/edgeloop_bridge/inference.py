"""Inference on the device, with inputs and outputs of any length."""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop.errors import DataError
from edgeloop_bridge.errors import BridgeError, RefusedError
from edgeloop_bridge.link import Link
from edgeloop_bridge.messages import (
    MODEL_PREFIX_BYTES,
    Infer,
    InferRequest,
    InferStatus,
    Input,
    InputRequest,
    Output,
    OutputRequest,
)

__all__ = ["Inference", "infer"]

_SLOW = 25  # PROTOCOL.md gives INFER 5 s
_FRAME_BYTES = 8  # of a decoded frame, beside its payload
_OFFSET_BYTES = 4


@dataclass(frozen=True)
class Inference:
    """What the device's model answered.

    Args:
        output: as the model stores it.
        copy_in_us: for writing the input, on the device; None where it doesn't count ticks.
        invoke_us: for the model.
        copy_out_us: for reading the output.
    """

    output: bytes
    copy_in_us: float | None
    invoke_us: float | None
    copy_out_us: float | None


def infer(link: Link, model: bytes, given: bytes) -> Inference:
    """Run the device's model; see `Device.infer`."""
    while True:
        taken_up = link.taken_up
        try:
            return _infer(link, model[:MODEL_PREFIX_BYTES], given)
        except DataError:
            if taken_up == link.taken_up:
                raise
            # The device may have been reset between the parts of a long input, or asked twice for its answer.


def _infer(link: Link, prefix: bytes, given: bytes) -> Inference:
    room = link.hello.largest_frame_bytes - _FRAME_BYTES - MODEL_PREFIX_BYTES
    try:
        if len(given) > room:
            _write_input(link, prefix, given, room - _OFFSET_BYTES)
        request = InferRequest(prefix, given if len(given) <= room else b"")
        answer = link.ask_carefully(request, Infer, timeout_s=link.timeout_s * _SLOW, resets=1)
        if answer.status != InferStatus.DONE:
            raise DataError(_why_not(link, answer.status, len(given)))
        output = answer.output
        while len(output) < answer.output_bytes:
            part = link.ask_for(OutputRequest(len(output)), Output).data
            if not part:
                raise BridgeError(f"the output ends at {len(output)} of {answer.output_bytes} bytes")
            output += part
    except RefusedError as error:
        raise DataError(f"an input of {len(given)} bytes: {error.text}") from error
    hz = link.hello.ticks_hz
    ticks = (answer.copy_in_ticks, answer.invoke_ticks, answer.copy_out_ticks)
    return Inference(output, *(1e6 * n / hz if hz else None for n in ticks))


def _write_input(link: Link, prefix: bytes, given: bytes, part_bytes: int) -> None:
    offset = 0
    while offset < len(given):
        offset = link.ask_for(InputRequest(prefix, offset, given[offset : offset + part_bytes]), Input).next_offset


def _why_not(link: Link, status: int, size: int) -> str:
    if status == InferStatus.NO_MODEL:
        return "no model runs on the device: `edgeloop bridge push` one"
    if status == InferStatus.OTHER_MODEL:
        return f"another model runs on the device: {link.hello.model.hex()}"
    return f"the model takes no input of {size} bytes"
