"""The device that a figure was measured on: what bears on speed, and nothing that tells whose it is."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

__all__ = ["Machine", "describe_machine"]

LIBRARIES = ("edgeloop", "ai-edge-litert", "tflite-runtime", "tensorflow", "numpy")


class Machine(msgspec.Struct, frozen=True):
    """A device, without host name, user, address or serial number.

    Args:
        board: the model of the board or the machine, or None where it doesn't say.
        cpu: the model of the processor.
        arch: as `uname -m` says it.
        cores: that this process may use.
        memory_bytes: main memory.
        governor: of the first core's clock frequency, or None where it can't be set.
        kernel: its release.
        python: its version.
        libraries: the versions of those installed that bear on speed.
        load_1m: how many processes ran or wanted to, on average over the last minute.
    """

    board: str | None
    cpu: str
    arch: str
    cores: int
    memory_bytes: int
    governor: str | None
    kernel: str
    python: str
    libraries: dict[str, str]
    load_1m: float


def describe_machine(root: Path = Path("/")) -> Machine:
    """This device; `root` is where /proc and /sys are looked for."""
    return Machine(
        board=_first_line(root / "proc/device-tree/model", root / "sys/class/dmi/id/product_name"),
        cpu=_cpu(root / "proc/cpuinfo") or platform.processor() or platform.machine(),
        arch=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        governor=_first_line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        kernel=platform.release(),
        python=platform.python_version(),
        libraries=dict(_installed(LIBRARIES)),
        load_1m=os.getloadavg()[0],
    )


def _first_line(*paths: Path) -> str | None:
    for path in paths:
        try:
            text = path.read_text(errors="replace")
        except OSError:  # not this kind of machine, or not for us to read
            continue
        if line := text.strip(" \n\0").partition("\n")[0]:
            return line
    return None


def _cpu(cpuinfo: Path) -> str | None:
    """x86 names its processor, most ARM kernels only the implementer's and the part's number."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return None
    fields: dict[str, str] = dict(re.findall(r"^([^\t:]+?)\s*:[ \t]*(.+)$", text, flags=re.MULTILINE))
    if "model name" in fields:
        return fields["model name"]
    if "CPU part" in fields:
        return f"implementer {fields.get('CPU implementer', '?')} part {fields['CPU part']}"
    return None


def _installed(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version  # 1 MB

    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)
