"""What a suite is: commands, what they need, and the figures in the document that they give."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suite_runner.figures import Figure

__all__ = [
    "REPO",
    "SHARED",
    "Need",
    "Setting",
    "Suite",
    "module",
    "on_path",
    "program",
    "script",
    "shared",
    "shown",
    "within",
]

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared"))

Need = Callable[[], str]
"""What is missing, and what to do about it; "" for nothing."""


@dataclass(frozen=True)
class Setting:
    """One way to run a suite.

    Args:
        commands: one after another, each in words; `{python}` is this Python, `{out}` the folder for what
            comes out, `{shared}` that of models and data.
            The last one's standard output is the document, or the file `{document}` where it is given that.
        limit_s: on all of them together.
    """

    commands: tuple[tuple[str, ...], ...]
    limit_s: float


@dataclass(frozen=True)
class Suite:
    """A benchmark against peers.

    Args:
        name: of it, one word.
        what: it measures.
        full: how `make bench` runs it.
        quick: how `make bench-quick` does; None where it takes too long at any setting.
        needs: without which it is skipped, with the reason.
        figures: in its document.
    """

    name: str
    what: str
    full: Setting
    quick: Setting | None
    figures: tuple[Figure, ...]
    needs: tuple[Need, ...] = ()


def script(path: str, *words: str) -> tuple[str, ...]:
    """The command of a script in `benchmarks/suites`."""
    return ("{python}", f"benchmarks/suites/{path}", *words)


def within(limit_s: float, *commands: tuple[str, ...]) -> Setting:
    """These commands, in this time."""
    return Setting(commands, limit_s)


def shown(words: tuple[str, ...]) -> str:
    """A command as one types it."""
    return " ".join(words).format(python="python", document="FILE", out="out/bench", shared="../shared")


def module(name: str, extra: str) -> Need:
    """Needs a Python module, which an extra brings."""

    def missing() -> str:
        return "" if importlib.util.find_spec(name) else f"no {name}: pip install 'edgeloop[{extra}]'"

    return missing


def program(name: str, package: str) -> Need:
    """Needs a program, which a Debian package brings."""

    def missing() -> str:
        there = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        return "" if there else f"no {name}: apt-get install {package}"

    return missing


def on_path(name: str) -> Need:
    """Needs a program of this Python's environment."""

    def missing() -> str:
        there = Path(sys.executable).with_name(name).exists() or shutil.which(name)
        return "" if there else f"no {name} beside this Python: pip install edgeloop"

    return missing


def shared(part: str) -> Need:
    """Needs real models or data, which aren't in the repository."""

    def missing() -> str:
        return "" if (SHARED / part).exists() else f"no {part} beside the checkout: EDGELOOP_SHARED names its folder"

    return missing
