"""The firmware, built once: as a process (plain and with sanitizers), and for the boards that QEMU has."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop_bridge import messages as m
from firmware import SANITIZERS, make
from int8_networks import converted_networks, dense
from serial_device import Host, Process


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """Skips where a program is missing."""

    def needs(*programs: str) -> None:
        packages = {"arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi"}
        for program in programs:
            if shutil.which(program) is None:
                pytest.skip(f"no {program} on this machine (Debian: apt install {packages.get(program, program)})")

    return needs


@pytest.fixture(scope="session")
def firmware_process(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware as a process, without a model."""
    needs("gcc", "make")
    build = tmp_path_factory.mktemp("firmware")
    make(build, f"{build}/host")
    return build / "host"


@pytest.fixture(scope="session")
def checked_process(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware as a process that ends at the first thing that C doesn't define."""
    needs("gcc", "make")
    build = tmp_path_factory.mktemp("firmware-checked")
    make(build, f"{build}/host", HOST_FLAGS=SANITIZERS)
    return build / "host"


@pytest.fixture
def host(firmware_process: Path) -> Iterator[Host]:
    """A conversation with a fresh device."""
    process = Process(firmware_process)
    yield Host(process)
    assert process.close() == 0


@pytest.fixture(scope="session")
def tiny_int8_model() -> bytes:
    """Four inputs, three outputs: a fully connected layer and a softmax."""
    return dense(4, 3, seed=1)


@pytest.fixture(scope="session")
def other_int8_model() -> bytes:
    """Another one of the same shape."""
    return dense(4, 3, seed=2)


@pytest.fixture(scope="session")
def image_for() -> Callable[..., Any]:
    """Builds an image for a device's slot, as the device describes it."""
    from edgeloop_converters.to_c.image import Place, build_image

    cache: dict[tuple[object, ...], Any] = {}

    def image_for(host: Host, slot: int, model: bytes) -> Any:
        hello, about = host.ask(m.HelloRequest()), host.ask(m.SlotRequest(slot))
        place = Place.of_part(about.core, about.address, about.capacity_bytes, about.arena_address, hello.arena_bytes)
        key = (place, hashlib.sha256(model).digest())
        if key not in cache:
            cache[key] = build_image(model, place)
        return cache[key]

    return image_for


@pytest.fixture(scope="session")
def answers() -> Callable[[bytes, bytes], bytes]:
    """What TFLite's reference kernels answer to an input."""
    from edgeloop_converters.tflite.interpreter import open_interpreter

    def answers(model: bytes, given: bytes) -> bytes:
        import numpy as np

        interpreter = open_interpreter(model, kernels="reference")
        (detail,) = interpreter.get_input_details()
        interpreter.set_tensor(detail["index"], np.frombuffer(given, np.int8).reshape(detail["shape"]))
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tobytes()

    return answers


@pytest.fixture
def model_of(shared_dir: Path) -> Callable[[str], bytes]:
    """A model by its name: two published ones, two that are converted here."""

    def model_of(name: str) -> bytes:
        if name in ("ad01", "kws"):
            return (shared_dir / "models" / f"{name}_int8.tflite").read_bytes()
        return converted_networks()[name]

    return model_of
