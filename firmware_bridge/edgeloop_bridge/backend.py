"""A microcontroller as the backend of a `Runtime`: the model runs there, and all else is as if it ran here.

    artifact = read_artifact("digits.tflite")
    with Device.open("/dev/ttyACM0") as device:
        with Runtime(artifact, backend=DeviceBackend(device, artifact.model)) as runtime:
            print(runtime.run(x).label)

So preprocessing, the golden input, what is seen and with it the profile, the samples and the outbox are the same. An
agent's configuration names it (entry point `board` of the group `edgeloop.backends`):

    [runtime]
    backend = "board"
    [runtime.options]
    port = "usb:E6614C311B7F"
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.backends import Backend, open_backend
from edgeloop.delegates import Placement
from edgeloop.errors import DataError, ModelError
from edgeloop_bridge.counters import STATISTICS_S, counters
from edgeloop_bridge.device import Device
from edgeloop_bridge.errors import BridgeError
from edgeloop_bridge.inference import Inference
from edgeloop_bridge.messages import FIRST_BAUD
from edgeloop_bridge.sharing import Lease, lease_device

__all__ = ["Board", "DeviceBackend", "LeasedBackend"]


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A microcontroller that runs edgeloop's firmware and holds the model. Needs the extra `bridge`.

    Args:
        port: `/dev/ttyACM0`, `usb:SERIAL` (its USB device's serial number), `socket://HOST:PORT` or `rfc2217://HOST:PORT`.
            A source `serial` of the same process may have the same one.
        baud: to which the line's rate is raised.
    """

    port: Annotated[str, msgspec.Meta(min_length=1)]
    baud: Annotated[int, msgspec.Meta(ge=1)] = FIRST_BAUD

    def open(self, model: bytes) -> LeasedBackend:
        """Connect, and see that the board runs `model`, a TFLite flatbuffer, by its SHA-256.

        Raises:
            BridgeError: the port can't be opened, or no device answers there.
            ModelError: the board runs another model or none; the message has the command that changes that.
            ConfigError: this process has the port open at another rate.
            MissingExtraError: pyserial or an interpreter isn't installed.
        """
        lease = lease_device(self.port, baud=self.baud)
        try:
            return LeasedBackend(lease, model)
        except BaseException:
            lease.close()
            raise


class DeviceBackend:
    """A model that runs on a device; see `edgeloop.backends.Backend`.

    Args:
        device: open; it isn't closed with the backend.
        model: the TFLite flatbuffer that the device's code was compiled from: its tensors are read here, by an
            interpreter that is dropped again.
        port: where the device is, for messages.

    Raises:
        ModelError: another model runs there, or this one has several inputs or outputs.

    `invoke` raises `BridgeError` where the device can't be reached: a later call finds it again. It raises `ModelError`
    where another model has come to run there. `last` holds the device's own times of the last call.
    """

    def __init__(self, device: Device, model: bytes, port: str = "PORT") -> None:
        self._device = device
        self._model = hashlib.sha256(model).digest()
        self._port = port
        if device.greet().model != self._model:
            raise self._other_model()
        here = open_backend(model)
        if len(here.inputs) != 1 or len(here.outputs) != 1:
            raise ModelError("a model on a microcontroller has one input and one output")
        self.name = f"microcontroller {device.hello.board}"
        self.inputs, self.outputs = here.inputs, here.outputs
        self.last: Inference | None = None
        self._shape = [abs(n) for n in self.outputs[0].shape]
        self._dtype = np.dtype(self.outputs[0].dtype)
        self.placement = Placement(None, None, (), 0)
        self.memory = np.zeros([abs(n) for n in self.inputs[0].shape], self.inputs[0].dtype)
        self._statistics: dict[str, int] = {}
        self._next_statistics_s = 0.0

    def invoke(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """See `Backend.invoke`; the output as the device wrote it."""
        (x,) = inputs
        return [np.frombuffer(self._infer(x).output, self._dtype).reshape(self._shape)]

    def invoke_memory(self) -> None:
        """See `Backend.invoke_memory`."""
        self._infer(self.memory)

    def read(self) -> bytes:
        """See `Backend.read`."""
        return b"" if self.last is None else self.last.output

    def batched(self, rows: int) -> Backend | None:
        """None: a compiled model takes one sample a call."""
        del rows
        return None

    def statistics(self) -> dict[str, int]:
        """Counters of the device and of the line, as they were some seconds ago; from any thread."""
        return self._statistics

    def _infer(self, x: NDArray[Any]) -> Inference:
        try:
            self.last = answer = self._device.infer(self._model, x.tobytes())
        except DataError as error:
            if self._device.greet().model != self._model:
                raise self._other_model() from error
            raise
        if time.monotonic() >= self._next_statistics_s:
            self._next_statistics_s = time.monotonic() + STATISTICS_S
            with suppress(BridgeError):  # the answer is there; what the line does is seen at the next call
                self._statistics = counters(self._device)
        return answer

    def _other_model(self) -> ModelError:
        running = self._device.hello.model
        runs = f"the model {running.hex()}" if any(running) else "no model"
        return ModelError(
            f"the board {self._device.hello.board} runs {runs}, "
            f"and not {self._model.hex()}: `edgeloop bridge push {self._port} MODEL` puts it there"
        )


class LeasedBackend(DeviceBackend):
    """A backend that gives its lease of the device back on `close`, or when nobody holds it any more."""

    def __init__(self, lease: Lease, model: bytes) -> None:
        super().__init__(lease.device, model, lease.port)
        self.close = weakref.finalize(self, lease.close)
        """Give the device back; a second call does nothing."""
