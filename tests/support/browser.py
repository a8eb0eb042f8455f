"""A page in a real browser: headless Chromium, without network."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--virtual-time-budget=8000",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip


def open_page(path: Path) -> str:
    """The page's DOM once its scripts have run; a line on the console is a failure, and so is a look at the network."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [binary, *_QUIET, f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
        done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = re.findall(r"^.*CONSOLE.*$", done.stderr, flags=re.MULTILINE)
    assert not said, said
    return done.stdout
