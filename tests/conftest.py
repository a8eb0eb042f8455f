"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real images and published models; what needs it skips where it is absent."""
    path = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared"))
    if not (path / "models").is_dir():
        pytest.skip(f"no shared data at {path}: set EDGELOOP_SHARED to a folder with data/ and models/")
    return path
