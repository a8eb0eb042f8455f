"""Writes constraints.txt: every package that `.[all,dev]` installs, at one version, with its resolution by pip.

    python3.11 scripts/constraints.py python3.10 python3.11 > constraints.txt

Each interpreter given resolves for itself, since pip evaluates environment markers for the one that it runs in. The
first is the oldest and is pinned apart where it needs older versions; the second's pins hold for all later ones.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
# A machine's own indexes and constraints must not leak into a file that is for everybody.
PRIVATE = ("PIP_CONSTRAINT", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL")
HEADER = """\
# Every package that edgeloop and its extras install, at the version that it is tested with.
# Written by `make constraints`; renew it with that, and run `make test-all` on the result.
# The extra `legacy` (numpy 1) stands outside of it.
"""


def resolve(python: str) -> dict[str, str]:
    """The versions that pip chooses with `python`, by normalized name."""
    environment = {k: v for k, v in os.environ.items() if k not in PRIVATE} | {"PIP_CONFIG_FILE": os.devnull}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--report",
            str(report),
        ]
        subprocess.run([*command, f"{REPO}[all,dev]"], check=True, env=environment, stdout=sys.stderr)
        installs = json.loads(report.read_text())["install"]
    found = {i["metadata"]["name"]: i["metadata"]["version"] for i in installs}
    return {re.sub(r"[-_.]+", "-", n).lower(): v for n, v in found.items() if n != "edgeloop"}


def merge(oldest: dict[str, str], others: dict[str, str], boundary: str) -> list[str]:
    """One line a pin, sorted; where the two differ, each with its marker."""
    lines = []
    for name in sorted(oldest | others):
        old, new = oldest.get(name), others.get(name)
        if old == new:
            lines.append(f"{name}=={new}")
            continue
        if old:
            lines.append(f'{name}=={old}; python_version < "{boundary}"')
        if new:
            lines.append(f'{name}=={new}; python_version >= "{boundary}"')
    return lines


def main(oldest: str, reference: str) -> None:
    """Resolve with both interpreters and print the file."""
    ask = "import sys; print(*sys.version_info[:2], sep='.')"
    boundary = subprocess.run([reference, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    lines = merge(resolve(oldest), resolve(reference), boundary)
    sys.stdout.write(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
