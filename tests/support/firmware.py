"""Building the firmware, emulating its boards, and a small model for it. For the tests of the bridge."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgeloop_bridge.messages import FIRST_BAUD
from serial_device import Host, SerialLine
from tree import REPO

FIRMWARE = REPO / "firmware_bridge" / "firmware"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
CORES = {
    "microbit": "cortex-m0",
    "mps2-an385": "cortex-m3",
    "mps2-an386": "cortex-m4",
    "mps2-an500": "cortex-m7",
    "mps2-an505": "cortex-m33",
}


def make(build: Path, *targets: str, **variables: object) -> None:
    """Run the firmware's Makefile; a warning is an error there."""
    assignments = [f"{name}={value}" for name, value in {"BUILD": build, **variables}.items()]
    command = ["make", "-s", "-C", str(FIRMWARE), *targets, *assignments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sizes_of(program: Path) -> dict[str, int]:
    """Flash and RAM of a program, without its stack."""
    command = ["arm-none-eabi-size", str(program)]
    sizes = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(zip(("text", "data", "bss"), map(int, sizes.stdout.splitlines()[1].split()[:3]), strict=True))


@contextlib.contextmanager
def emulated(board: str, elf: Path, *, terminal: bool = False) -> Iterator[Host]:
    """A conversation with a board in QEMU. Its UART is a socket that pyserial opens, or a pseudo-terminal."""
    import serial

    with (
        emulated_port(board, elf, terminal=terminal) as (url, process),
        opened(lambda: serial.serial_for_url(url, baudrate=FIRST_BAUD), process) as port,
    ):
        yield Host(SerialLine(port), timeout_s=1.0)


@contextlib.contextmanager
def emulated_port(board: str, elf: Path, *, terminal: bool = False) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A board in QEMU: where its UART can be opened, by one at a time, and its process."""
    options = ["-display", "none", "-monitor", "none", "-semihosting", "-serial", "chardev:line"]
    # Without nodelay a round trip takes 44 ms.
    line = "pty,id=line" if terminal else "socket,id=line,host=127.0.0.1,port=0,server=on,wait=off,nodelay=on"
    command = ["qemu-system-arm", "-machine", board, "-kernel", str(elf), *options, "-chardev", line]
    if not terminal:
        command = [*command[:-1], line.replace("port=0", f"port={free_port()}")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        if terminal:
            said = process.stdout.readline().decode()  # char device redirected to /dev/pts/3 (label line)
            url = said.split(" to ")[1].split()[0]
        else:
            url = f"socket://127.0.0.1:{command[-1].split('port=')[1].split(',')[0]}"
        yield url, process
    finally:
        process.kill()
        process.communicate()


def opened(open_port: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    """The port, as soon as QEMU has it."""
    import serial

    end = time.monotonic() + 20
    while True:
        try:
            return open_port()
        except serial.SerialException:
            assert process.poll() is None, process.communicate()[1].decode()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hanging(image: bytes) -> bytes:
    """The same image, whose model never comes back."""
    core, address, invoke = (struct.unpack_from(code, image, at)[0] for code, at in (("<H", 6), ("<I", 12), ("<I", 40)))
    # A jump to itself: of x86, and of Thumb, whose functions have odd addresses.
    at, forever = (invoke - address, b"\xeb\xfe") if core == 0 else ((invoke & ~1) - address, b"\xfe\xe7")
    return image[:at] + forever + image[at + 2 :]
