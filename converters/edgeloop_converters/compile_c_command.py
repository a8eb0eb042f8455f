"""`edgeloop compile-c`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeloop.cli import Command, Result

__all__ = ["COMPILE_C"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", help="a full-integer (int8) model: an artifact or a plain .tflite")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where NAME.c and NAME.h are written")
    parser.add_argument("--name", help="the prefix of all names in C (default: the model file's name)")


def run(args: argparse.Namespace) -> Result:
    """Read, compile, write."""
    import re

    from edgeloop.files import write_atomic
    from edgeloop_converters.to_c import compile_to_c

    path, folder = Path(args.model), Path(args.output)
    name = args.name or re.sub(r"[^A-Za-z0-9_]", "_", path.stem)
    compiled = compile_to_c(read_model(path), name)
    folder.mkdir(parents=True, exist_ok=True)
    source, header = folder / f"{name}.c", folder / f"{name}.h"
    write_atomic(source, compiled.source)
    write_atomic(header, compiled.header)
    data = {
        "source": str(source),
        "header": str(header),
        "name": name,
        "arena_bytes": compiled.arena_bytes,
        "constant_bytes": compiled.constant_bytes,
        "ops": compiled.ops,
        "sha256": compiled.sha256,
    }
    text = (
        f"{source}, {header}: {compiled.ops} operators, {compiled.arena_bytes:,} bytes of RAM in one arena, "
        f"{compiled.constant_bytes:,} bytes of weights in flash\nmodel {compiled.sha256}"
    )
    return Result(data=data, text=text)


def read_model(path: Path) -> bytes:
    """The flatbuffer in a file; an artifact's is checked against its manifest. Raises `ArtifactError`, `OSError`."""
    from edgeloop.artifact import read_artifact
    from edgeloop.errors import ForeignZipError, NoManifestError

    try:
        return read_artifact(path).model
    except (NoManifestError, ForeignZipError):  # valid all the same
        return path.read_bytes()


COMPILE_C = Command(
    help="compile an int8 model to C for a microcontroller",
    configure=configure,
    run=run,
    extra="convert",
    needs=("ai_edge_litert",),
)
