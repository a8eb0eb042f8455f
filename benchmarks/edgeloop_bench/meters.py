"""What a board tells of its power: the processor's own counters, a shunt, or the power chip of a Raspberry Pi 5."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

__all__ = ["CounterMeter", "Meter", "PowerMeter", "find_meter", "pmic_watts"]


class Meter(Protocol):
    """Adds up energy from when it was made, if it is looked at every second or so."""

    source: str
    domain: str

    def joules(self) -> float:
        """Since it was made."""
        ...


class CounterMeter:
    """Counters that the hardware adds up, in microjoules, and that wrap around.

    Args:
        source: what it is.
        domain: what lies behind it.
        counters: the files, each with the value that it wraps at.
    """

    def __init__(self, source: str, domain: str, counters: list[tuple[Path, int]]) -> None:
        self.source, self.domain = source, domain
        self._counters = counters
        self._last = [_number(path) for path, _ in counters]
        self._total_uj = 0

    def joules(self) -> float:
        """See `Meter.joules`."""
        for i, (path, wraps_at) in enumerate(self._counters):
            now = _number(path)
            step = now - self._last[i]
            self._total_uj += step if step >= 0 else step + wraps_at
            self._last[i] = now
        return self._total_uj / 1e6


class PowerMeter:
    """Power, read now and then, and added up by the trapezoidal rule.

    Args:
        source: what it is.
        domain: what lies behind it.
        watts: reads the power.
        clock: monotonic seconds.
    """

    def __init__(
        self, source: str, domain: str, watts: Callable[[], float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source, self.domain = source, domain
        self._watts, self._clock = watts, clock
        self._at_s, self._last_w = clock(), watts()
        self._total_j = 0.0

    def joules(self) -> float:
        """See `Meter.joules`."""
        now_s, now_w = self._clock(), self._watts()
        self._total_j += (now_s - self._at_s) * (now_w + self._last_w) / 2
        self._at_s, self._last_w = now_s, now_w
        return self._total_j


def find_meter(root: Path = Path("/")) -> tuple[Meter | None, str | None]:
    """The first of RAPL, an INA2xx and `vcgencmd pmic_read_adc` that can be read.

    Args:
        root: where /sys is looked for.

    Returns:
        The meter, or None; and a note where one is there that may not be read.
    """
    note = None
    for find in (_rapl, _ina2xx, _pmic):
        try:
            found = find(root)
        except PermissionError as error:
            note = f"energy: {error.filename} is for root only, so it wasn't measured"
            continue
        except (OSError, ValueError):  # a sensor that is off answers with an error
            continue
        if found is not None:
            return found, None
    return None, note


def _rapl(root: Path) -> Meter | None:
    """Linux's powercap: the packages' counters (`Documentation/power/powercap/powercap.rst`)."""
    zones = [zone for zone in sorted((root / "sys/class/powercap").glob("*-rapl:*")) if zone.name.count(":") == 1]
    counters = [
        (zone / "energy_uj", _number(zone / "max_energy_range_uj"))
        for zone in zones
        if (zone / "name").read_text(encoding="ascii").startswith("package")
    ]
    return CounterMeter("RAPL", "processor package", counters) if counters else None


def _ina2xx(root: Path) -> Meter | None:
    """The kernel's ina2xx driver: `power1_input` in microwatts (`Documentation/hwmon/ina2xx.rst`)."""
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        name = (chip / "name").read_text(encoding="ascii").strip()
        power = chip / "power1_input"
        if name.startswith("ina2") and power.exists():
            return PowerMeter(name.upper(), "what the shunt supplies", partial(_microwatts, power))
    return None


def _microwatts(path: Path) -> float:
    return _number(path) / 1e6


def _pmic(_: Path) -> Meter | None:
    command = shutil.which("vcgencmd")
    if command is None or _read_pmic(command) <= 0:
        return None
    return PowerMeter("vcgencmd pmic_read_adc", "the board's rails, without USB", lambda: _read_pmic(command))


def _read_pmic(command: str) -> float:
    with contextlib.suppress(subprocess.SubprocessError):
        said = subprocess.run([command, "pmic_read_adc"], capture_output=True, text=True, timeout=2, check=True)
        return pmic_watts(said.stdout)
    return 0.0


def pmic_watts(text: str) -> float:
    """The sum of current times voltage over the rails that `vcgencmd pmic_read_adc` lists (a Raspberry Pi 5)."""
    amperes = dict(re.findall(r"(\w+)_A current\(\d+\)=([\d.]+)A", text))
    volts = dict(re.findall(r"(\w+)_V volt\(\d+\)=([\d.]+)V", text))
    return sum(float(amperes[rail]) * float(volts[rail]) for rail in amperes if rail in volts)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
