"""A microcontroller as the backend of a `Runtime`: the model runs there, and all else is as if it ran here.

    artifact = read_artifact("digits.tflite")
    with Device.open("/dev/ttyACM0") as device, Runtime(artifact, backend=DeviceBackend(device, artifact)) as runtime:
        print(runtime.run(x).label)

So preprocessing, the golden input, what is seen and with it the profile, the samples and the outbox are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.artifact import Artifact
from edgeloop.backends import Backend
from edgeloop.delegates import Placement
from edgeloop.errors import ModelError
from edgeloop_bridge.device import Device
from edgeloop_bridge.inference import Inference

__all__ = ["DeviceBackend"]


class DeviceBackend:
    """A model that runs on a device; see `edgeloop.backends.Backend`.

    Args:
        device: open; it isn't closed with the backend.
        artifact: of the model that runs there.

    Raises:
        ModelError: another model runs there, or this one has several inputs or outputs.

    `invoke` raises `BridgeError` where the device can't be reached any more, and `DataError` where another model has
    come to run on it. `last` holds the device's own times of the last call.
    """

    def __init__(self, device: Device, artifact: Artifact) -> None:
        manifest = artifact.manifest
        wanted = manifest.model.sha256
        if device.hello.model.hex() != wanted:
            raise ModelError(
                f"{artifact.source}: the device runs another model ({device.hello.model.hex()}): "
                f"`edgeloop bridge push` this one"
            )
        if len(manifest.inputs) != 1 or len(manifest.outputs) != 1:
            raise ModelError(f"{artifact.source}: a model on a microcontroller has one input and one output")
        self.name = f"microcontroller {device.hello.board}"
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self.last: Inference | None = None
        self._device = device
        self._model = bytes.fromhex(wanted)
        self._shape = [abs(n) for n in self.outputs[0].shape]
        self._dtype = np.dtype(self.outputs[0].dtype)
        self.placement = Placement(None, None, (), 0)
        self.memory = np.zeros([abs(n) for n in self.inputs[0].shape], self.inputs[0].dtype)

    def invoke(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """See `Backend.invoke`; the output as the device wrote it."""
        (x,) = inputs
        self.last = self._device.infer(self._model, x.tobytes())
        return [np.frombuffer(self.last.output, self._dtype).reshape(self._shape)]

    def invoke_memory(self) -> None:
        """See `Backend.invoke_memory`."""
        self.last = self._device.infer(self._model, self.memory.tobytes())

    def read(self) -> bytes:
        """See `Backend.read`."""
        return b"" if self.last is None else self.last.output

    def batched(self, rows: int) -> Backend | None:
        """None: a compiled model takes one sample a call."""
        del rows
        return None
