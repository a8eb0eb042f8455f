"""A model as C source, for firmware that links it into flash."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgeloop.errors import ConfigError

__all__ = ["CArray", "model_to_c"]

BYTES_A_LINE = 16


class CArray(NamedTuple):
    """A model in C.

    Attributes:
        source: the `.c` file; it includes `NAME.h`.
        header: the `.h` file: `extern const unsigned char NAME[]` and `extern const unsigned int NAME_len`.
    """

    source: str
    header: str


def model_to_c(name: str, model: bytes) -> CArray:
    """A model as a constant array in C11 (or C++11), aligned to 16 bytes: weights are read in place.

    Args:
        name: the array's name, a C identifier.
        model: the bytes.

    Raises:
        ConfigError: `name` isn't a C identifier, or the model is empty.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ConfigError(f"{name!r} can't name a C array: use letters, digits and underscores, no digit first")
    if not model:
        raise ConfigError(f"the model for the C array {name!r} has no bytes")
    guard = f"{name.upper()}_H"
    header = (
        f"#ifndef {guard}\n#define {guard}\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        f"extern const unsigned char {name}[{len(model)}];\n"
        f"extern const unsigned int {name}_len;\n\n"
        f"#ifdef __cplusplus\n}}\n#endif\n\n#endif\n"
    )
    lines = (
        "  " + ", ".join(f"0x{byte:02x}" for byte in model[start : start + BYTES_A_LINE])
        for start in range(0, len(model), BYTES_A_LINE)
    )
    body = ",\n".join(lines)
    source = (
        f'#include "{name}.h"\n\n'
        "#ifdef __cplusplus\n#define EDGELOOP_ALIGNED alignas(16)\n"
        "#else\n#define EDGELOOP_ALIGNED _Alignas(16)\n#endif\n\n"
        f"EDGELOOP_ALIGNED const unsigned char {name}[{len(model)}] = {{\n{body}\n}};\n"
        f"const unsigned int {name}_len = {len(model)};\n"
    )
    return CArray(source, header)
