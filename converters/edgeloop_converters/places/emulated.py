"""An emulated userland: a Debian root file system of another processor, run by qemu-user.

It proves accuracy with the kernels of that processor. It says nothing of speed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import ConfigError, PlaceError
from edgeloop_converters.places.place import ProcessFailedError, ask_process, unknown_command

__all__ = ["PROCESSORS", "EmulatedPlace", "Processor", "parse_emulated", "roots_folder"]


@dataclass(frozen=True)
class Processor:
    """What an emulated process takes for its processor: XNNPACK picks its kernels by it.

    Args:
        arch: the architecture, as Debian names it.
        cpu: as qemu names it.
        cpuinfo: a core's lines of /proc/cpuinfo, as that board's kernel writes them: what a program finds there of the
            machine underneath makes LiteRT's reader of it crash.
    """

    arch: str
    cpu: str
    cpuinfo: str

    @property
    def qemu(self) -> str:
        """Qemu's binary, which the root holds."""
        return {"arm64": "qemu-aarch64-static", "armhf": "qemu-arm-static"}[self.arch]


def _cortex(part: str, version: int, features: str) -> str:
    return (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: {version}\n"
        f"CPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 3\n"
    )


_V8 = "fp asimd evtstrm crc32 cpuid"
_V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"

# The first of an architecture is its default.
PROCESSORS = {
    "rpi4": Processor("arm64", "cortex-a72", _cortex("0xd08", 8, _V8)),
    "rpi3": Processor("arm64", "cortex-a53", _cortex("0xd03", 8, _V8)),
    "rpi5": Processor(
        "arm64",
        "cortex-a76",
        _cortex(
            "0xd0b", 8, "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp"
        ),
    ),
    "rpi2": Processor("armhf", "cortex-a7", _cortex("0xc07", 7, _V7)),
}

# In a mount namespace of its own, so that nothing stays mounted whatever happens. Without /proc and /sys LiteRT doesn't
# learn what the processor can do, and gives up on its fast kernels.
_SCRIPT = """
set -e
root=$1 cpuinfo=$2
shift 2
mount --bind /proc "$root/proc"
mount --bind /sys "$root/sys"
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
exec env -i PATH=/usr/bin:/bin LANG=C.UTF-8 "$(command -v chroot)" "$root" "$@"
"""


@dataclass(frozen=True)
class EmulatedPlace:
    """A root that `scripts/emulated_root.sh` has made.

    Args:
        name: as the user wrote it.
        processor: what is emulated.
        root: the root file system; None is where the script puts it.
        timeout_s: of one job.
    """

    name: str
    processor: Processor
    root: Path | None = None
    timeout_s: float = 3600.0

    is_emulator = True

    @property
    def folder(self) -> Path:
        """The root file system."""
        return self.root or roots_folder() / self.processor.arch

    @property
    def missing(self) -> str:
        """What keeps it from working, and what to do about it; "" for nothing."""
        arch = self.processor.arch
        build = f"build it with `sudo scripts/emulated_root.sh {arch}` in edgeloop's repository (`make test-pi` does)"
        if not (self.folder / "opt/edgeloop/ready").is_file():
            return f"no root file system at {self.folder}: {build}"
        if os.geteuid() != 0:
            return "chroot and mount need root: run it with sudo --preserve-env=XDG_CACHE_HOME,HOME"
        return ""

    def check(self) -> None:
        """See `Place.check`."""
        if reason := self.missing:
            raise PlaceError(f"{self.name}: {reason}")

    def ask(self, job: bytes) -> bytes:
        """See `Place.ask`."""
        try:
            return self.run(("/opt/edgeloop/bin/python", "-m", "edgeloop", "job"), job)
        except ProcessFailedError as error:
            if unknown_command(error.said):
                again = f"{self.name}: its edgeloop is too old to take jobs: build the root again"
                raise PlaceError(again) from error
            raise

    def run(self, words: Sequence[str], given: bytes = b"") -> bytes:
        """Run a program in there; the first of `words` is its path in the root.

        Args:
            words: the program and its arguments.
            given: on its standard input.

        Returns:
            What it wrote to standard output.

        Raises:
            PlaceError: there is no root, or the program failed.
        """
        self.check()
        private = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _SCRIPT, "sh"]
        emulator = [f"/usr/bin/{self.processor.qemu}", "-cpu", self.processor.cpu]
        with tempfile.NamedTemporaryFile("w", prefix="cpuinfo-") as cpuinfo:
            for core in range(os.cpu_count() or 1):
                cpuinfo.write(f"processor\t: {core}\n{self.processor.cpuinfo}\n")
            cpuinfo.flush()
            Path(cpuinfo.name).chmod(0o644)
            return ask_process(
                [*private, str(self.folder), cpuinfo.name, *emulator, *words],
                given,
                timeout_s=self.timeout_s,
                where=self.name,
            )


def parse_emulated(text: str) -> EmulatedPlace:
    """Read `emulated-ARCH[:BOARD]`. Raises `ConfigError`."""
    arch, _, board = text.removeprefix("emulated-").partition(":")
    found = {name: p for name, p in PROCESSORS.items() if p.arch == arch and board in ("", name)}
    if not found:
        known = ", ".join(f"emulated-{p.arch}:{name}" for name, p in PROCESSORS.items())
        raise ConfigError(f"unknown emulator {text!r}: there are {known}")
    return EmulatedPlace(text, next(iter(found.values())))


def roots_folder() -> Path:
    """Where roots are kept: `$XDG_CACHE_HOME/edgeloop/roots`, or `~/.cache/edgeloop/roots`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeloop" / "roots"
