"""Where the five packages stand in the tree, as setup.cfg says."""

from __future__ import annotations

import configparser
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def _packages() -> dict[str, Path]:
    config = configparser.ConfigParser()
    config.read(REPO / "setup.cfg")
    lines = config["options"]["package_dir"].strip().splitlines()
    pairs = (line.split("=") for line in lines)
    return {name.strip(): REPO / root.strip() for name, root in pairs}


PACKAGES = _packages()
