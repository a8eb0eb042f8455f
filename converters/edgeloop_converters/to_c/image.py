"""A compiled model as an image for a slot of a microcontroller: machine code that runs where it lies.

`firmware_bridge/PROTOCOL.md` gives the header, and how an image is delivered. It is linked for its slot's address and
the device's arena, calls nothing outside of itself, and carries a golden input with the reference kernels' answer.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.to_c.compile import compile_to_c

__all__ = ["CORES", "Image", "Place", "build_image"]

CORES = {"cortex-m0": 0xC20, "cortex-m3": 0xC23, "cortex-m4": 0xC24, "cortex-m7": 0xC27, "cortex-m33": 0xD21, "host": 0}
"""Processors by their compiler's name, with their CPUID's part number; `host` is the firmware as a process."""

MAGIC, FORMAT = 0x494D4C45, 1

_FLAGS = (
    "-std=c99", "-Os", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector", "-fno-pic", "-fno-common", "-nostdlib", "-static", "-Wl,--build-id=none,--fatal-warnings",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where an image is to lie, as the device says in SLOT and HELLO.

    Args:
        core: a key of `CORES`.
        address: of the slot.
        capacity_bytes: of the slot.
        arena_address: of the RAM for tensors.
        arena_bytes: its size.
    """

    core: str
    address: int
    capacity_bytes: int
    arena_address: int
    arena_bytes: int

    @classmethod
    def of_part(cls, part: int, address: int, capacity_bytes: int, arena_address: int, arena_bytes: int) -> Place:
        """The same with the core's part number, as SLOT gives it. Raises `ConfigError`."""
        names = {number: name for name, number in CORES.items()}
        if part not in names:
            raise ConfigError(f"no images are built for a processor with the part number {part:#x}")
        return cls(names[part], address, capacity_bytes, arena_address, arena_bytes)


class Image(NamedTuple):
    """An image.

    Attributes:
        data: what is delivered.
        sha256: of `data`; BEGIN, ACTIVATE and CONFIRM name it.
        model_sha256: of the model; HELLO and INFER name it.
        arena_bytes: that it takes.
    """

    data: bytes
    sha256: bytes
    model_sha256: bytes
    arena_bytes: int


def build_image(model: bytes, place: Place, *, seed: int = 0) -> Image:
    """Compile a model, and link it for its place. The same model, place, seed and compiler give the same bytes.

    Args:
        model: a full-integer `.tflite` of one input and one output, without an appended manifest.
        place: where it will run.
        seed: of the golden input, which is random.

    Raises:
        ConfigError: an unknown core, or its compiler isn't installed.
        ModelError: the model can't be compiled, or doesn't fit its place.
    """
    compiler = compiler_of(place.core)
    compiled = compile_to_c(model, "m", seed=seed)
    if "int8_t *m_input(void)" not in compiled.header or "int8_t *m_output(void)" not in compiled.header:
        raise ModelError("an image has one int8 input and one int8 output, and this model has others")
    if compiled.arena_bytes > place.arena_bytes:
        raise ModelError(
            f"the model takes an arena of {compiled.arena_bytes} bytes, and the device has {place.arena_bytes}"
        )
    given, answer = golden(model, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "m.c").write_text(compiled.source)
        (path / "m.h").write_text(compiled.header)
        (path / "image.c").write_text(glue(place, compiled.sha256, given, answer))
        (path / "image.ld").write_text(link_script(place))
        run([*compiler, *_FLAGS, "-T", "image.ld", "image.c", "m.c", "-lgcc", "-o", "image.elf"], path)
        objcopy = compiler[0].removesuffix("gcc") + "objcopy"
        run([objcopy, "-O", "binary", "-j", ".image", "image.elf", "image.bin"], path)
        data = (path / "image.bin").read_bytes()
    if len(data) > place.capacity_bytes:
        raise ModelError(f"the image has {len(data)} bytes, and the slot {place.capacity_bytes}")
    return Image(data, hashlib.sha256(data).digest(), bytes.fromhex(compiled.sha256), compiled.arena_bytes)


def compiler_of(core: str) -> list[str]:
    """The compiler with its flags for a core. Raises `ConfigError`."""
    if core not in CORES:
        raise ConfigError(f"images are built for {', '.join(CORES)}, and not for {core!r}")
    program, flags = (
        ("gcc", ["-no-pie", "-mno-red-zone", "-fcf-protection=none"])
        if core == "host"
        else ("arm-none-eabi-gcc", [f"-mcpu={core}", "-mthumb", "-mfloat-abi=soft"])
    )
    if shutil.which(program) is None:
        raise ConfigError(
            f"an image for {core} needs {program} (Debian: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi)"
        )
    return [program, *flags]


def golden(model: bytes, seed: int) -> tuple[bytes, bytes]:
    """A random input, and the reference kernels' answer."""
    from edgeloop_converters.tflite.interpreter import open_interpreter

    interpreter = open_interpreter(model, kernels="reference")
    (given,), (answered,) = interpreter.get_input_details(), interpreter.get_output_details()
    values = np.random.default_rng(seed).integers(-128, 128, given["shape"]).astype(np.int8)
    interpreter.set_tensor(given["index"], values)
    interpreter.invoke()
    return values.tobytes(), interpreter.get_tensor(answered["index"]).tobytes()


def glue(place: Place, model_sha256: str, given: bytes, answer: bytes) -> str:
    """The header, the golden input and output, and the three functions that a compiler may call by itself."""
    words = [
        ".long", f"{MAGIC}", ".short", f"{FORMAT}", ".short", f"{CORES[place.core]}",
        *(part for field in (
            "image_length", place.address, place.arena_address, "arena_used", "m_input", len(given), "m_output",
            len(answer), "m_invoke", "golden_input", "golden_output",
        ) for part in (".long", f"{field}")),
        ".byte", ", ".join(str(byte) for byte in bytes.fromhex(model_sha256)),
    ]  # fmt: skip
    lines = [f'    "{a} {b}\\n"' for a, b in zip(words[::2], words[1::2], strict=True)]
    return "\n".join(
        [
            "#include <stddef.h>",
            "#include <stdint.h>",
            "",
            '__asm__(".section .header, \\"a\\"\\n"',
            *lines,
            '    ".text\\n");',
            "",
            bytes_of("golden_input", given),
            bytes_of("golden_output", answer),
            _MOVES,
        ]
    )


_MOVES = """
void *memcpy(void *to, const void *from, size_t count)
{
    unsigned char *a = to;
    const unsigned char *b = from;
    while (count--) {
        *a++ = *b++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    unsigned char *a = to;
    const unsigned char *b = from;
    if ((uintptr_t)a <= (uintptr_t)b) {
        return memcpy(to, from, count);
    }
    while (count--) {
        a[count] = b[count];
    }
    return to;
}

void *memset(void *to, int value, size_t count)
{
    unsigned char *a = to;
    while (count--) {
        *a++ = (unsigned char)value;
    }
    return to;
}
"""


def bytes_of(name: str, values: bytes) -> str:
    """An array in C; used, since only the header's assembler names it."""
    rows = [values[i : i + 20] for i in range(0, len(values), 20)]
    body = ",\n    ".join(", ".join(map(str, row)) for row in rows)
    return f"__attribute__((used)) const uint8_t {name}[{len(values)}] = {{\n    {body},\n}};\n"


def link_script(place: Place) -> str:
    """Everything in one section at the slot's address, the arena at its own."""
    return f"""\
SECTIONS
{{
    .image {place.address:#x} : {{ KEEP(*(.header)) *(.text*) *(.rodata*) . = ALIGN(8); }}
    image_length = SIZEOF(.image);
    .bss {place.arena_address:#x} (NOLOAD) : {{ *(.bss*) }}
    arena_used = SIZEOF(.bss);
    .data : {{ *(.data*) }}
    ASSERT(SIZEOF(.data) == 0, "an image can't have initialised variables")
    /DISCARD/ : {{ *(.comment) *(.note*) *(.eh_frame*) *(.ARM.*) }}
}}
ENTRY(m_invoke)
"""


def run(command: Sequence[str], folder: Path) -> None:
    """Raises `ModelError` with what the compiler says."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ModelError(f"{command[0]} can't build the image: {' '.join(done.stderr.split())[:400]}")
