"""What would tell whose machine a document was made on."""

from __future__ import annotations

import getpass
import os
import re
import socket
import uuid
from pathlib import Path


def personal(text: str, *paths: str | Path) -> list[str]:
    """Whatever of this machine, its user and these paths stands in `text`, and what looks like an address."""
    known = {socket.gethostname(), socket.getfqdn(), str(Path.home()), os.getcwd(), *map(str, paths)}  # noqa: PTH109
    node = f"{uuid.getnode():012x}"
    known |= {node, ":".join(re.findall("..", node))}
    for file in ("/etc/machine-id", "/sys/class/dmi/id/product_serial", "/sys/class/dmi/id/product_uuid"):
        try:
            known.add(Path(file).read_text().strip())
        except OSError:
            continue
    found = [each for each in known if len(each) > 3 and each not in ("localhost", "/root") and each in text]
    if re.search(rf"\b{re.escape(getpass.getuser())}\b", text):
        found.append(getpass.getuser())
    addresses = re.findall(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", text, re.IGNORECASE)
    return [*found, *addresses, *re.findall(r"/(?:home|Users|root|tmp|mnt)/\S*", text)]
