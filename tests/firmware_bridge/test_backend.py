"""A model that runs on the device, and is observed as if it ran here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop.errors import ModelError
from edgeloop.runtime import Runtime
from edgeloop_bridge.backend import DeviceBackend
from edgeloop_bridge.device import Device
from int8_networks import artifact_of
from relays import relayed

pytest.importorskip("serial", reason="needs edgeloop[bridge]")


@pytest.fixture
def device(firmware_process: Path) -> Iterator[Device]:
    with relayed(firmware_process) as relay, Device.open(relay.url) as device:
        yield device


def test_a_runtime_on_the_device_sees_what_one_here_sees(
    device: Device, image_for: Callable[..., Any], tiny_int8_model: bytes
) -> None:
    artifact = artifact_of(tiny_int8_model)
    with pytest.raises(ModelError, match=r"runs no model, and not .*: `edgeloop bridge push PORT MODEL`"):
        DeviceBackend(device, artifact.model)

    class Asked:
        ask = staticmethod(device.link.ask)

    image = image_for(Asked(), 0, tiny_int8_model)
    assert list(device.deliver(0, image.data))[-1] == len(image.data)
    device.activate(0, image.sha256)
    inputs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    backend = DeviceBackend(device, artifact.model)
    with Runtime(artifact, backend=backend) as there, Runtime(artifact, kernels="reference") as here:
        for x in inputs:
            np.testing.assert_array_equal(there.run(x, ref="r").output, here.run(x, ref="r").output)
        seen, wanted = there.take_seen(), here.take_seen()
        assert len(seen) == len(wanted) == len(inputs)
        assert there.backend == "microcontroller host"
    assert backend.last is not None
    assert backend.last.invoke_us > 0
