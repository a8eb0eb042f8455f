"""`edgeloop compile-c`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeloop.cli import Command, Result
from edgeloop.errors import ConfigError

__all__ = ["COMPILE_C"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", help="a full-integer (int8) model: an artifact or a plain .tflite")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="where NAME.c and NAME.h are written")
    parser.add_argument("--name", help="the prefix of all names in C (default: the model file's name)")
    parser.add_argument(
        "--image",
        metavar="CORE",
        help="an image for a slot of the firmware instead: cortex-m4, … or its part number, as the device says: 0xc24",
    )
    parser.add_argument("--slot", metavar="ADDRESS:BYTES", help="the slot that the image is for, as the device says")
    parser.add_argument("--arena", metavar="ADDRESS:BYTES", help="the device's arena")


def run(args: argparse.Namespace) -> Result:
    """Read, compile, write."""
    import re

    from edgeloop.files import write_atomic
    from edgeloop_converters.to_c import compile_to_c

    path, folder = Path(args.model), Path(args.output)
    name = args.name or re.sub(r"[^A-Za-z0-9_]", "_", path.stem)
    if args.image is not None or args.slot is not None or args.arena is not None:
        return write_image(args, read_model(path), folder / f"{name}.img")
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


def write_image(args: argparse.Namespace, model: bytes, path: Path) -> Result:
    """Build an image, and write it. Raises `ConfigError`, `ModelError`, `OSError`."""
    from edgeloop.files import write_atomic
    from edgeloop_converters.to_c.image import Place, build_image

    if args.image is None or args.slot is None or args.arena is None:
        raise ConfigError("an image needs all of --image, --slot and --arena: the device tells them")
    memories = *memory(args.slot, "slot"), *memory(args.arena, "arena")
    is_part = args.image.startswith("0x")
    place = Place.of_part(int(args.image, 16), *memories) if is_part else Place(args.image, *memories)
    image = build_image(model, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, image.data)
    data = {
        "image": str(path),
        "size_bytes": len(image.data),
        "arena_bytes": image.arena_bytes,
        "sha256": image.sha256.hex(),
        "model_sha256": image.model_sha256.hex(),
    }
    text = (
        f"{path}: {len(image.data):,} bytes for the slot, {image.arena_bytes:,} bytes of its arena\n"
        f"image {image.sha256.hex()}\nmodel {image.model_sha256.hex()}"
    )
    return Result(data=data, text=text)


def memory(text: str, option: str) -> tuple[int, int]:
    """An address and a size. Raises `ConfigError`."""
    try:
        address, size = (int(part, 0) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"--{option} {text!r} isn't ADDRESS:BYTES, as in 0x20100000:458752") from None
    if not (0 <= address < 1 << 32 and 0 < size < 1 << 32):
        raise ConfigError(f"--{option} {text!r} lies outside of 32 bits")
    return address, size


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
