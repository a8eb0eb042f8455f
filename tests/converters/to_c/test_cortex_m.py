"""The generated C on Cortex-M: what it takes of flash and RAM, and its answers on an emulated board."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop_converters.to_c import CSource, compile_to_c

HERE = Path(__file__).parent
BOARDS = {"cortex-m3": ("mps2-an385", 10), "cortex-m4": ("mps2-an386", 100)}  # QEMU's machine, inputs
# What the compiler calls by itself on a core without a wide multiplier or divider, and the C library's moves.
ALLOWED_SYMBOLS = re.compile(r"mem(cpy|move|set)|__aeabi_\w+")
ALL = ["ad01", "kws", *(pytest.param(name, marks=pytest.mark.tf) for name in ("residual", "mobile"))]


def write(folder: Path, model: bytes) -> CSource:
    compiled = compile_to_c(model, "m")
    (folder / "m.c").write_text(compiled.source)
    (folder / "m.h").write_text(compiled.header)
    return compiled


def compile_object(cross: str, folder: Path, cpu: str) -> None:
    command = [cross, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Os", f"-mcpu={cpu}", "-mthumb"]
    subprocess.run([*command, "-fstack-usage", "-c", "m.c", "-o", "m.o"], cwd=folder, check=True)


def stack_bytes(folder: Path) -> int:
    """An upper bound: `run`, `invoke`, the deepest kernel and three of the deepest helpers."""
    frames = {}
    for line in (folder / "m.su").read_text().splitlines():
        where, size, kind = line.split("\t")
        assert kind in ("static", "dynamic,bounded"), line
        frames[where.rsplit(":", 1)[1]] = int(size)
    outer = frames.pop("m_run") + frames.pop("m_invoke")
    return outer + sum(sorted(frames.values())[-3:])


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m3", "cortex-m4"])
@pytest.mark.parametrize("model", ALL, indirect=True)
def test_flash_is_the_constants_and_little_more_and_ram_is_far_below_tflite_micro(
    model: bytes,
    cpu: str,
    cross: str,
    tmp_path: Path,
    tflite_micro_arena: dict[str, int],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    compiled = write(tmp_path, model)
    compile_object(cross, tmp_path, cpu)
    sizes = subprocess.run(["arm-none-eabi-size", "m.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    text, data, bss = (int(v) for v in sizes.stdout.splitlines()[1].split()[:3])
    stack = stack_bytes(tmp_path)
    record_property("bytes", {"text": text, "data": data, "bss": bss, "stack": stack})

    assert data == 0
    assert bss <= compiled.arena_bytes + 3
    assert text < compiled.constant_bytes * 1.35 + 4096
    assert stack < 600
    assert bss + stack <= 0.75 * tflite_micro_arena[request.node.callspec.params["model"]]


@pytest.mark.parametrize("model", ["kws"], indirect=True)
def test_it_calls_nothing_but_the_compilers_own_helpers(model: bytes, cross: str, tmp_path: Path) -> None:
    write(tmp_path, model)
    compile_object(cross, tmp_path, "cortex-m0")
    listed = subprocess.run(["arm-none-eabi-nm", "-u", "m.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    called = [line.split()[-1] for line in listed.stdout.splitlines()]
    assert called
    assert all(ALLOWED_SYMBOLS.fullmatch(symbol) for symbol in called), called
    assert not [symbol for symbol in called if symbol.startswith(("__aeabi_f", "__aeabi_d"))], "floating point"


@pytest.mark.parametrize("cpu", BOARDS)
@pytest.mark.parametrize("model", ALL, indirect=True)
def test_an_emulated_board_answers_as_the_reference_kernels_do(
    model: bytes, cpu: str, cross: str, tmp_path: Path, reference: Callable[..., Any], samples: Callable[..., Any]
) -> None:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm on this machine (Debian: apt install qemu-system-arm)")
    write(tmp_path, model)
    machine, count = BOARDS[cpu]
    flags = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O2", f"-mcpu={cpu}", "-mthumb", f"-DSAMPLES={count}"]
    linking = ["-I.", "-nostartfiles", "-T", str(HERE / "board.ld"), "-lc", "-lgcc", "-o", "board.elf"]
    subprocess.run([cross, *flags, "m.c", str(HERE / "board.c"), *linking], cwd=tmp_path, check=True)
    (inputs,) = samples(model, count)
    options = ["-kernel", "board.elf", "-semihosting", "-monitor", "none", "-display", "none", "-serial", "stdio"]
    done = subprocess.run(
        ["qemu-system-arm", "-machine", machine, *options],
        cwd=tmp_path,
        input=inputs.tobytes(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    (wanted,) = reference(model, [inputs])
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(wanted.shape), wanted)
