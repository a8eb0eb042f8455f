"""`edgeloop bridge push`: see who signed a model, build it for a slot, deliver it, try it, confirm it.

The device can't check a signature (docs/decisions.md): what is pushed is checked here, before the port is opened.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from edgeloop.artifact import read_artifact
from edgeloop.cli import Result, find_commands
from edgeloop.errors import ConfigError, MissingExtraError, ModelError
from edgeloop.signing import load_public_key
from edgeloop_bridge.device import Device
from edgeloop_bridge.messages import Slot

__all__ = ["push"]


def push(args: argparse.Namespace) -> Result:
    """Deliver; what an earlier attempt has written isn't sent again."""
    signed_by = _signed_by(args.model, args.trust, is_unsigned_allowed=args.unsigned)
    with Device.open(args.port, baud=args.baud) as device:
        slot = device.free_slot() if args.slot is None else device.slot(args.slot)
        image = _image(Path(args.model), slot, device.hello.arena_bytes)
        if len(image) > slot.capacity_bytes:
            raise ModelError(
                f"{args.model}: an image of {len(image):,} bytes; slot {slot.slot} takes {slot.capacity_bytes:,}"
            )
        sha256 = hashlib.sha256(image).digest()
        start_s = time.monotonic()
        resumed_at = None
        for offset in device.deliver(slot.slot, image):
            resumed_at = offset if resumed_at is None else resumed_at
            _show(offset, len(image), time.monotonic() - start_s)
        _show_end()
        duration_s = time.monotonic() - start_s
        hello = device.activate(slot.slot, sha256)
        if not args.trial:
            device.confirm(slot.slot, sha256)
        retries = device.line.retries
    data = {
        "slot": slot.slot,
        "size_bytes": len(image),
        "resumed_at": resumed_at,
        "duration_s": round(duration_s, 3),
        "image_sha256": sha256.hex(),
        "model_sha256": hello.model.hex(),
        "signed_by": signed_by,
        "confirmed": not args.trial,
        "retries": retries,
    }
    state = "runs on trial: a reset brings the old one back" if args.trial else "runs, after each boot, too"
    text = (
        f"slot {slot.slot}: {len(image):,} bytes in {duration_s:.1f} s; its golden input is answered rightly\n"
        f"model {hello.model.hex()} {state}"
    )
    return Result(data, text)


def _signed_by(model: str, trusted: list[str], *, is_unsigned_allowed: bool) -> str | None:
    """The id of the trusted key that signed an artifact; None where that was waived.

    Raises:
        ConfigError: no key is trusted, or something that can't be trusted, and nobody said that it needn't be.
        ArtifactError: not an artifact, or not signed by a trusted key.
    """
    if is_unsigned_allowed:
        if trusted:
            raise ConfigError("--unsigned and --trust: one of them, since nothing is checked with the first")
        return None
    if not trusted:
        raise ConfigError(
            f"{model}: who may have signed it? --trust KEY.pub; or --unsigned, and the device runs whatever is in it"
        )
    if Path(model).suffix == ".img":
        raise ConfigError(f"{model}: an image carries no signature: push the artifact, or this with --unsigned")
    artifact = read_artifact(model)
    artifact.verify([load_public_key(path) for path in trusted], now=datetime.now(timezone.utc))
    return None if artifact.signature is None else artifact.signature.key_id


def _image(path: Path, slot: Slot, arena_bytes: int) -> bytes:
    """The image in a file, or one that is built of a model for this very slot."""
    if path.suffix == ".img":
        return path.read_bytes()
    # By the commands' registry, since the converter is no floor below us.
    command = find_commands().get("compile-c")
    if command is None or (missing := command.missing()) is not None:
        raise MissingExtraError("convert", "edgeloop_converters" if command is None else str(missing))
    parser = argparse.ArgumentParser()
    command.configure(parser)
    with tempfile.TemporaryDirectory(prefix="edgeloop-image-") as folder:
        options = parser.parse_args(
            [
                str(path),
                *("--output", folder),
                *("--image", hex(slot.core)),
                *("--slot", f"{slot.address:#x}:{slot.capacity_bytes}"),
                *("--arena", f"{slot.arena_address:#x}:{arena_bytes}"),
            ]
        )
        image = command.run(options).data.get("image")
        if not isinstance(image, str):
            raise ConfigError(f"{path}: compile-c wrote no image")
        return Path(image).read_bytes()


def _show(offset: int, total: int, elapsed_s: float) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{offset:,} of {total:,} bytes, {offset / max(elapsed_s, 1e-3) / 1000:.1f} kB/s ")
        sys.stderr.flush()


def _show_end() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\n")
