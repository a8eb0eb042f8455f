"""An installed package that brings plug-ins: a module, and the metadata that pip would have written beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

__all__ = ["install"]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *, name: str, code: str, entry_points: str) -> None:
    """Put a package on the path for one test.

    Args:
        folder: where it goes.
        monkeypatch: takes it away at the test's end.
        name: the module's.
        code: what is in it.
        entry_points: the text of its `entry_points.txt`.
    """
    site = folder / "site"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, name, raising=False)
