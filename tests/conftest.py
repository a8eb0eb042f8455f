"""What every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent

# A shell that starts us in the background has us ignore SIGINT, which the programs that tests interrupt would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real images and published models; what needs it skips where it is absent."""
    path = Path(os.environ.get("EDGELOOP_SHARED", REPO.parent / "shared"))
    if not (path / "models").is_dir():
        pytest.skip(f"no shared data at {path}: set EDGELOOP_SHARED to a folder with data/ and models/")
    return path
