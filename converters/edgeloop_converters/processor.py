"""What this machine's processor can do with 8-bit integers: latency measured here depends on it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

__all__ = ["has_int8_dot_product"]

# Dot products of four 8-bit integers in one instruction: x86's VNNI, and Armv8.2's SDOT.
DOT_PRODUCT = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})


@cache
def has_int8_dot_product() -> bool | None:
    """Whether it has instructions that make int8 faster than float32; None where it can't be told."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    return None if found is None else bool(DOT_PRODUCT & set(found[1].split()))
