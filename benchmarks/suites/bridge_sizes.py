"""What the firmware takes on each core, alone and with a model linked in: the tables of docs/how-to/microcontroller.md.

Flash and static RAM are the linker's (`arm-none-eabi-size`), the stack is that of the deepest way down
(`-fstack-usage`). Instructions of one inference are QEMU's, run with `-icount shift=0`, where each takes 1 ns of the
board's time: a count, and no latency. tflite-micro's arena is its interpreter's own, where its wheel is installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgeloop.artifact import read_artifact
from edgeloop.backends import open_backend
from edgeloop.errors import ArtifactError
from edgeloop_bridge.device import Device
from edgeloop_converters.to_c import compile_to_c

__all__ = ["report"]

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware_bridge" / "firmware"
CORES = {
    "microbit": "Cortex-M0",
    "mps2-an385": "Cortex-M3",
    "mps2-an386": "Cortex-M4",
    "mps2-an500": "Cortex-M7",
    "mps2-an505": "Cortex-M33",
}
WITH_MODELS = "mps2-an386"
# The deepest way down: END computes a SHA-256. An interrupt may come on top of it.
DEEPEST = ("reset_handler", "el_poll", "el_on_end", "intact", "el_sha256", "block")
INTERRUPT_BYTES = 64


def report(models: list[str]) -> str:
    """Both tables. `models` are paths of full-integer models, which are named by their files."""
    with tempfile.TemporaryDirectory() as folder:
        alone = [_alone(board, Path(folder)) for board in CORES]
    rows = [
        "| core | board in QEMU | flash | static RAM | stack | RAM |",
        "|---|---|---|---|---|---|",
        *alone,
        "",
        "| model | flash | static RAM | of it the model's arena | arena of tflite-micro | instructions |",
        "|---|---|---|---|---|---|",
        *(_with_model(Path(path)) for path in models),
    ]
    return "\n".join(rows)


def _alone(board: str, folder: Path) -> str:
    _make(folder, board)
    flash, ram = _sizes(folder / f"{board}.elf")
    stack = sum(_frames(folder, board)[name] for name in DEEPEST) + INTERRUPT_BYTES
    return f"| {CORES[board]} | `{board}` | {flash:,} | {ram:,} | {stack:,} | {ram + stack:,} |"


def _with_model(path: Path) -> str:
    model = _flatbuffer(path)
    compiled = compile_to_c(model, "model")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.c").write_text(compiled.source)
        (folder / "model.h").write_text(compiled.header)
        elf = folder / f"{WITH_MODELS}.elf"
        _make(folder, WITH_MODELS, f"MODEL={folder}")
        flash, ram = _sizes(elf)
        elf.unlink()
        _make(folder, WITH_MODELS, f"MODEL={folder}", "CONFIG=-DEL_COUNTING")
        instructions = _instructions(elf, model)
    arena = _tflite_micro_arena(model)
    return (
        f"| `{path.stem}` | {flash:,} | {ram:,} | {compiled.arena_bytes:,} | "
        f"{'not installed' if arena is None else f'{arena:,}'} | {instructions / 1e6:,.2f} million |"
    )


def _flatbuffer(path: Path) -> bytes:
    try:
        return read_artifact(path).model
    except ArtifactError:  # no artifact, or a bare model
        return path.read_bytes()


def _make(folder: Path, board: str, *variables: str) -> None:
    command = ["make", "-s", "-C", str(FIRMWARE), f"BUILD={folder}", f"{folder}/{board}.elf", *variables]
    subprocess.run(command, check=True)


def _sizes(elf: Path) -> tuple[int, int]:
    done = subprocess.run(["arm-none-eabi-size", str(elf)], check=True, capture_output=True, text=True)
    text, data, bss = (int(each) for each in done.stdout.splitlines()[1].split()[:3])
    return text + data, data + bss


def _frames(folder: Path, board: str) -> dict[str, int]:
    lines = [line for usage in folder.glob(f"{board}.elf-*.su") for line in usage.read_text().splitlines()]
    return {where.rsplit(":", 1)[1]: int(size) for where, size, _ in (line.split("\t") for line in lines)}


def _instructions(elf: Path, model: bytes) -> float:
    """Of the model's own code, on an input at random; tables and loops don't depend on it."""
    spec = open_backend(model).inputs[0]
    given = np.random.default_rng(0).integers(-128, 128, [abs(n) for n in spec.shape]).astype(np.int8)
    with _counting(elf) as port, Device.open(port, patience_s=60) as device:
        device.link.timeout_s = 2.0  # so emulated, a model of some million multiplications takes seconds
        invoke_us = device.infer(device.hello.model, given.tobytes()).invoke_us
    if invoke_us is None:
        raise RuntimeError(f"{elf}: built without EL_COUNTING")
    return 1e3 * invoke_us


@contextmanager
def _counting(elf: Path) -> Iterator[str]:
    options = ["-display", "none", "-monitor", "none", "-semihosting", "-chardev", "pty,id=line"]
    command = ["qemu-system-arm", "-M", WITH_MODELS, "-icount", "shift=0", "-kernel", str(elf), *options]
    process = subprocess.Popen([*command, "-serial", "chardev:line"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" to ")[1].split()[0]  # char device redirected to /dev/pts/3 (label line)
    finally:
        process.kill()
        process.communicate()


def _tflite_micro_arena(model: bytes) -> int | None:
    if importlib.util.find_spec("tflite_micro") is None:
        return None
    code = (
        "import sys; from tflite_micro.python.tflite_micro import runtime;"
        "runtime.Interpreter.from_bytes(sys.stdin.buffer.read()).print_allocations()"
    )
    done = subprocess.run([sys.executable, "-c", code], input=model, capture_output=True, check=True)
    said = (done.stdout + done.stderr).decode()
    return int(next(line for line in said.splitlines() if "Arena allocation total" in line).split()[-2])
